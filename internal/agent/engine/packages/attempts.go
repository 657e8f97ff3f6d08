package packages

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"mctl/internal/agent/engine/program"
	"mctl/internal/fault"
)

// attempts is how often a step that the network failed is tried, with pauses of 1, 2, 4 … seconds between.
const attempts = 5

// run calls the package manager until it works, as long as only the network fails.
func (c Config) run(ctx context.Context, command program.Command) error {
	for attempt, wait := 1, time.Second; ; attempt, wait = attempt+1, 2*wait {
		err := explain(c.Runner.Run(ctx, command))
		if err == nil || !fault.Is(err, fault.Unavailable) || ctx.Err() != nil {
			return err
		}
		if attempt == attempts {
			// It would be tried for ever; the user sees more from here than we do.
			f := fault.E("packages.run", fault.Precondition, command.Args[0], err)
			return f.WithHint(fault.HintOf(err))
		}
		c.Progress(fmt.Sprintf("%s, trying again in %s", err, wait))
		if err := c.Pause(ctx, wait); err != nil {
			return err
		}
	}
}

// cause is what in a package manager's output tells a reason.
type cause struct {
	needles        []string
	kind           fault.Kind
	sentence, hint string
}

func causes() []cause {
	return []cause{
		{
			[]string{"no space left on device", "you don't have enough free space", "not enough free space", "more space on the", "more space needed on the", "disk full"},
			fault.Precondition, "the host's disk is full", "make room on the host, then run `mctl retry`",
		},
		{
			[]string{"temporary failure resolving", "could not resolve", "temporary failure in name resolution", "network is unreachable",
				"could not connect", "cannot initiate the connection", "connection timed out", "connection refused", "no route to host",
				"failed to download metadata", "cannot download repodata", "curl error", "failed to connect to", "connection failed"},
			fault.Unavailable, "no network on the host: its package repositories can't be reached",
			"check the host's route, name server and proxy, then run `mctl retry`",
		},
		{
			[]string{"could not get lock", "unable to acquire the dpkg", "unable to lock", "is another process using it", "waiting for process with pid"},
			fault.Unavailable, "another program holds the package manager's lock", "wait until it is done",
		},
		{
			[]string{"unable to locate package", "has no installation candidate", "no match for argument", "unable to find a match", "no provider of"},
			fault.Precondition, "the host's repositories have no package of Docker", "choose another source with --engine-install, or give --engine-install-url",
		},
	}
}

// explain turns what a package manager said into one sentence.
func explain(err error) error {
	var exit *program.ExitError
	if err == nil || !errors.As(err, &exit) {
		if errors.Is(err, program.ErrMissing) {
			return fault.E("packages.explain", fault.Precondition, "", err).WithHint("install it on the host")
		}
		return err
	}
	said := strings.ToLower(strings.Join(exit.Tail, "\n"))
	for _, c := range causes() {
		for _, needle := range c.needles {
			if strings.Contains(said, needle) {
				return fault.E("packages.explain", c.kind, exit.Program, fmt.Errorf("%s (%s)", c.sentence, telling(exit.Tail, needle))).
					WithHint(c.hint)
			}
		}
	}
	return fault.E("packages.explain", fault.Precondition, exit.Program,
		fmt.Errorf("%s failed: %s", exit.Program, telling(exit.Tail, "e: ", "error"))).
		WithHint("the agent's journal on the host has the whole output")
}

// telling returns the last line that holds a needle, else the last line, at most 200 bytes of it.
func telling(tail []string, needles ...string) string {
	line := "it said nothing"
	if len(tail) > 0 {
		line = tail[len(tail)-1]
	}
search:
	for i := len(tail) - 1; i >= 0; i-- {
		for _, needle := range needles {
			if strings.Contains(strings.ToLower(tail[i]), needle) {
				line = tail[i]
				break search
			}
		}
	}
	if len(line) > 200 {
		line = strings.ToValidUTF8(line[:200], "") + "…"
	}
	return strings.TrimSpace(line)
}

// shown logs a program's output.
func (c Config) shown(name string) func(string) {
	logger := c.Logger.Named(name)
	return func(line string) { logger.Debug("output", "line", line) }
}
