package output

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"regexp"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// screen is a terminal that keeps what stands on it, as far as the board needs one.
type screen struct {
	mu    sync.Mutex
	raw   bytes.Buffer
	lines []string
	row   int
}

var escape = regexp.MustCompile(`^\x1b\[(\d*)([AJK])`)

func (s *screen) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.raw.Write(p)
	for text := string(p); text != ""; {
		if len(s.lines) == s.row {
			s.lines = append(s.lines, "")
		}
		if found := escape.FindStringSubmatch(text); found != nil {
			var n int
			_, _ = fmt.Sscan(found[1], &n)
			switch found[2] {
			case "A":
				s.row -= n
			case "J":
				s.lines = append(s.lines[:s.row], "")
			}
			text = text[len(found[0]):]
			continue
		}
		switch text[0] {
		case '\r':
		case '\n':
			s.row++
		default:
			s.lines[s.row] += text[:1]
		}
		text = text[1:]
	}
	return len(p), nil
}

func (s *screen) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return strings.TrimRight(strings.Join(s.lines, "\n"), "\n")
}

func TestBoardShowsTheStepAndItsTimeAndLeavesALineBehind(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		out := new(screen)
		track := NewBoard(out, time.Now, 60).Track()
		track.Step("Creating machine...")
		time.Sleep(1500 * time.Millisecond) //nolint:forbidigo // fake time
		synctest.Wait()
		if got := out.String(); !regexp.MustCompile(`^[⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏] Creating machine\.\.\. 1\.[45]s$`).MatchString(got) {
			t.Errorf("the screen shows %q", got)
		}
		track.Step("Creating machine...") // the same again is no new step
		track.Note("a note\x1b[2J")
		track.Step("Waiting...")
		time.Sleep(61 * time.Second) //nolint:forbidigo // fake time
		track.Done(nil)
		track.Done(errors.New("x"))
		track.Step("Left alone...")
		track.Done(fmt.Errorf("x: %w", context.Canceled))
		track.Note("done")
		want := "a note [2J\n✓ Creating machine... 1.5s\n✓ Waiting... 1m01s\n… Left alone... 0.0s\ndone"
		if got := out.String(); got != want {
			t.Errorf("the screen shows\n%s\nwant\n%s", got, want)
		}
	})
}

func TestBoardKeepsSeveralApart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		out := new(screen)
		board := NewBoard(out, time.Now, 60)
		a, b := board.Track(), board.Track()
		a.Step("stop a")
		b.Step("stop b")
		time.Sleep(time.Second) //nolint:forbidigo // fake time
		synctest.Wait()
		if got := out.String(); strings.Count(got, "\n") != 1 || !strings.Contains(got, "stop a") || !strings.Contains(got, "stop b") {
			t.Errorf("the screen shows %q", got)
		}
		b.Done(errors.New("x"))
		time.Sleep(time.Second) //nolint:forbidigo // fake time
		a.Done(nil)
		if got, want := out.String(), "✗ stop b 1.0s\n✓ stop a 2.0s"; got != want {
			t.Errorf("the screen shows %q, want %q", got, want)
		}
	})
}

func TestBoardFitsOnASmallTerminal(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		out := new(screen)
		board := NewBoard(out, time.Now, 30)
		var tracks []Progress
		for i := range 20 {
			track := board.Track()
			track.Step(fmt.Sprintf("machine %d waits for something that takes long", i))
			tracks = append(tracks, track)
		}
		lines := strings.Split(out.String(), "\n")
		if len(lines) != maxLive || lines[maxLive-1] != "  … and 13 more" {
			t.Errorf("the screen shows %q", lines)
		}
		for _, line := range lines {
			if len([]rune(line)) >= 30 {
				t.Errorf("%q would wrap", line)
			}
		}
		for _, track := range tracks {
			track.Done(nil)
		}
		if got := len(strings.Split(out.String(), "\n")); got != 20 {
			t.Errorf("%d lines are left behind", got)
		}
	})
}

func TestBoardBearsManyAtOnce(t *testing.T) {
	board := NewBoard(new(screen), time.Now, 0)
	var group sync.WaitGroup
	for i := range 8 {
		group.Go(func() {
			track := board.Track()
			for step := range 20 {
				track.Step(fmt.Sprint(i, step))
				track.Note("note")
			}
			track.Done(nil)
		})
	}
	group.Wait()
}

func TestPipeGetsPlainLines(t *testing.T) {
	var out bytes.Buffer
	for _, p := range []Progress{&Lines{Out: &out}, Silent{}} {
		p.Step("step\r")
		p.Note("note")
		p.Done(nil)
	}
	if out.String() != "step \nnote\n" {
		t.Errorf("the pipe got %q", out.String())
	}
}

func TestElapsedIsReadAtAGlance(t *testing.T) {
	for d, want := range map[time.Duration]string{
		0: "0.0s", 990 * time.Millisecond: "0.9s", 59999 * time.Millisecond: "59.9s", time.Minute: "1m00s",
		3599 * time.Second: "59m59s", 3*time.Hour + 5*time.Minute: "3h05m",
	} {
		if got := Elapsed(d); got != want {
			t.Errorf("%v is %q, want %q", d, got, want)
		}
	}
}
