package dial

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"mctl/internal/fault"
	"mctl/internal/mctl/state"
)

const (
	// startLimit bounds a controller's way to its first answer; it opens a file and two sockets.
	startLimit = 20 * time.Second
	// lockLimit lets one start by another process, and the end of an older controller, pass.
	lockLimit = 2 * startLimit
	// maxLog bounds a log that a new controller goes on with.
	maxLog = 16 << 20
	// maxReady bounds the line with which a controller reports.
	maxReady = 64 << 10
)

// program finds the controller's executable: MCTL_CONTROLLER_BIN, beside our own, in PATH.
func (l Local) program() (string, error) {
	if path, _ := l.Lookup("MCTL_CONTROLLER_BIN"); path != "" {
		return path, nil
	}
	const name = "controller"
	if own, err := os.Executable(); err == nil {
		beside := filepath.Join(filepath.Dir(own), name)
		if info, err := os.Stat(beside); err == nil && info.Mode().IsRegular() {
			return beside, nil
		}
	}
	if path, err := exec.LookPath(name); err == nil {
		return path, nil
	}
	return "", fault.New("dial.program", fault.Precondition, name, "no controller runs, and its program was not found beside mctl or in PATH").
		WithHint("put the file `controller` beside mctl, or name it in MCTL_CONTROLLER_BIN")
}

// start starts the controller, unless another process was quicker, and connects to it. One process at a time gets through.
func (l Local) start(ctx context.Context) (net.Conn, int, error) {
	ctx, cancel := context.WithTimeout(ctx, lockLimit)
	defer cancel()
	program, err := l.program()
	if err != nil {
		return nil, 0, err
	}
	if err := l.Dir.MakeOwn(); err != nil {
		return nil, 0, err
	}
	unlock, err := Lock(ctx, filepath.Join(l.Dir.Own(), "start.lock"))
	if err != nil {
		return nil, 0, err
	}
	defer unlock()
	conn, pid, err := l.knock(ctx)
	switch {
	case err == nil && l.outdated(ctx, pid):
		_ = conn.Close()
		if err := l.Stop(ctx); err != nil && !fault.Is(err, fault.NotFound) {
			return nil, 0, err
		}
	case !errors.Is(err, errNobody):
		return conn, pid, err
	}
	socket := l.Socket()
	if err := makeSocketDir(filepath.Dir(socket)); err != nil {
		return nil, 0, err
	}
	conn, pid, err = l.spawnUntilHeard(ctx, program, socket)
	if err != nil {
		return nil, 0, err
	}
	return conn, pid, nil
}

// spawnUntilHeard starts the controller and connects to it. Where another one still has the state directory, one that is
// about to end or to listen, it tries again for a while.
func (l Local) spawnUntilHeard(ctx context.Context, program, socket string) (net.Conn, int, error) {
	ctx, cancel := context.WithTimeout(ctx, startLimit)
	defer cancel()
	pause := time.NewTicker(100 * time.Millisecond)
	defer pause.Stop()
	for {
		already, err := l.spawn(ctx, program, socket)
		if err != nil {
			return nil, 0, err
		}
		if !already {
			if err := state.WriteFile(l.noted(), []byte(socket), 0o600); err != nil {
				return nil, 0, err
			}
		}
		conn, pid, err := l.knock(ctx)
		if !errors.Is(err, errNobody) {
			return conn, pid, err
		}
		select {
		case <-ctx.Done():
			if errors.Is(ctx.Err(), context.Canceled) {
				return nil, 0, ctx.Err()
			}
			return nil, 0, fault.New("dial.start", fault.Unavailable, l.Dir.Root, "a controller has "+l.Dir.Root+" but does not answer").
				WithHint("see " + l.Dir.ControllerLog() + ", and who holds " + filepath.Join(l.Dir.Own(), "controller.lock"))
		case <-pause.C:
		}
	}
}

// ready is the one line with which a controller reports how its start went.
type ready struct {
	Ready   bool   `json:"ready"`
	Already bool   `json:"already"` // another one has the state directory
	Error   string `json:"error"`
	Hint    string `json:"hint"`
}

// spawn runs the controller in a session of its own and waits for its report: ready, or that another one has the state
// directory already.
func (l Local) spawn(ctx context.Context, program, socket string) (already bool, err error) {
	task := Task{"the controller", l.Dir.ControllerLog(), []string{program, "--state-dir", l.Dir.Root, "--socket", socket, "--ready-fd", "3"}}
	err = l.Background(ctx, task)
	if errors.Is(err, errAlready) {
		return true, nil
	}
	return false, err
}

// errAlready says that another controller has the state directory.
var errAlready = errors.New("another one runs")

// Task is a program that works for the caller in the background.
type Task struct {
	What string // as people know it, such as "the controller"
	Log  string // path of the file that it writes to
	Args []string
}

