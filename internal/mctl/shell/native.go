package shell

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	gossh "golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/agent"
	"golang.org/x/term"

	"mctl/internal/fault"
	"mctl/internal/mctl/cli"
)

// loginLimit bounds the way to a login.
const loginLimit = 15 * time.Second

// native is ssh in our own process, for computers without the program. Its arguments are the command alone.
func native(ctx context.Context, env *cli.Env, host Host, args []string) error {
	client, err := login(ctx, env, host)
	if err != nil {
		return fault.E("shell.native", fault.Unavailable, host.Name, fmt.Errorf("can't log in to %q: %w", host.Name, err)).
			WithHint("`" + env.App() + " ls` shows how the machine is")
	}
	defer client.Close()
	stop := context.AfterFunc(ctx, func() { _ = client.Close() })
	defer stop()
	session, err := client.NewSession()
	if err != nil {
		return fault.E("shell.native", fault.Unavailable, host.Name, err)
	}
	defer session.Close()
	session.Stdin, session.Stdout, session.Stderr = env.In, env.Out, env.Err
	if len(args) > 0 && args[0] == "--" {
		args = args[1:]
	}
	if len(args) > 0 {
		err = ended(session.Run(strings.Join(args, " ")))
	} else {
		err = interactive(env, session)
	}
	if ctx.Err() != nil {
		return cli.Exit{Code: cli.ExitInterrupted}
	}
	return err
}

// interactive runs the login shell, in a terminal of its own where we have one.
func interactive(env *cli.Env, session *gossh.Session) error {
	file, ok := env.In.(*os.File)
	if ok && env.InTerm {
		fd := int(file.Fd())
		before, err := term.MakeRaw(fd)
		if err != nil {
			return fault.E("shell.interactive", fault.Internal, "", err)
		}
		defer func() { _ = term.Restore(fd, before) }()
		width, height, err := term.GetSize(fd)
		if err != nil {
			width, height = 80, 24
		}
		kind := env.Getenv("TERM")
		if kind == "" {
			kind = "xterm"
		}
		if err := session.RequestPty(kind, height, width, gossh.TerminalModes{}); err != nil {
			return fault.E("shell.interactive", fault.Unavailable, "", err)
		}
		defer followSize(fd, session)()
	}
	if err := session.Shell(); err != nil {
		return fault.E("shell.interactive", fault.Unavailable, "", err)
	}
	return ended(session.Wait())
}

// followSize tells the host when our terminal gets another size, until the function that it returns is called.
func followSize(fd int, session *gossh.Session) func() {
	changed, done := make(chan os.Signal, 1), make(chan struct{})
	signal.Notify(changed, syscall.SIGWINCH)
	var group sync.WaitGroup
	group.Go(func() {
		for {
			select {
			case <-done:
				return
			case <-changed:
				if width, height, err := term.GetSize(fd); err == nil {
					_ = session.WindowChange(height, width)
				}
			}
		}
	})
	return func() {
		signal.Stop(changed)
		close(done)
		group.Wait()
	}
}

// ended gives the remote exit code on.
func ended(err error) error {
	var exit *gossh.ExitError
	switch {
	case err == nil:
		return nil
	case errors.As(err, &exit):
		return cli.Exit{Code: exit.ExitStatus()}
	}
	return fault.E("shell.native", fault.Unavailable, "", fmt.Errorf("the connection broke: %w", err))
}

func login(ctx context.Context, env *cli.Env, host Host) (*gossh.Client, error) {
	methods, closeAgent, err := methodsOf(ctx, env, host)
	if err != nil {
		return nil, err
	}
	defer closeAgent()
	check, algorithms, err := pinned(host.HostKeys)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, loginLimit)
	defer cancel()
	address := net.JoinHostPort(host.Address, strconv.FormatUint(uint64(host.Port), 10))
	var d net.Dialer
	conn, err := d.DialContext(ctx, "tcp", address)
	if err != nil {
		return nil, err
	}
	stop := context.AfterFunc(ctx, func() { _ = conn.Close() })
	defer stop()
	c, channels, requests, err := gossh.NewClientConn(conn, address, &gossh.ClientConfig{
		User: host.User, Auth: methods, HostKeyCallback: check, HostKeyAlgorithms: algorithms,
	})
	if err != nil {
		_ = conn.Close()
		return nil, err
	}
	return gossh.NewClient(c, channels, requests), nil
}

// methodsOf are the machine's key, or else the keys of the caller's ssh-agent.
func methodsOf(ctx context.Context, env *cli.Env, host Host) ([]gossh.AuthMethod, func(), error) {
	if host.Key != "" {
		text, err := os.ReadFile(host.Key)
		if err != nil {
			return nil, nil, err
		}
		signer, err := gossh.ParsePrivateKey(text)
		if err != nil {
			return nil, nil, err
		}
		return []gossh.AuthMethod{gossh.PublicKeys(signer)}, func() {}, nil
	}
	var d net.Dialer
	conn, err := d.DialContext(ctx, "unix", env.Getenv("SSH_AUTH_SOCK"))
	if err != nil {
		return nil, nil, errors.New("there is no key for it, and no ssh-agent")
	}
	return []gossh.AuthMethod{gossh.PublicKeysCallback(agent.NewClient(conn).Signers)}, func() { _ = conn.Close() }, nil
}

// pinned accepts the keys that the host had at first contact, and tells which kinds to ask it for.
func pinned(keys []string) (gossh.HostKeyCallback, []string, error) {
	var accepted [][]byte
	var algorithms []string
	for _, line := range keys {
		key, _, _, _, err := gossh.ParseAuthorizedKey([]byte(line))
		if err != nil {
			return nil, nil, fmt.Errorf("read the pinned host key: %w", err)
		}
		accepted = append(accepted, key.Marshal())
		if key.Type() == gossh.KeyAlgoRSA {
			algorithms = append(algorithms, gossh.KeyAlgoRSASHA512, gossh.KeyAlgoRSASHA256)
		} else {
			algorithms = append(algorithms, key.Type())
		}
	}
	return func(_ string, _ net.Addr, shown gossh.PublicKey) error {
		for _, key := range accepted {
			if bytes.Equal(key, shown.Marshal()) {
				return nil
			}
		}
		return errors.New("the host's key is not the one that was pinned at first contact; somebody may be in between")
	}, algorithms, nil
}
