package forward

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"mctl/internal/fault"
	"mctl/internal/mctl/cli"
	"mctl/internal/mctl/dial"
	"mctl/internal/mctl/state"
	"mctl/internal/mctl/tunnel"
	controllerv1 "mctl/proto/mctl/controller/v1"
)

const (
	// idleLimit is how long a socket is kept that nobody uses.
	idleLimit = 24 * time.Hour
	// lookAgain is how soon it is noticed that a socket is not wanted any more, or that its file is gone.
	lookAgain = 2 * time.Second
)

// serveDocker serves the socket of a machine's engine until it is interrupted; told is the descriptor that a starter reads,
// or -1 for a person, and then it ends by itself when it has not been used for long or its machine's folder is gone.
func serveDocker(ctx context.Context, env *cli.Env, args []string, told int) error {
	if len(args) != 1 {
		return cli.ErrOneMachine()
	}
	m, err := env.Get(ctx, args[0])
	if err != nil {
		return report(told, err)
	}
	e, err := newEndpoint(env, m)
	if err != nil {
		return report(told, err)
	}
	if err := e.listen(ctx); err != nil {
		return report(told, err)
	}
	defer e.close()
	if told < 0 {
		if err := tell(env, m.GetName(), e.url()); err != nil {
			return err
		}
	}
	if err := report(told, nil); err != nil {
		return err
	}
	err = e.serve(ctx, told >= 0)
	if ctx.Err() != nil {
		return cli.Exit{Code: cli.ExitInterrupted}
	}
	return err
}

func tell(env *cli.Env, machine, url string) error {
	if env.JSON() {
		return env.Stream(map[string]string{"machine": machine, "host": url})
	}
	env.Printf("Forwarding %s to Docker of %s\n", url, machine)
	return nil
}

// report tells a starter how the start went, and returns the error.
func report(told int, err error) error {
	if told < 0 {
		return err
	}
	file := os.NewFile(uintptr(told), "ready")
	defer file.Close()
	line := map[string]any{"ready": true}
	if err != nil {
		line = map[string]any{"error": err.Error(), "hint": fault.HintOf(err)}
	}
	return errors.Join(err, json.NewEncoder(file).Encode(line))
}

// endpoint is the socket of one machine's engine.
type endpoint struct {
	env      *cli.Env
	machine  *controllerv1.Machine
	folder   state.Folder
	path     string
	access   access
	listener *net.UnixListener

	group sync.WaitGroup
	open  atomic.Int64
	used  atomic.Int64 // Unix nanoseconds of the last use
}

func newEndpoint(env *cli.Env, m *controllerv1.Machine) (*endpoint, error) {
	path, dir, err := socketOf(env, m)
	if err != nil {
		return nil, err
	}
	return &endpoint{env: env, machine: m, folder: dir.Machine(m.GetName()), path: path, access: access{env: env, machine: m.GetName()}}, nil
}

// socketOf is where the engine of a machine is served for the caller.
func socketOf(env *cli.Env, m *controllerv1.Machine) (path string, dir state.Dir, err error) {
	if dir, err = env.State(); err != nil {
		return "", dir, err
	}
	path, err = dial.Local{Dir: state.Dir{Root: dir.Root}, Lookup: env.Lookup}.OtherSocket("docker " + dir.Context + " " + m.GetUid())
	return path, dir, err
}

func (e *endpoint) url() string { return "unix://" + e.path }

// listen opens the socket. One process at a time has it: the lock beside it says which.
func (e *endpoint) listen(ctx context.Context) error {
	if err := os.Remove(e.path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return fault.E("forward.listen", fault.Precondition, e.path, err)
	}
	listener, err := new(net.ListenConfig).Listen(ctx, "unix", e.path)
	if err != nil {
		return fault.E("forward.listen", fault.Precondition, e.path, fmt.Errorf("can't listen at %s: %w", e.path, err))
	}
	e.listener = listener.(*net.UnixListener)
	return os.Chmod(e.path, 0o600)
}

func (e *endpoint) close() {
	_ = e.listener.Close()
	e.group.Wait()
}

// errTidied says that somebody has taken the socket's file away.
var errTidied = errors.New("the socket's file is gone")

// serve carries connections until ctx ends; in the background also until nobody wants the socket any more.
func (e *endpoint) serve(ctx context.Context, background bool) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	e.used.Store(e.env.Now().UnixNano())
	for {
		err := e.accept(ctx, background)
		if !errors.Is(err, errTidied) {
			return err
		}
		former := e.listener
		former.SetUnlinkOnClose(false)
		_ = os.Mkdir(filepath.Dir(e.path), 0o700)
		if e.listen(ctx) == nil {
			_ = former.Close()
		}
	}
}

// accept serves as long as the socket can be found.
func (e *endpoint) accept(ctx context.Context, background bool) error {
	listener := e.listener
	unhook := context.AfterFunc(ctx, func() { _ = listener.Close() })
	defer unhook()
	for {
		_ = listener.SetDeadline(time.Now().Add(lookAgain))
		conn, err := listener.AcceptUnix()
		switch {
		case err == nil:
			e.open.Add(1)
			e.group.Go(func() {
				defer e.open.Add(-1)
				e.carry(ctx, conn)
				e.used.Store(e.env.Now().UnixNano())
			})
			continue
		case ctx.Err() != nil:
			return nil
		case !errors.Is(err, os.ErrDeadlineExceeded):
			return err
		case background && !e.wanted():
			return nil
		}
		if _, err := os.Lstat(e.path); errors.Is(err, os.ErrNotExist) {
			return errTidied
		}
	}
}

// wanted reports whether the machine is still the caller's and the socket was used not too long ago.
func (e *endpoint) wanted() bool {
	mark, ours := e.folder.Mark()
	idle := e.env.Now().Sub(time.Unix(0, e.used.Load()))
	return ours && mark.UID == e.machine.GetUid() && (e.open.Load() > 0 || idle < idleLimit)
}

// carry connects one caller to the engine. Nothing is asked of the host before the caller has said something.
func (e *endpoint) carry(ctx context.Context, here *net.UnixConn) {
	defer here.Close()
	unhook := context.AfterFunc(ctx, func() { _ = here.Close() })
	defer unhook()
	if dial.CheckPeer(here) != nil {
		return
	}
	ahead := bufio.NewReader(here)
	if _, err := ahead.Peek(1); err != nil {
		return
	}
	engine, err := e.access.dial(ctx)
	if err != nil {
		refuse(here, err)
		return
	}
	tunnel.Splice(talker{here, ahead}, engine)
}

// talker is a connection of which something was read ahead.
type talker struct {
	*net.UnixConn
	ahead *bufio.Reader
}

// Read implements io.Reader.
func (t talker) Read(p []byte) (int, error) { return t.ahead.Read(p) }

// refuse answers as an engine does that can't, so that the docker CLI shows the sentence.
func refuse(conn net.Conn, err error) {
	sentence := err.Error()
	if hint := fault.HintOf(err); hint != "" {
		sentence += " (" + hint + ")"
	}
	text, _ := json.Marshal(map[string]string{"message": sentence})
	_, _ = fmt.Fprintf(conn, "HTTP/1.1 503 Service Unavailable\r\nContent-Type: application/json\r\nConnection: close\r\nContent-Length: %d\r\n\r\n%s", len(text), text)
}
