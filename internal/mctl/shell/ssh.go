// Package shell logs in to machines' hosts.
package shell

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"regexp"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"mctl/internal/fault"
	"mctl/internal/mctl/cli"
	"mctl/internal/mctl/tunnel"
	controllerv1 "mctl/proto/mctl/controller/v1"
)

// Commands returns the commands that log in.
func Commands(env *cli.Env) []*cobra.Command { return []*cobra.Command{newSSH(env)} }

// newSSH leaves everything after the name to ssh.
func newSSH(env *cli.Env) *cobra.Command {
	command := &cobra.Command{
		Use: "ssh [arg...]", Short: "Log into or run a command on a machine with SSH.",
		Long: "Arguments are [machine-name] [command]. What the command prints is passed on as it is, with its exit code.\n" +
			"--via stands before the machine's name. By itself a command without a terminal goes through the machine's agent, which is " +
			"sooner there than a login, and all else directly where the host answers from here.",
		Example:            "mctl ssh web\nmctl ssh web uptime\nmctl ssh web -L 8080:localhost:80\nmctl ssh --via agent web",
		DisableFlagParsing: true, ValidArgsFunction: cli.CompleteMachine(env),
		RunE: func(command *cobra.Command, args []string) error {
			if len(args) > 0 && (args[0] == "-h" || args[0] == "-help" || args[0] == "--help") {
				return command.Help()
			}
			return ssh(command.Context(), env, args)
		},
	}
	tunnel.AddVia(command.Flags(), new(tunnel.Via), tunnel.Auto)
	return command
}

// ssh runs a command, or a shell, on a machine's host and ends as it ends.
func ssh(ctx context.Context, env *cli.Env, args []string) error {
	via, args, err := tunnel.TakeVia(args)
	if err != nil {
		return err
	}
	m, err := env.Machine(ctx, args)
	if err != nil {
		return err
	}
	if len(args) > 0 {
		args = args[1:]
	}
	if suffices := tunnel.Suffices(env, via, m, args); suffices || tunnel.ThroughAgent(ctx, env, via, m) {
		session, err := tunnel.SSH(ctx, env, m.GetName(), args)
		if err == nil {
			return session.Run(ctx, env)
		}
		if !suffices || ctx.Err() != nil {
			return err
		}
		env.Debugf("the agent does not run it (%v), logging in", err)
	}
	host, err := HostOf(env, m)
	if err != nil {
		return err
	}
	env.Close() // nothing more is asked of the controller, and a session may be long
	program, lookErr := exec.LookPath("ssh")
	if env.Global.NativeSSH || lookErr != nil {
		return native(ctx, env, host, args)
	}
	return Program{Path: program, Args: append(host.arguments(), args...), Out: env.Out}.Run(ctx, env)
}

// Host is how to log in to a machine's host.
type Host struct {
	Name       string // the machine's, under which its keys are pinned
	User       string
	Address    string
	Port       uint32
	Key        string // path of the private key; empty for the ssh-agent's
	KnownHosts string // path
	HostKeys   []string
}

// HostOf tells how to log in, if the machine runs, and pins its host keys where ssh will look for them.
func HostOf(env *cli.Env, m *controllerv1.Machine) (Host, error) {
	endpoint := m.GetStatus().GetSsh()
	switch m.GetStatus().GetState() {
	case "Stopped", "Stopping", "Paused", "Saved":
		return Host{}, notRunning(m)
	}
	if endpoint.GetAddress() == "" || len(endpoint.GetHostKeys()) == 0 {
		return Host{}, notRunning(m)
	}
	dir, err := env.State()
	if err != nil {
		return Host{}, err
	}
	folder, err := dir.Claim(m)
	if err != nil {
		return Host{}, err
	}
	if err := folder.WriteKnownHosts(m.GetName(), endpoint.GetHostKeys()); err != nil {
		return Host{}, err
	}
	host := Host{
		Name: m.GetName(), User: endpoint.GetUser(), Address: endpoint.GetAddress(), Port: endpoint.GetPort(),
		KnownHosts: folder.KnownHosts(), HostKeys: endpoint.GetHostKeys(),
	}
	if folder.HasKey() {
		host.Key = folder.Key()
	}
	if host.Port == 0 {
		host.Port = 22
	}
	return host, host.check()
}

// addressPattern and userPattern are what may stand in a command line or a configuration file of ssh without meaning more
// than itself there: others chose them.
var (
	addressPattern = regexp.MustCompile(`^[a-zA-Z0-9:][a-zA-Z0-9.:%_-]*$`)
	userPattern    = regexp.MustCompile(`^[a-zA-Z0-9_.][a-zA-Z0-9_.@+$-]*$`)
)

