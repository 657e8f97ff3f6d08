// mctl-agent is what mctl puts on a host: the agent, the TLS front, and how both come and go.
package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/signal"
	"runtime/debug"
	"slices"
	"syscall"
	"time"

	"github.com/hashicorp/go-hclog"

	"mctl/internal/agent"
	"mctl/internal/agent/engine"
	"mctl/internal/agent/engine/packages"
	"mctl/internal/agent/engine/program"
	"mctl/internal/agent/footprint"
	"mctl/internal/agent/front"
	"mctl/internal/agent/link"
	"mctl/internal/agent/tunnel"
	"mctl/internal/buildinfo"
)

const help = `mctl-agent makes this host what its controller wishes.

Usage:
  mctl-agent run                        serve the controller (mctl-agent.service)
  mctl-agent front                      serve Docker over TLS (mctl-front.service)
  mctl-agent install                    put the agent on this host; reads a JSON document from standard input
  mctl-agent uninstall [--purge-engine] take away all that mctl put on this host
  mctl-agent offer                      say whether docker can be left to docker-machine; reads a JSON document
  mctl-agent handover                   uninstall, and leave docker to docker-machine; reads a JSON document
  mctl-agent copy …                     read or write files for a tunnel, as their user
  mctl-agent version                    print the version
`

// memoryLimit is where the collector begins to work harder: what an agent needs is a few MB.
const memoryLimit = 32 << 20

func main() {
	// Whoever reads what we say may be gone, an SSH session or the journal, and that must end nothing. Caught, not ignored,
	// which programs that we start would inherit.
	signal.Notify(make(chan os.Signal, 1), syscall.SIGPIPE)
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	code := run(ctx, os.Args[1:], os.Stdin, os.Stdout, os.Stderr)
	stop()
	os.Exit(code)
}

// run returns the exit code: 2 for a use that is unknown, 1 for a failure.
func run(ctx context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	command := ""
	if len(args) > 0 {
		command, args = args[0], args[1:]
	}
	if command == "copy" {
		return tunnel.Copy(args, stdin, stdout, stderr)
	}
	purge := command == "uninstall" && slices.Equal(args, []string{"--purge-engine"})
	if len(args) > 0 && !purge {
		command = ""
	}
	// Time and unit are the journal's to write.
	logger := hclog.New(&hclog.LoggerOptions{Name: "mctl-agent", Level: hclog.Info, Output: stderr, DisableTime: true})
	var err error
	switch command {
	case "run":
		err = serve(ctx, logger)
	case "front":
		err = front.Run(ctx, front.Config{Logger: logger.Named("front")})
	case "install":
		config := removal(logger)
		config.Reach = link.Reach
		return silent(footprint.Install(ctx, stdin, stdout, config))
	case "uninstall":
		return silent(footprint.Uninstall(ctx, stdout, removal(logger), purge))
	case "offer":
		return silent(footprint.Offer(ctx, stdin, stdout, removal(logger)))
	case "handover":
		return silent(footprint.HandOver(ctx, stdin, stdout, removal(logger)))
	case "version":
		fmt.Fprintln(stdout, buildinfo.Version())
	case "help", "--help", "-h":
		fmt.Fprint(stdout, help)
	default:
		fmt.Fprint(stderr, help)
		return 2
	}
	if err != nil {
		logger.Error("ended", "error", err)
		return 1
	}
	return 0
}

func serve(ctx context.Context, logger hclog.Logger) error {
	if os.Getenv("GOMEMLIMIT") == "" {
		debug.SetMemoryLimit(memoryLimit)
	}
	return agent.Run(ctx, agent.Config{
		Dir: agent.StateDir, Logger: logger, Footprint: footprint.OpenJournal(""),
		OpenFront: func(ctx context.Context) error { return footprint.OpenFront(ctx, removal(logger)) },
		ServeSwarm: func(ctx context.Context, port uint16) error {
			return footprint.ServeSwarm(ctx, removal(logger), port)
		},
		Release: func(ctx context.Context, purgeEngine bool) error {
			return footprint.Release(ctx, removal(logger), purgeEngine)
		},
	})
}

// removal lets the engine's configuration go back by key before files go back whole, and packages by the host's manager.
func removal(logger hclog.Logger) footprint.Config {
	return footprint.Config{
		Withdraw: func(ctx context.Context) error {
			return engine.New(engine.Config{Logger: logger, Footprint: footprint.OpenJournal("")}).Return(ctx)
		},
		Offer: agent.Parting{Logger: logger}.Offer, HandOver: agent.Parting{Logger: logger}.HandOver,
		Purge: func(ctx context.Context, names []string, say func(string)) (string, error) {
			family, err := packages.Detect(packages.Config{Logger: logger, Runner: program.Local{}, Progress: say, LockWait: time.Minute})
			if err != nil {
				return err.Error(), nil //nolint:nilerr // nobody knows how to remove them here
			}
			return family.Remove(ctx, names)
		},
	}
}

// silent is for commands whose errors stand in their output already.
func silent(err error) int {
	if err != nil {
		return 1
	}
	return 0
}
