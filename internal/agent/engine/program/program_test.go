package program

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestOutputComesLineByLine(t *testing.T) {
	var got []string
	err := Local{}.Run(t.Context(), Command{
		Args: []string{"sh", "-c", `printf 'one\n\ntwo \rthree\n%s' "$X"; echo four >&2`}, Env: []string{"X=$(id)"},
		Line: func(line string) { got = append(got, line) },
	})
	if want := []string{"one", "two", "three", "$(id)four"}; err != nil || !slices.Equal(got, want) {
		t.Errorf("%q, %v", got, err)
	}
}

func TestFailuresTellCodeAndLastLines(t *testing.T) {
	err := Local{}.Run(t.Context(), Command{Args: []string{"sh", "-c", "seq 100; echo why >&2; exit 7"}})
	var exit *ExitError
	if !errors.As(err, &exit) || exit.Code != 7 || len(exit.Tail) != tailLines || err.Error() != "sh ended with code 7: why" {
		t.Errorf("%v, %+v", err, exit)
	}
	if err := (Local{}).Run(t.Context(), Command{Args: []string{"no-such-program"}}); !errors.Is(err, ErrMissing) {
		t.Error(err)
	}
}

func TestTheWholeGroupEndsWithTheContext(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	began := time.Now()
	err := Local{}.Run(ctx, Command{
		Args: []string{"sh", "-c", "sleep 60 & echo ready; wait"}, Line: func(string) { cancel() },
	})
	if !errors.Is(err, context.Canceled) || time.Since(began) > 10*time.Second {
		t.Errorf("%v after %v", err, time.Since(began))
	}
}

func TestWhatMustNotBeCutShortOutlivesTheContextAndItsReader(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	mark := filepath.Join(t.TempDir(), "mark")
	gate := filepath.Join(t.TempDir(), "gate")
	if err := syscall.Mkfifo(gate, 0o600); err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() {
		done <- Local{}.Run(ctx, Command{
			Args:     []string{"sh", "-c", `trap '' TERM; read -r go <"$1"; yes | head -n 100000 && echo done >"$2"`, "sh", gate, mark},
			Outlives: true, Line: func(string) { t.Error("nobody waits for its lines") },
		})
	}()
	open, err := os.OpenFile(gate, os.O_WRONLY, 0) // returns once the program reads
	if err != nil {
		t.Fatal(err)
	}
	cancel()
	if err := <-done; !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
	if _, err := open.WriteString("go\n"); err != nil {
		t.Error(err)
	}
	open.Close()
	ticker := time.NewTicker(10 * time.Millisecond)
	defer ticker.Stop()
	for limit := time.After(10 * time.Second); ; {
		if content, _ := os.ReadFile(mark); string(content) == "done\n" {
			return
		}
		select {
		case <-ticker.C:
		case <-limit:
			t.Fatal("it was cut short")
		}
	}
}

func TestWhatOutlivesIsReadAtItsEnd(t *testing.T) {
	var got []string
	err := Local{}.Run(t.Context(), Command{
		Args: []string{"sh", "-c", "yes x | head -n 2000000; echo why >&2; exit 3"}, Outlives: true, Line: func(line string) { got = append(got, line) },
	})
	var exit *ExitError
	if !errors.As(err, &exit) || exit.Code != 3 || exit.Tail[len(exit.Tail)-1] != "why" || len(got) > maxOutput/2+1 || got[len(got)-1] != "why" {
		t.Errorf("%v, %d lines", err, len(got))
	}
}

func TestAChildThatIsLeftBehindHoldsNothingUp(t *testing.T) {
	began := time.Now()
	output, err := Output(t.Context(), Local{}, "sh", "-c", "sleep 5 & echo done")
	if err != nil || output != "done\n" || time.Since(began) > 4*time.Second {
		t.Errorf("%q, %v after %v", output, err, time.Since(began))
	}
}

func TestOutputIsBounded(t *testing.T) {
	output, err := Output(t.Context(), Local{}, "sh", "-c", "yes "+strings.Repeat("x", 100)+" | head -n 30000")
	if err != nil || len(output) > maxOutput+1 || len(output) < maxOutput/2 {
		t.Errorf("%d bytes, %v", len(output), err)
	}
}