func (h Host) check() error {
	const op = "shell.check"
	switch {
	case !addressPattern.MatchString(h.Address):
		return fault.E(op, fault.Invalid, h.Name, fmt.Errorf("%q is no address of a host", h.Address))
	case !userPattern.MatchString(h.User):
		return fault.E(op, fault.Invalid, h.Name, fmt.Errorf("%q is no user that can log in", h.User)).
			WithHint("use letters, digits and the signs . _ @ + $ -")
	}
	return nil
}

// As is the same host for another user.
func (h Host) As(user string) (Host, error) {
	h.User = user
	return h, h.check()
}

func notRunning(m *controllerv1.Machine) error {
	return fault.E("shell", fault.Precondition, m.GetName(), fmt.Errorf("Error: Cannot run SSH command: Host %q is not running", m.GetName())). //nolint:staticcheck // docker-machine's words
																			WithHint("`mctl status " + m.GetName() + "` tells its state, `mctl start " + m.GetName() + "` starts it")
}

// arguments are docker-machine's, but that the host's key is checked.
func (h Host) arguments() []string {
	args := []string{
		"-F", "/dev/null",
		"-o", "ConnectionAttempts=3", "-o", "ConnectTimeout=10", "-o", "ControlMaster=no", "-o", "ControlPath=none",
		"-o", "LogLevel=ERROR", "-o", "PasswordAuthentication=no", "-o", "ServerAliveInterval=60",
		"-o", "StrictHostKeyChecking=yes", "-o", "UserKnownHostsFile=" + quoted(h.KnownHosts), "-o", "GlobalKnownHostsFile=/dev/null",
		"-o", "HostKeyAlias=" + h.Name, "-o", "CheckHostIP=no",
		h.User + "@" + h.Address,
	}
	if h.Key != "" {
		args = append(args, "-o", "IdentitiesOnly=yes", "-i", strings.ReplaceAll(h.Key, "%", "%%"))
	}
	return append(args, "-p", strconv.FormatUint(uint64(h.Port), 10))
}

// quoted protects a path in an option, where ssh would otherwise split at spaces and expand percent signs.
func quoted(path string) string {
	return `"` + strings.NewReplacer("%", "%%", `\`, `\\`, `"`, `\"`).Replace(path) + `"`
}

// Config is the host as a section of an ssh configuration file, under the name alias.
func (h Host) Config(alias string) string {
	text := fmt.Sprintf("Host %s\n  HostName %s\n  User %s\n  Port %d\n  HostKeyAlias %s\n  UserKnownHostsFile %s\n",
		alias, strings.ReplaceAll(h.Address, "%", "%%"), h.User, h.Port, h.Name, quoted(h.KnownHosts))
	if h.Key != "" {
		text += "  IdentitiesOnly yes\n  IdentityFile " + quoted(h.Key) + "\n"
	}
	return text
}

// Program is a program of the caller's computer.
type Program struct {
	Path      string
	Args      []string
	Variables []string // NAME=value each, beside the caller's
	Out       io.Writer
}

// Run runs it in the caller's terminal, with its standard output at Out, and ends as it ends, with its exit code. On Linux it
// does not outlive us, even where we are killed.
func (p Program) Run(ctx context.Context, env *cli.Env) error {
	runtime.LockOSThread() // the kernel takes the end of the thread that started it for our end
	defer runtime.UnlockOSThread()
	env.Debugf("running %s %q", p.Path, p.Args)
	command := exec.CommandContext(ctx, p.Path, p.Args...)
	command.Stdin, command.Stdout, command.Stderr = env.In, p.Out, env.Err
	command.Env = append(os.Environ(), p.Variables...)
	command.Cancel = func() error { return command.Process.Signal(syscall.SIGTERM) }
	command.WaitDelay = 2 * time.Second
	command.SysProcAttr = endsWithUs()
	err := command.Run()
	var exit *exec.ExitError
	switch {
	case err == nil:
		return nil
	case ctx.Err() != nil:
		return cli.Exit{Code: cli.ExitInterrupted}
	case errors.As(err, &exit):
		if code := exit.ExitCode(); code > 0 {
			return cli.Exit{Code: code}
		}
		return cli.Exit{Code: cli.ExitInterrupted}
	case errors.Is(err, io.ErrClosedPipe), errors.Is(err, exec.ErrWaitDelay):
		return nil
	}
	return fault.E("shell.Run", fault.Precondition, p.Path, fmt.Errorf("can't run %s: %w", p.Path, err)).
		WithHint("see whether it is a program for this computer")
}
