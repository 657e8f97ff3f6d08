package sshlink

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	"go.uber.org/goleak"
	"golang.org/x/crypto/ssh"

	"mctl/internal/controller/bootstrap/login"
	"mctl/internal/controller/bootstrap/sshtest"
	"mctl/internal/fault"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// world is a host, a keeper, and what the keeper told.
type world struct {
	t      *testing.T
	host   *sshtest.Host
	keeper *Keeper
	told   chan struct{}

	mu   sync.Mutex
	gone bool // logins fail
}

func newWorld(t *testing.T, change func(*sshtest.Host)) *world {
	t.Helper()
	user, _ := sshtest.NewKey(t)
	shown, _ := sshtest.NewKey(t)
	w := &world{t: t, told: make(chan struct{}, 100)}
	w.host = &sshtest.Host{User: "ops", Keys: []ssh.Signer{shown}, Allowed: user.PublicKey(), Shell: func(string, io.Reader, io.Writer, io.Writer) int { return 0 }}
	if change != nil {
		change(w.host)
	}
	w.host.Start(t)
	w.keeper = New(Config{
		Logger: hclog.NewNullLogger(), Port: 7443, Random: func() float64 { return 0.01 }, Changed: func(string) { w.told <- struct{}{} },
		Dial: func(ctx context.Context, name string) (*login.Connection, error) {
			w.mu.Lock()
			defer w.mu.Unlock()
			if w.gone {
				return nil, fault.New("test", fault.Unavailable, name, "no route")
			}
			return login.Connect(ctx, hclog.NewNullLogger(), login.Host{
				Machine: name, Address: "127.0.0.1", Port: w.host.Port(), User: "ops", Signers: []ssh.Signer{user},
				HostKeys: []string{sshtest.Line(shown.PublicKey())},
			}, login.Limits{KeepAlive: 50 * time.Millisecond, Silence: 100 * time.Millisecond}, func(string) {})
		},
	})
	return w
}

func (w *world) run() (stop func()) {
	ctx, cancel := context.WithCancel(w.t.Context())
	done := make(chan error, 1)
	go func() { done <- w.keeper.Run(ctx) }()
	var once sync.Once
	stop = func() {
		once.Do(func() {
			cancel()
			if err := <-done; err != nil {
				w.t.Error(err)
			}
			_ = w.keeper.Close()
		})
	}
	w.t.Cleanup(stop)
	return stop
}

// until waits for the keeper to tell of a state.
func (w *world) until(what string, met func(State) bool) State {
	w.t.Helper()
	limit := time.NewTimer(20 * time.Second)
	defer limit.Stop()
	for {
		if s := w.keeper.State("uid"); met(s) {
			return s
		}
		select {
		case <-w.told:
		case <-limit.C:
			w.t.Fatalf("not within 20 s: %s; it is %+v", what, w.keeper.State("uid"))
		}
	}
}

func up(s State) bool { return s.Up }

// echo answers one line of one connection, and returns where that came from.
func (w *world) echo() <-chan net.Addr {
	from := make(chan net.Addr, 1)
	go func() {
		conn, err := w.keeper.Accept()
		if err != nil {
			return
		}
		line, _ := bufio.NewReader(conn).ReadString('\n')
		_, _ = io.WriteString(conn, "heard "+line)
		from <- conn.RemoteAddr()
		conn.Close()
	}()
	return from
}

// talk says a line where the keeper listens on the host.
func (w *world) talk(where string) string {
	w.t.Helper()
	conn, err := w.host.ConnectTo(where)
	if err != nil {
		w.t.Fatal(err)
	}
	defer conn.Close() //nolint:errcheck // the other side may have been first
	if _, err := io.WriteString(conn, "hello\n"); err != nil {
		w.t.Fatal(err)
	}
	answer, err := io.ReadAll(conn)
	if err != nil {
		w.t.Fatal(err)
	}
	return string(answer)
}

func TestWhatConnectsOnTheHostArrivesAtTheController(t *testing.T) {
	w := newWorld(t, nil)
	w.keeper.Keep("uid", "web") // before Run, too
	w.run()
	w.keeper.Keep("uid", "web")
	s := w.until("up", up)
	if s.Own != "127.0.0.1:7443" || s.Err != nil {
		t.Errorf("it is %+v", s)
	}
	where := w.host.Forwards()
	if len(where) != 1 || !regexp.MustCompile(`^/run/mctl-link/[0-9a-f]{16}\.sock$`).MatchString(where[0]) {
		t.Fatalf("it listens at %v", where)
	}
	from := w.echo()
	if answer := w.talk(where[0]); answer != "heard hello\n" {
		t.Errorf("answered %q", answer)
	}
	if a := <-from; a.Network() != Network || a.String() != "web" {
		t.Errorf("it came from %s %s", a.Network(), a)
	}
	if n := w.host.Connections(); n != 1 {
		t.Errorf("%d connections to one host", n)
	}
}

