package link_test

import (
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"mctl/internal/agent/link"
)

// socketWorld is an agent whose controller comes over SSH alone: relays stand for sshd.
type socketWorld struct {
	t    *testing.T
	c    *controller
	a    *agent
	dir  string
	made int
}

func newSocketWorld(t *testing.T, endpoints ...string) *socketWorld {
	t.Helper()
	authority := newAuthority(t)
	w := &socketWorld{t: t, c: authority.start(t), dir: filepath.Join(t.TempDir(), "link")}
	n := &network{ports: map[string]*controller{endpoint: w.c}}
	w.a = newAgent(t, n, link.Settings{MachineUID: uid, Ticket: authority.ticket(uid), Endpoints: endpoints, SocketOwner: os.Getuid()})
	w.a.sockets = w.dir
	t.Cleanup(w.c.stop)
	return w
}

// open makes a socket as sshd does, which serves nobody: frozen. relay has it lead to the controller.
func (w *socketWorld) open(relay bool) (name string, closing func()) {
	w.t.Helper()
	w.made++
	name = fmt.Sprintf("%016x.sock", w.made)
	listener, err := net.Listen("unix", filepath.Join(w.dir, name))
	if err != nil {
		w.t.Fatal(err)
	}
	// A file system's clock is coarse, and hosts open one socket at a time.
	stamp := time.Now().Add(time.Duration(w.made-100) * time.Minute)
	if err := os.Chtimes(filepath.Join(w.dir, name), stamp, stamp); err != nil {
		w.t.Fatal(err)
	}
	listener.(*net.UnixListener).SetUnlinkOnClose(false) // sshd leaves it, too
	closing = func() { listener.Close() }
	w.t.Cleanup(closing)
	if relay {
		go w.relay(listener)
	}
	return name, closing
}

func (w *socketWorld) relay(listener net.Listener) {
	for {
		conn, err := listener.Accept()
		if err != nil {
			return
		}
		to, err := w.c.listener.DialContext(context.Background())
		if err != nil {
			conn.Close()
			continue
		}
		go splice(conn, to)
		go splice(to, conn)
	}
}

func splice(from, to net.Conn) {
	defer from.Close()
	defer to.Close()
	buffer := make([]byte, 32<<10)
	for {
		n, err := from.Read(buffer)
		if err != nil {
			return
		}
		if _, err := to.Write(buffer[:n]); err != nil {
			return
		}
	}
}

func (w *socketWorld) left() []string {
	w.t.Helper()
	entries, err := os.ReadDir(w.dir)
	if err != nil {
		w.t.Fatal(err)
	}
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names
}

// soon polls, for sockets and files have no place in a bubble.
func soon(t *testing.T, what string, holds func() bool) {
	t.Helper()
	limit := time.NewTimer(15 * time.Second)
	defer limit.Stop()
	ticker := time.NewTicker(20 * time.Millisecond)
	defer ticker.Stop()
	for !holds() {
		select {
		case <-ticker.C:
		case <-limit.C:
			t.Fatalf("not within 15 s: %s", what)
		}
	}
}

func TestAnAgentThatKnowsNoAddressJoinsThroughTheNewestSocket(t *testing.T) {
	w := newSocketWorld(t)
	w.a.start("i1")
	defer w.a.stop()
	soon(t, "the directory is there", func() bool { info, err := os.Stat(w.dir); return err == nil && info.Mode().Perm() == 0o700 })
	dead, closeDead := w.open(false)
	closeDead()
	frozen, _ := w.open(false)
	if err := os.WriteFile(filepath.Join(w.dir, "notes"), []byte("a user's own"), 0o600); err != nil {
		t.Fatal(err)
	}
	live, _ := w.open(true)
	soon(t, "connected", w.c.connected(uid))
	soon(t, "stale sockets are gone", func() bool { return !slices.Contains(w.left(), dead) && !slices.Contains(w.left(), frozen) })
	if left := w.left(); !slices.Contains(left, live) || !slices.Contains(left, "notes") {
		t.Errorf("left are %v", left)
	}
}

func TestAFreshSocketIsTriedAtOnce(t *testing.T) {
	w := newSocketWorld(t)
	w.a.random = 1 // pauses are as long as they can be
	w.a.start("i1")
	defer w.a.stop()
	soon(t, "the directory is there", func() bool { _, err := os.Stat(w.dir); return err == nil })
	<-time.After(4 * time.Second) // pauses of 1, 2 and 4 seconds are under way
	began := time.Now()
	w.open(true)
	soon(t, "connected", w.c.connected(uid))
	if took := time.Since(began); took > 3*time.Second {
		t.Errorf("after %s", took)
	}
}

func TestAPortOnTheLoopbackIsAWayToo(t *testing.T) {
	w := newSocketWorld(t)
	w.a.network.set("127.0.0.1:40001", w.c)
	w.a.start("i1")
	defer w.a.stop()
	soon(t, "the directory is there", func() bool { _, err := os.Stat(w.dir); return err == nil })
	for _, text := range []string{"no number\n", "99999999\n", "0\n"} {
		if err := os.WriteFile(filepath.Join(w.dir, "port"), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(w.dir, "port"), []byte("40001\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	soon(t, "connected", w.c.connected(uid))
}

func TestADirectWayIsTakenBeforeASocket(t *testing.T) {
	w := newSocketWorld(t, endpoint)
	if err := os.Mkdir(w.dir, 0o700); err != nil {
		t.Fatal(err)
	}
	used, _ := w.open(false) // who connects there waits in vain
	w.a.start("i1")
	defer w.a.stop()
	began := time.Now()
	soon(t, "connected", w.c.connected(uid))
	if took := time.Since(began); took > 3*time.Second {
		t.Errorf("after %s", took)
	}
	if left := w.left(); !slices.Contains(left, used) {
		t.Errorf("a socket that may be of use was removed; left are %v", left)
	}
}

func TestWhatAUserPutsThereLeadsNowhereElse(t *testing.T) {
	w := newSocketWorld(t, endpoint)
	if err := os.Mkdir(w.dir, 0o755); err != nil {
		t.Fatal(err)
	}
	secret := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(secret, []byte("40001\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"port", "00000000000000aa.sock"} {
		if err := os.Symlink(secret, filepath.Join(w.dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	w.a.start("i1")
	defer w.a.stop()
	soon(t, "connected", w.c.connected(uid))
	if n := w.a.network.dialledTo("127.0.0.1:40001"); n != 0 {
		t.Errorf("a link was followed %d times", n)
	}
	if _, err := os.Stat(secret); err != nil {
		t.Error(err)
	}
}
