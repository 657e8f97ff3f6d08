package transfer

import (
	"context"
	"errors"
	"fmt"

	"mctl/internal/fault"
	"mctl/internal/mctl/cli"
	"mctl/internal/mctl/tunnel"
)

// throughAgent copies through machines' agents if that is the way; it reports whether it was.
func throughAgent(ctx context.Context, env *cli.Env, from, to string, opts options) (bool, error) {
	if opts.delta && opts.via == tunnel.Agent {
		return true, cli.Usagef("--delta can't copy through the agent").WithHint("leave --delta out, or take --via direct")
	}
	if opts.via == tunnel.Direct || opts.delta {
		return false, nil
	}
	through := false
	var places [2]tunnel.Place
	var strangers []error
	for i, text := range []string{from, to} {
		l := parse(text)
		places[i].Path = l.path
		if l.machine == "" || l.machine == "localhost" {
			continue
		}
		m, err := env.Get(ctx, l.machine)
		if err != nil {
			return true, cli.Wrap(err, "Error loading host: Error loading host: %w")
		}
		places[i].Machine = l.machine
		through = through || tunnel.ThroughAgent(ctx, env, opts.via, m)
		if user := m.GetStatus().GetSsh().GetUser(); l.hasUser && l.user != user {
			strangers = append(strangers, fault.E("transfer.throughAgent", fault.Denied, l.machine, fmt.Errorf("the agent of %s copies as %s alone", l.machine, user)).
				WithHint("leave "+l.user+"@ out, or take --via direct"))
		}
	}
	if !through {
		return false, nil
	}
	if len(strangers) > 0 {
		return true, errors.Join(strangers...)
	}
	err := tunnel.Copy(ctx, env, places[0], places[1], opts.recursive)
	return true, errors.Join(err, env.Result(map[string]string{"from": from, "to": to}))
}
