package machine

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"time"

	"github.com/spf13/cobra"
	"google.golang.org/protobuf/types/known/timestamppb"

	"mctl/internal/mctl/cli"
	"mctl/internal/mctl/output"
	controllerv1 "mctl/proto/mctl/controller/v1"
)

type eventOptions struct {
	follow  bool
	machine string
	types   []string
	since   string
}

func newEvents(env *cli.Env) *cobra.Command {
	var opts eventOptions
	command := &cobra.Command{
		Use: "events", Short: "Show what happened to machines, hosts and containers", Args: cli.NoArgs,
		Example: "mctl events --machine web --since 10m\nmctl events --follow --type AGENT_LOST",
		RunE:    func(command *cobra.Command, _ []string) error { return events(command.Context(), env, opts) },
	}
	flags := command.Flags()
	flags.BoolVarP(&opts.follow, "follow", "f", false, "Go on with new events as they come")
	flags.StringVar(&opts.machine, "machine", "", "Only this machine's")
	flags.StringArrayVar(&opts.types, "type", nil, "Only events of this type, such as AGENT_LOST; may be repeated")
	flags.StringVar(&opts.since, "since", "", "Only from this time on: 2006-01-02T15:04:05Z, or 10m for ten minutes ago")
	return command
}

func events(ctx context.Context, env *cli.Env, opts eventOptions) error {
	request := &controllerv1.WatchEventsRequest{Machine: opts.machine, Types: opts.types, Follow: opts.follow}
	if opts.since != "" {
		since, err := parseSince(opts.since, env.Now())
		if err != nil {
			return err
		}
		request.Since = timestamppb.New(since)
	}
	client, err := env.Client(ctx)
	if err != nil {
		return err
	}
	all := []json.Marshaler{}
	stream, err := client.Events.WatchEvents(ctx, request)
	for err == nil {
		var response *controllerv1.WatchEventsResponse
		response, err = stream.Recv()
		switch {
		case err != nil:
		case env.JSON() && !opts.follow:
			all = append(all, output.Message(response.GetEvent()))
		default:
			err = writeEvent(env, response.GetEvent())
		}
	}
	if errors.Is(err, io.EOF) || ctx.Err() != nil {
		err = nil // there is no more, or nobody watches any more
	}
	if env.JSON() && !opts.follow {
		return errors.Join(err, env.Result(all))
	}
	return err
}

func writeEvent(env *cli.Env, e *controllerv1.Event) error {
	if env.JSON() {
		return env.Stream(output.Message(e))
	}
	env.Printf("%s  %-18s  %-16s  %s\n", e.GetTime().AsTime().Format("2006-01-02T15:04:05.000Z"), e.GetType(), e.GetMachine(), output.Line(e.GetMessage()))
	return nil
}

func parseSince(text string, now time.Time) (time.Time, error) {
	if ago, err := time.ParseDuration(text); err == nil {
		return now.Add(-ago), nil
	}
	at, err := time.Parse(time.RFC3339Nano, text)
	if err != nil {
		return time.Time{}, cli.Usagef("invalid value %q for flag -since: it is a time such as 2006-01-02T15:04:05Z, or 10m", text).WithHint("see `mctl events --help`")
	}
	return at, nil
}
