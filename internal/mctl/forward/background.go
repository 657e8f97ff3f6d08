package forward

import (
	"context"
	"net"
	"os"
	"path/filepath"
	"time"

	"mctl/internal/fault"
	"mctl/internal/mctl/cli"
	"mctl/internal/mctl/dial"
	"mctl/internal/mctl/state"
	controllerv1 "mctl/proto/mctl/controller/v1"
)

const (
	knockLimit = 2 * time.Second
	lockLimit  = 40 * time.Second // for another process to start it
)

// Docker has a machine's engine served at a socket of the caller's own, by a process in the background that is started where
// none serves, and returns the socket's address, unix://PATH. It may be called by any number of processes at once.
func Docker(ctx context.Context, env *cli.Env, m *controllerv1.Machine) (string, error) {
	path, dir, err := socketOf(env, m)
	if err != nil {
		return "", err
	}
	url := "unix://" + path
	if answers(ctx, path) == nil {
		return url, nil
	}
	// The process looks whether the folder is there, and ends without it.
	if _, err := dir.Claim(m); err != nil {
		return "", err
	}
	ctx, cancel := context.WithTimeout(ctx, lockLimit)
	defer cancel()
	unlock, err := dial.Lock(ctx, filepath.Join(dir.Own(), "forward.lock"))
	if err != nil {
		return "", err
	}
	defer unlock()
	if answers(ctx, path) == nil {
		return url, nil
	}
	program, err := os.Executable()
	if err != nil {
		return "", fault.E("forward.Docker", fault.Internal, m.GetName(), err)
	}
	name, err := env.ContextName()
	if err != nil {
		return "", err
	}
	local := dial.Local{Dir: state.Dir{Root: dir.Root}, Lookup: env.Lookup, Debugf: env.Debugf}
	err = local.Background(ctx, dial.Task{
		What: "the forward of " + m.GetName() + "'s Docker", Log: filepath.Join(local.Dir.Own(), "forward.log"),
		Args: []string{program, "--storage-path", dir.Root, "--context", name, "forward", "--docker", "--ready-fd", "3", m.GetName()},
	})
	if err != nil {
		return "", err
	}
	return url, answers(ctx, path)
}

// answers reports whether a process of the caller's serves a socket. It costs that process nothing.
func answers(ctx context.Context, path string) error {
	d := net.Dialer{Timeout: knockLimit}
	conn, err := d.DialContext(ctx, "unix", path)
	if err != nil {
		return err
	}
	defer conn.Close()
	return dial.CheckPeer(conn.(*net.UnixConn))
}
