// Package power is what is done to machines that exist: start, stop, restart, kill, provision, regenerate-certs, upgrade.
package power

import (
	"context"
	"errors"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"
	"golang.org/x/sync/errgroup"

	"mctl/internal/mctl/cli"
	"mctl/internal/mctl/dial"
	"mctl/internal/mctl/follow"
	"mctl/internal/mctl/output"
	"mctl/internal/mctl/signer"
	controllerv1 "mctl/proto/mctl/controller/v1"
)

// atOnce bounds how many machines one command works on at the same time.
const atOnce = 16

// Commands returns the commands about machines' power and hosts.
func Commands(env *cli.Env) []*cobra.Command {
	return []*cobra.Command{
		newStart(env), newStop(env), newKill(env), newRestart(env), newProvision(env), newRegenerate(env), newUpgrade(env),
	}
}

// act is one verb: what is said, what is asked of the controller, what is said when it is done.
type act struct {
	// check refuses a machine that the verb makes no sense for; may be nil.
	check func(m *controllerv1.Machine) error
	// before are the lines when it begins; may be nil.
	before func(m *controllerv1.Machine) []string
	// ask makes the wish and returns the machine as it is then.
	ask func(ctx context.Context, client *dial.Client, id, name string) (*controllerv1.Machine, error)
	// words are the lines for phases on the way, as follow.Goal has them, by how the machine was; may be nil.
	words func(m *controllerv1.Machine) map[string][]string
	// renew has the caller's own certificates issued anew, too.
	renew bool
	// after is the line at the end, empty for none, of how the machine was and is; may be nil.
	after func(was, is *controllerv1.Machine) string
	// hint is the last line when every machine is done; empty for none.
	hint string
}

// batch does an act to every machine that is named, at once. Unknown names stop it before it begins; after that each
// failure is reported and the others go on.
func batch(ctx context.Context, env *cli.Env, args []string, a act) error {
	machines, err := env.Machines(ctx, args)
	if err != nil {
		return err
	}
	reached, failed := make([]*controllerv1.Machine, len(machines)), make([]error, len(machines))
	var group errgroup.Group
	group.SetLimit(atOnce)
	place := env.Progress()
	for i, m := range machines {
		progress := place()
		group.Go(func() error {
			reached[i], failed[i] = one(ctx, env, m, a, progress)
			progress.Done(failed[i])
			if len(machines) > 1 {
				failed[i] = named(m.GetName(), failed[i])
			}
			if failed[i] == nil && a.after != nil {
				if line := a.after(m, reached[i]); line != "" {
					progress.Note(line)
				}
			}
			return nil
		})
	}
	_ = group.Wait()
	if ctx.Err() != nil {
		return cli.Interrupted("what was asked for is done all the same; `mctl wait " + strings.Join(namesOf(machines), " ") + "` waits for it")
	}
	there := slices.DeleteFunc(reached, func(m *controllerv1.Machine) bool { return m == nil })
	err = errors.Join(append(failed, env.Result(output.Messages(there)))...)
	if err == nil && a.hint != "" {
		env.Infof("%s", a.hint)
	}
	return err
}

// named puts a machine's name in front of an error that does not have it, so that it can be told from the others'.
func named(name string, err error) error {
	if err == nil || strings.Contains(err.Error(), strconv.Quote(name)) {
		return err
	}
	return cli.Wrap(err, name+": %w")
}

func namesOf(machines []*controllerv1.Machine) []string {
	names := make([]string, 0, len(machines))
	for _, m := range machines {
		names = append(names, m.GetName())
	}
	return names
}

// one does an act to one machine; the machine is returned when it has reached what it was asked for.
func one(ctx context.Context, env *cli.Env, m *controllerv1.Machine, a act, progress output.Progress) (*controllerv1.Machine, error) {
	if a.before != nil {
		for _, line := range a.before(m) {
			progress.Step(line)
		}
	}
	if a.check != nil {
		if err := a.check(m); err != nil {
			return nil, err
		}
	}
	client, err := env.Client(ctx)
	if err != nil {
		return nil, err
	}
	dir, err := env.State()
	if err != nil {
		return nil, err
	}
	if m.GetSpec().GetDriver() == "generic" && !dir.Machine(m.GetName()).HasKey() {
		// Only if somebody must log in anew is it needed; then it is the only way.
		if loan, err := signer.Lend(ctx, client, env.Getenv("SSH_AUTH_SOCK"), m.GetName()); err == nil {
			defer loan.Return()
		}
	}
	var words map[string][]string
	if a.words != nil {
		words = a.words(m)
	}
	asked := env.Now()
	wished, err := a.ask(ctx, client, cli.RequestID(), m.GetName())
	if err != nil {
		return nil, err
	}
	reached, err := follow.Machine(ctx, client, follow.Goal{
		Name: m.GetName(), UID: wished.GetUid(), Generation: wished.GetGeneration(), Since: asked, Words: words, Progress: progress,
	})
	if err != nil {
		return reached, err
	}
	// The address may be another one now, and the certificates are looked at on the way.
	if reached.GetStatus().GetAuthority() != "" {
		if _, err := env.WriteFiles(ctx, reached, a.renew); err != nil {
			return nil, err
		}
	}
	return reached, nil
}