func TestABrokenConnectionIsMadeAnewWithAFreshSocket(t *testing.T) {
	w := newWorld(t, nil)
	w.run()
	w.keeper.Keep("uid", "web")
	w.until("up", up)
	first := w.host.Forwards()
	w.host.Drop()
	w.until("down", func(s State) bool { return !s.Up && s.Err != nil })
	w.until("up again", up)
	if second := w.host.Forwards(); len(second) != 1 || slices.Equal(first, second) {
		t.Errorf("it listened at %v, and now at %v", first, second)
	}
}

func TestALoopbackPortServesWhereSocketsAreNotForwarded(t *testing.T) {
	w := newWorld(t, func(h *sshtest.Host) { h.NoSockets = true })
	w.run()
	w.keeper.Keep("uid", "web")
	w.until("up", up)
	commands := w.host.Commands()
	if len(commands) != 1 || commands[0].Text != portCommand {
		t.Fatalf("it ran %+v", commands)
	}
	w.echo()
	if answer := w.talk("127.0.0.1:40001"); answer != "heard hello\n" {
		t.Errorf("answered %q", answer)
	}
}

func TestWhyThereIsNoConnectionIsKnown(t *testing.T) {
	w := newWorld(t, func(h *sshtest.Host) { h.NoSockets, h.NoPorts = true, true })
	w.run()
	w.keeper.Keep("uid", "web")
	s := w.until("an error", func(s State) bool { return s.Err != nil })
	if !fault.Is(s.Err, fault.Precondition) || !strings.Contains(fault.HintOf(s.Err), "AllowStreamLocalForwarding") {
		t.Errorf("it says %v (%s)", s.Err, fault.HintOf(s.Err))
	}
	agentless := newWorld(t, func(h *sshtest.Host) {
		h.NoSockets, h.Shell = true, func(_ string, _ io.Reader, _, stderr io.Writer) int {
			_, _ = io.WriteString(stderr, "cannot create /run/mctl-link/port.new: Directory nonexistent")
			return 2
		}
	})
	agentless.run()
	agentless.keeper.Keep("uid", "web")
	s = agentless.until("an error", func(s State) bool { return s.Err != nil })
	if !fault.Is(s.Err, fault.Unavailable) || !strings.Contains(s.Err.Error(), "not ready") {
		t.Errorf("without an agent it says %v", s.Err)
	}
}

func TestAHostThatIsDroppedIsLeftAlone(t *testing.T) {
	w := newWorld(t, nil)
	stop := w.run()
	w.keeper.Keep("uid", "web")
	w.until("up", up)
	w.keeper.Drop("uid")
	w.keeper.Drop("uid")
	if s := w.keeper.State("uid"); s != (State{}) {
		t.Errorf("it is %+v", s)
	}
	stop()
	w.host.Stop() // it has noticed by then
	if left := w.host.Forwards(); len(left) != 0 {
		t.Errorf("it listens at %v", left)
	}
	w.keeper.Keep("uid", "web") // after the end, nothing begins
	if n := w.host.Connections(); n != 1 {
		t.Errorf("%d connections", n)
	}
	if _, err := w.keeper.Accept(); !errors.Is(err, net.ErrClosed) {
		t.Errorf("Accept: %v", err)
	}
}

func TestAHostThatComesBackIsFound(t *testing.T) {
	w := newWorld(t, nil)
	w.gone = true
	w.run()
	w.keeper.Keep("uid", "web")
	w.until("down", func(s State) bool { return s.Err != nil })
	w.mu.Lock()
	w.gone = false
	w.mu.Unlock()
	w.until("up", up)
}

func TestADeadlineThatPassesEndsAConnection(t *testing.T) {
	ours, theirs := net.Pipe()
	room := make(chan struct{}, 1)
	room <- struct{}{}
	conn := &forwarded{Conn: ours, from: "web", room: room}
	if err := errors.Join(conn.SetDeadline(time.Now().Add(time.Hour)), conn.SetReadDeadline(time.Now().Add(10*time.Millisecond))); err != nil {
		t.Fatal(err)
	}
	if _, err := theirs.Read(make([]byte, 1)); err == nil {
		t.Error("it goes on")
	}
	conn.Close() //nolint:errcheck // it is closed already
	if len(room) != 0 {
		t.Error("it still takes room")
	}
	theirs.Close()
}
