// Package logs shows what hosts' journals hold of the services that make them what they are.
package logs

import (
	"bytes"
	"context"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"google.golang.org/protobuf/types/known/timestamppb"

	"mctl/internal/mctl/cli"
	"mctl/internal/mctl/output"
	"mctl/internal/mctl/tunnel"
	tunnelv1 "mctl/proto/mctl/tunnel/v1"
)

// defaultLines is how many lines are shown where nothing says how many.
const defaultLines = 100

type options struct {
	units  []string
	follow bool
	since  string
	lines  uint32
}

// Commands returns the commands about hosts' logs.
func Commands(env *cli.Env) []*cobra.Command {
	var opts options
	command := &cobra.Command{
		Use: "logs NAME", Short: "Show the logs of a machine's agent, front and Docker",
		Example: "mctl logs web\nmctl logs --unit docker --since 1h web\nmctl logs --follow web",
		Args:    cobra.ArbitraryArgs, ValidArgsFunction: cli.CompleteMachine(env),
		RunE: func(command *cobra.Command, args []string) error {
			if len(args) > 1 {
				return cli.ErrOneMachine()
			}
			limited := opts.since == "" || command.Flags().Changed("tail")
			return logs(command.Context(), env, args, opts, limited)
		},
	}
	flags := command.Flags()
	flags.StringArrayVar(&opts.units, "unit", nil, "Service to show: agent, front or docker; may be repeated, all of them by default")
	flags.BoolVarP(&opts.follow, "follow", "f", false, "Go on with what is said from now on")
	flags.StringVar(&opts.since, "since", "", "Show what was said since a time (RFC 3339), or for so long, such as 10m")
	flags.Uint32VarP(&opts.lines, "tail", "n", defaultLines, "Show so many lines, the newest; with --since all")
	return []*cobra.Command{command}
}

func logs(ctx context.Context, env *cli.Env, args []string, opts options, limited bool) error {
	wanted, err := request(env.Now(), opts, limited)
	if err != nil {
		return err
	}
	m, err := env.Machine(ctx, args)
	if err != nil {
		return err
	}
	client, err := env.Client(ctx)
	if err != nil {
		return err
	}
	t, err := tunnel.Open(ctx, client, m.GetName(), &tunnelv1.Work{What: &tunnelv1.Work_Logs{Logs: wanted}})
	if err != nil {
		return err
	}
	defer t.Close()
	out := &lines{write: func(line string) error {
		if env.JSON() {
			return env.Stream(map[string]string{"machine": m.GetName(), "line": line})
		}
		_, err := io.WriteString(env.Out, line+"\n")
		return err
	}}
	return t.Output(ctx, out, &lines{write: func(line string) error { _, err := io.WriteString(env.Err, line+"\n"); return err }})
}

// request says what is wanted as the host has to know it.
func request(now time.Time, opts options, limited bool) (*tunnelv1.Logs, error) {
	wanted := &tunnelv1.Logs{Follow: opts.follow}
	units := map[string]tunnelv1.Unit{"agent": tunnelv1.Unit_UNIT_AGENT, "front": tunnelv1.Unit_UNIT_FRONT, "docker": tunnelv1.Unit_UNIT_DOCKER}
	for _, name := range cli.Unique(opts.units) {
		unit, known := units[name]
		if !known {
			return nil, cli.Usagef("there is no unit %q", name).WithHint("--unit is agent, front or docker")
		}
		wanted.Units = append(wanted.Units, unit)
	}
	if opts.since != "" {
		since, err := time.Parse(time.RFC3339, opts.since)
		if ago, durationErr := time.ParseDuration(opts.since); durationErr == nil {
			since, err = now.Add(-ago.Abs()), nil
		}
		if err != nil {
			return nil, cli.Usagef("invalid value %q for flag -since", opts.since).WithHint("give a time such as 2026-01-31T12:00:00Z, or how long, such as 10m")
		}
		wanted.Since = timestamppb.New(since)
	}
	if limited {
		wanted.Lines = &opts.lines
	}
	return wanted, nil
}

// lines writes what a host says line by line, fit for a terminal.
type lines struct {
	rest  []byte
	write func(line string) error
}

// maxLine is where a line is cut that does not end.
const maxLine = 64 << 10

// Write implements io.Writer.
func (l *lines) Write(p []byte) (int, error) {
	l.rest = append(l.rest, p...)
	for {
		at := bytes.IndexByte(l.rest, '\n')
		if at < 0 && len(l.rest) < maxLine {
			return len(p), nil
		}
		if at < 0 {
			at = len(l.rest) - 1
		}
		line := strings.TrimSuffix(string(l.rest[:at+1]), "\n")
		l.rest = l.rest[at+1:]
		if err := l.write(output.Plain(line)); err != nil {
			return 0, err
		}
	}
}