// Background starts a program as the controller is started: in a session of its own and, where systemd runs, a scope of its
// own, so that it outlives its caller. The program tells descriptor 3 in one line of JSON how its start went: {"ready":true},
// or {"error":"…","hint":"…"}.
func (l Local) Background(ctx context.Context, task Task) error {
	if scope := l.scope(); scope != nil {
		scoped := task
		scoped.Args = append(scope, task.Args...)
		report, err := l.run(ctx, scoped)
		if err == nil {
			return report.fault(l, task)
		}
		if ctx.Err() != nil {
			return err
		}
		l.debugf("no scope of its own for %s: %v", task.What, err)
	}
	report, err := l.run(ctx, task)
	if err != nil {
		return err
	}
	return report.fault(l, task)
}

// scope is the command that gives the controller a scope of its own where systemd runs, so that it outlives the service
// or session that started it; nil elsewhere.
func (l Local) scope() []string {
	if _, err := os.Stat("/run/systemd/system"); err != nil {
		return nil
	}
	run, err := exec.LookPath("systemd-run")
	if err != nil {
		return nil
	}
	if os.Getuid() == 0 {
		return []string{run, "--system", "--scope", "--collect", "--quiet", "--"}
	}
	return []string{run, "--user", "--scope", "--collect", "--quiet", "--"}
}

// openLog opens what a task writes to. A long one becomes the former one first.
func openLog(path string) (*os.File, error) {
	if info, err := os.Lstat(path); err == nil && info.Size() > maxLog {
		if err := os.Rename(path, path+".1"); err != nil {
			return nil, state.Trouble(path, err)
		}
	}
	file, err := os.OpenFile(path, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return nil, state.Trouble(path, err)
	}
	return file, nil
}

func (l Local) run(ctx context.Context, task Task) (ready, error) {
	args := task.Args
	log, err := openLog(task.Log)
	if err != nil {
		return ready{}, err
	}
	defer log.Close()
	reader, writer, err := os.Pipe()
	if err != nil {
		return ready{}, fault.E("dial.run", fault.Internal, "", err)
	}
	defer reader.Close()
	// No context: the controller outlives us.
	command := exec.Command(args[0], args[1:]...) //nolint:gosec,noctx // the program is the user's own choice
	command.Dir, command.Env = "/", l.environment()
	command.Stdout, command.Stderr = log, log
	command.ExtraFiles = []*os.File{writer}
	command.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	keepToOurselves()
	l.debugf("starting %s", strings.Join(args, " "))
	if err := command.Start(); err != nil {
		_ = writer.Close()
		return ready{}, fault.E("dial.run", fault.Precondition, args[0], fmt.Errorf("can't start %s: %w", task.What, err)).
			WithHint("set MCTL_CONTROLLER_BIN to the controller's program")
	}
	_ = writer.Close()
	report, err := readReport(ctx, reader)
	if errors.Is(err, context.Canceled) {
		_ = command.Process.Release() // who waits no longer does not end the work; the next command finds it
		return ready{}, err
	}
	if err != nil {
		if errors.Is(err, errSlow) {
			_ = command.Process.Kill()
		}
		_ = command.Wait()
		return ready{}, fault.E("dial.run", fault.Unavailable, "", fmt.Errorf("%s %w", task.What, err)).
			WithHint("see " + task.Log)
	}
	if report.Ready {
		_ = command.Process.Release()
	} else {
		_ = command.Wait() // it ends by itself
	}
	return report, nil
}

var errSlow = errors.New("did not become ready in time")

// readReport reads the controller's line.
func readReport(ctx context.Context, reader *os.File) (ready, error) {
	ctx, cancel := context.WithTimeout(ctx, startLimit)
	defer cancel()
	stop := context.AfterFunc(ctx, func() { _ = reader.SetReadDeadline(time.Unix(1, 0)) })
	defer stop()
	line, err := bufio.NewReaderSize(reader, maxReady).ReadSlice('\n')
	var report ready
	switch {
	case errors.Is(ctx.Err(), context.Canceled):
		return report, ctx.Err()
	case ctx.Err() != nil:
		return report, errSlow
	case len(line) == 0 && err != nil:
		return report, errors.New("ended before it was ready")
	}
	if err := json.Unmarshal(line, &report); err != nil {
		return report, errors.New("reported something that mctl does not understand")
	}
	return report, nil
}

func (r ready) fault(l Local, task Task) error {
	switch {
	case r.Error != "":
		return fault.New("dial.spawn", fault.Precondition, l.Dir.Root, r.Error).WithHint(r.Hint)
	case r.Ready:
		return nil
	case r.Already:
		return errAlready
	}
	return fault.New("dial.spawn", fault.Unavailable, l.Dir.Root, task.What+" did not become ready").WithHint("see " + task.Log)
}
