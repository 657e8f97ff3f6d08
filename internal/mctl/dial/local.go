package dial

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"mctl/internal/fault"
	"mctl/internal/mctl/state"
	controllerv1 "mctl/proto/mctl/controller/v1"
)

// knockLimit bounds one attempt to reach a socket: either somebody listens there or nobody does.
const knockLimit = 5 * time.Second

// Local is the way to the caller's own controller, the one of a state directory.
type Local struct {
	Dir    state.Dir
	Lookup state.Lookup
	// Debugf takes what a programmer wants to know; may be nil.
	Debugf func(format string, args ...any)
}

// Dial connects to the controller and starts one where none answers. An idle one of another build is replaced. It may be
// called by any number of processes at once: one controller comes of it.
func (l Local) Dial(ctx context.Context) (*Client, error) {
	conn, pid, err := l.knock(ctx)
	if err == nil && l.outdated(ctx, pid) {
		_ = conn.Close()
		err = errNobody
	}
	if errors.Is(err, errNobody) {
		conn, pid, err = l.start(ctx)
	}
	if err != nil {
		return nil, err
	}
	return l.client(conn, pid, func(ctx context.Context) (net.Conn, error) {
		conn, _, err := l.knock(ctx)
		if errors.Is(err, errNobody) {
			conn, _, err = l.start(ctx)
		}
		return conn, err
	})
}

// DialRunning connects to the controller if one runs, of whatever build; else fault.NotFound.
func (l Local) DialRunning(ctx context.Context) (*Client, error) {
	conn, pid, err := l.knock(ctx)
	if errors.Is(err, errNobody) {
		return nil, fault.New("dial.DialRunning", fault.NotFound, l.Dir.Root, "no controller runs for "+l.Dir.Root).
			WithHint("`mctl controller start` starts one, and so does nearly every other command")
	}
	if err != nil {
		return nil, err
	}
	return l.client(conn, pid, nil)
}

func (l Local) client(conn net.Conn, pid int, again dialer) (*Client, error) {
	client, err := newClient(conn, again, false, "the controller of "+l.Dir.Root)
	if err != nil {
		return nil, err
	}
	client.PID = pid
	return client, nil
}

// errNobody says that no controller listens.
var errNobody = errors.New("nobody listens")

// knock connects to whoever listens at one of the sockets. errNobody when nobody does. A place that is only noted, as by the
// user whose state directory this once was, is passed over where it can't be trusted: a controller of ours is not there.
func (l Local) knock(ctx context.Context) (net.Conn, int, error) {
	for i, socket := range l.sockets() {
		if i > 0 && private(filepath.Dir(socket)) != nil {
			continue
		}
		conn, pid, err := knockAt(ctx, socket)
		if errors.Is(err, errNobody) {
			continue
		}
		return conn, pid, err
	}
	return nil, 0, errNobody
}

func knockAt(ctx context.Context, socket string) (net.Conn, int, error) {
	const op = "dial.knock"
	if _, err := os.Lstat(socket); errors.Is(err, os.ErrNotExist) {
		return nil, 0, errNobody
	}
	if err := private(filepath.Dir(socket)); err != nil {
		return nil, 0, err
	}
	ctx, cancel := context.WithTimeout(ctx, knockLimit)
	defer cancel()
	var d net.Dialer
	conn, err := d.DialContext(ctx, "unix", socket)
	if err != nil {
		if ctx.Err() != nil {
			return nil, 0, fault.E(op, fault.Unavailable, socket, errors.New("the controller does not accept connections")).
				WithHint("see `mctl controller logs`")
		}
		return nil, 0, errNobody
	}
	uid, pid, err := peerOf(conn.(*net.UnixConn))
	if err != nil {
		_ = conn.Close()
		return nil, 0, fault.E(op, fault.Internal, socket, err)
	}
	if uid != os.Getuid() && uid != 0 {
		_ = conn.Close()
		return nil, 0, fault.New(op, fault.Denied, socket, "another user's process answers at the controller's socket "+socket).
			WithHint("remove the socket, then try again")
	}
	return conn, pid, nil
}

// outdated reports whether the controller is of another build than the one we would start, and has nothing to do. The
// usual case costs one look at what its process runs.
func (l Local) outdated(ctx context.Context, pid int) bool {
	program, err := l.program()
	if err != nil {
		return false // there is nothing to start in its place
	}
	ours, err := os.Stat(program)
	if err != nil {
		return false
	}
	if theirs, err := executableOf(pid); err == nil && os.SameFile(ours, theirs) {
		return false
	}
	digest, err := digestOf(program)
	if err != nil {
		return false
	}
	client, err := l.DialRunning(ctx)
	if err != nil {
		return false
	}
	defer client.Close()
	info, err := client.System.GetInfo(ctx, &controllerv1.GetInfoRequest{})
	if err != nil || info.GetBuild() == digest || info.GetBusy() > 0 {
		return false
	}
	l.debugf("controller %d is of build %.12s, ours is %.12s, and it is idle: it is replaced", pid, info.GetBuild(), digest)
	return true
}

// Stop ends the controller and returns when its process is gone. fault.NotFound when none runs.
func (l Local) Stop(ctx context.Context) error {
	client, err := l.DialRunning(ctx)
	if err != nil {
		return err
	}
	defer client.Close()
	pid := client.PID
	if pid == 0 {
		info, err := client.System.GetInfo(ctx, &controllerv1.GetInfoRequest{})
		if err != nil {
			return err
		}
		pid = int(info.GetPid())
	}
	process, err := Hold(pid)
	if err != nil {
		return err
	}
	defer process.Release()
	// It may end before its answer has left.
	if _, err := client.System.Shutdown(ctx, &controllerv1.ShutdownRequest{}); err != nil && !fault.Is(err, fault.Unavailable) {
		return err
	}
	if err := process.Gone(ctx); err != nil {
		if errors.Is(err, context.Canceled) {
			return err
		}
		return fault.E("dial.Stop", fault.Unavailable, strconv.Itoa(pid), errors.New("the controller, process "+strconv.Itoa(pid)+", does not end")).
			WithHint("see `mctl controller logs`; it ends what it is doing first")
	}
	return nil
}

func digestOf(path string) (string, error) {
	file, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer file.Close()
	hash := sha256.New()
	if _, err := io.Copy(hash, file); err != nil {
		return "", err
	}
	return hex.EncodeToString(hash.Sum(nil)), nil
}

func (l Local) debugf(format string, args ...any) {
	if l.Debugf != nil {
		l.Debugf(format, args...)
	}
}
