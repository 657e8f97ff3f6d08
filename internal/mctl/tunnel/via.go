package tunnel

import (
	"context"
	"fmt"
	"net"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/pflag"

	"mctl/internal/mctl/cli"
	controllerv1 "mctl/proto/mctl/controller/v1"
)

// Via is the way to a host.
type Via string

// The ways. Auto is direct where the host answers from here, else through its agent; a command that needs nothing of ssh's own
// goes through the agent at once.
const (
	Auto   Via = "auto"
	Direct Via = "direct"
	Agent  Via = "agent"
)

// reachLimit is how long a host may take to answer before its agent is asked instead.
const reachLimit = 2 * time.Second

// String implements pflag.Value.
func (v *Via) String() string { return string(*v) }

// Type implements pflag.Value.
func (*Via) Type() string { return "string" }

// Set implements pflag.Value.
func (v *Via) Set(text string) error {
	switch via := Via(text); via {
	case Auto, Direct, Agent:
		*v = via
		return nil
	}
	return fmt.Errorf("%q is none of auto, direct, agent", text)
}

// AddVia adds the flag.
func AddVia(flags *pflag.FlagSet, via *Via, fallback Via) {
	*via = fallback
	flags.Var(via, "via", "Way to the host: auto, direct, or agent, which needs no open port there")
}

// TakeVia takes the flag off arguments whose others are not ours to read.
func TakeVia(args []string) (Via, []string, error) {
	via := Auto
	for len(args) > 0 {
		name, value, assigned := strings.Cut(strings.TrimLeft(args[0], "-"), "=")
		if !strings.HasPrefix(args[0], "-") || name != "via" {
			break
		}
		args = args[1:]
		if !assigned {
			if len(args) == 0 {
				return via, nil, cli.Usagef("flag needs an argument: -via").WithHint("--via is auto, direct or agent")
			}
			value, args = args[0], args[1:]
		}
		if via.Set(value) != nil {
			return via, nil, cli.Usagef("invalid value %q for flag -via", value).WithHint("--via is auto, direct or agent")
		}
	}
	return via, args, nil
}

// ThroughAgent decides for one way to a machine's host: through the agent if that is wanted, or if its SSH server does not
// answer from here and the agent is there.
func ThroughAgent(ctx context.Context, env *cli.Env, via Via, m *controllerv1.Machine) bool {
	port := m.GetStatus().GetSsh().GetPort()
	if port == 0 {
		port = 22
	}
	return through(ctx, env, via, m, net.JoinHostPort(m.GetStatus().GetSsh().GetAddress(), strconv.FormatUint(uint64(port), 10)))
}

// Suffices reports whether what ssh's arguments after the host's name ask for goes through the agent as well, and sooner: it
// has no login to wait for. A terminal is left to ssh, which people know.
func Suffices(env *cli.Env, via Via, m *controllerv1.Machine, args []string) bool {
	if via != Auto || env.Global.NativeSSH || !m.GetStatus().GetLink().GetConnected() {
		return false
	}
	c, err := parseCommand(args, env.InTerm)
	return err == nil && c.text != "" && !c.terminal
}

// EngineThroughAgent is ThroughAgent for a machine's engine.
func EngineThroughAgent(ctx context.Context, env *cli.Env, via Via, m *controllerv1.Machine) bool {
	return through(ctx, env, via, m, strings.TrimPrefix(m.GetStatus().GetUrl(), "tcp://"))
}

func through(ctx context.Context, env *cli.Env, via Via, m *controllerv1.Machine, address string) bool {
	switch {
	case via == Agent:
		return true
	case via == Direct || !m.GetStatus().GetLink().GetConnected():
		return false
	}
	d := net.Dialer{Timeout: reachLimit}
	conn, err := d.DialContext(ctx, "tcp", address)
	if err == nil {
		_ = conn.Close()
		return false
	}
	env.Debugf("%s does not answer (%v), going through the agent", address, err)
	return true
}
