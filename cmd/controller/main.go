// Command controller keeps machines: it is started by mctl for one user, or as a service for many.
package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/hashicorp/go-hclog"

	"mctl/internal/buildinfo"
	"mctl/internal/controller"
	"mctl/internal/controller/ca"
	"mctl/internal/fault"
)

func main() {
	config, ready, version := parse(os.Args[1:])
	if version {
		fmt.Fprintln(os.Stdout, "mctl controller", buildinfo.Version())
		return
	}
	config.Ready = ready
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	err := controller.Run(ctx, config)
	stop()
	if err != nil {
		config.Logger.Error("stopped", "error", err, "op", fault.OpOf(err), "hint", fault.HintOf(err))
		ready(controller.Readiness{Error: err.Error(), Hint: fault.HintOf(err)})
		os.Exit(1)
	}
}

// list is a flag that may be given several times.
type list []string

func (l *list) String() string     { return strings.Join(*l, ",") }
func (l *list) Set(v string) error { *l = append(*l, v); return nil }

func parse(args []string) (config controller.Config, ready func(controller.Readiness), version bool) {
	config.Lifetimes = ca.DefaultLifetimes()
	flags := flag.NewFlagSet("controller", flag.ExitOnError)
	flags.StringVar(&config.StateDir, "state-dir", "", "state directory (required)")
	flags.StringVar(&config.Socket, "socket", "", "path of the unix socket (required)")
	flags.StringVar(&config.Listen, "listen", os.Getenv("MCTL_LISTEN"), "host:port for agents and remote users [$MCTL_LISTEN] (default: all addresses, a free port chosen once)")
	if told := os.Getenv("MCTL_ADVERTISE"); told != "" {
		config.Advertise = strings.Split(told, ",")
	}
	flags.Var((*list)(&config.Advertise), "advertise", "host:port that agents are told; may be given several times [$MCTL_ADVERTISE, with commas]")
	flags.StringVar(&config.AgentDir, "agent-dir", besideSelf(), "directory of agent-linux-amd64 and agent-linux-arm64")
	flags.StringVar(&config.RepositoryKey, "docker-repository-key", controller.DockerRepositoryKey, "address at which Docker's package repository shows that it can be reached; empty to never ask")
	user, told := os.LookupEnv("MCTL_PLUGIN_USER")
	if !told {
		user = "mctl-plugin"
	}
	flags.StringVar(&config.PluginUser, "plugin-user", user, "user that third-party drivers run as where the controller is root; empty for root itself [$MCTL_PLUGIN_USER]")
	flags.DurationVar(&config.Lifetimes.EngineServer, "engine-certificate-life", config.Lifetimes.EngineServer, "life of engines' server certificates")
	flags.DurationVar(&config.Lifetimes.Agent, "agent-certificate-life", config.Lifetimes.Agent, "life of agents' certificates")
	if buildinfo.Development() { // for tests of what happens after a long time
		if text := os.Getenv("MCTL_DEV_ISSUED_EARLIER"); text != "" {
			earlier, err := time.ParseDuration(text)
			if err != nil {
				fmt.Fprintln(os.Stderr, "MCTL_DEV_ISSUED_EARLIER:", err)
				os.Exit(2)
			}
			config.Lifetimes.Earlier = earlier
		}
	}
	format := flags.String("log-format", "text", "text or json")
	level := flags.String("log-level", "info", "trace, debug, info, warn or error")
	readyFD := flags.Int("ready-fd", -1, "file descriptor that is told in one line of JSON how the start went")
	flags.BoolVar(&version, "version", false, "print the version")
	// The set exits on error by itself.
	_ = flags.Parse(args)
	if !version && (config.StateDir == "" || config.Socket == "") {
		fmt.Fprintln(os.Stderr, "--state-dir and --socket are required; `mctl controller start` gives both")
		os.Exit(2)
	}
	config.SealKey = os.Getenv("MCTL_SEAL_KEY")
	logger, err := newLogger(os.Stderr, *format, *level)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(2)
	}
	config.Logger = logger
	return config, reporter(*readyFD), version
}

func newLogger(output io.Writer, format, level string) (hclog.Logger, error) {
	threshold := hclog.LevelFromString(level)
	if threshold == hclog.NoLevel {
		return nil, fmt.Errorf("--log-level: %q is none of trace, debug, info, warn and error", level)
	}
	if format != "text" && format != "json" {
		return nil, fmt.Errorf("--log-format: %q is neither text nor json", format)
	}
	return hclog.New(&hclog.LoggerOptions{
		Name: "controller", Level: threshold, Output: output, JSONFormat: format == "json", TimeFormat: time.RFC3339Nano,
	}), nil
}

// reporter writes the first readiness to a file descriptor and closes it, since whoever started us waits for its end.
func reporter(fd int) func(controller.Readiness) {
	told := fd < 0
	return func(r controller.Readiness) {
		if told {
			return
		}
		told = true
		file := os.NewFile(uintptr(fd), "ready")
		_ = json.NewEncoder(file).Encode(r)
		file.Close()
	}
}

func besideSelf() string {
	path, err := os.Executable()
	if err != nil {
		return "."
	}
	return filepath.Dir(path)
}
