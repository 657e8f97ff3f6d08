// Package power is what is done to machines that exist: start, stop, restart, kill, provision, regenerate-certs, upgrade.
package power

import (
	"context"
	"errors"
	"sync"

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
	// before are the lines when it begins.
	before func(m *controllerv1.Machine) []string
	// ask makes the wish and returns the machine as it is then.
	ask func(ctx context.Context, client *dial.Client, id, name string) (*controllerv1.Machine, error)
	// words are the lines for phases on the way.
	words map[string][]string
	// after is the line at the end; empty for none.
	after func(m *controllerv1.Machine) string
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
	var mu sync.Mutex
	var failed []error
	var reached []*controllerv1.Machine
	var group errgroup.Group
	group.SetLimit(atOnce)
	for _, m := range machines {
		group.Go(func() error {
			done, err := one(ctx, env, m, a)
			mu.Lock()
			defer mu.Unlock()
			if err != nil {
				failed = append(failed, err)
				return nil
			}
			reached = append(reached, done)
			return nil
		})
	}
	_ = group.Wait()
	if ctx.Err() != nil {
		env.Infof("What was asked for is done all the same. Run: %s wait", env.App())
		return cli.Silent{Code: cli.ExitInterrupted}
	}
	if env.JSON() {
		if err := output.Messages(env.Out, reached); err != nil {
			return err
		}
	}
	if err := errors.Join(failed...); err != nil {
		return err
	}
	if a.hint != "" {
		env.Infof("%s", a.hint)
	}
	return nil
}

func one(ctx context.Context, env *cli.Env, m *controllerv1.Machine, a act) (*controllerv1.Machine, error) {
	for _, line := range a.before(m) {
		env.Infof("%s", line)
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
	asked := env.Now()
	wished, err := a.ask(ctx, client, cli.RequestID(), m.GetName())
	if err != nil {
		return nil, err
	}
	reached, err := follow.Machine(ctx, client, follow.Goal{
		Name: m.GetName(), UID: wished.GetUid(), Generation: wished.GetGeneration(), Since: asked, Words: a.words, Progress: lines{env},
	})
	if err != nil {
		return nil, err
	}
	// The address may be another one now, and the certificates are looked at on the way.
	if reached.GetStatus().GetAuthority() != "" {
		if _, err := env.WriteFiles(ctx, reached, false); err != nil {
			return nil, err
		}
	}
	if line := a.after(reached); line != "" {
		env.Infof("%s", line)
	}
	return reached, nil
}

// lines shows the progress of several machines at once, each line as it comes.
type lines struct{ env *cli.Env }

// Step implements output.Progress.
func (l lines) Step(line string) { l.env.Infof("%s", line) }

// Note implements output.Progress.
func (l lines) Note(line string) { l.env.Infof("%s", line) }

// Done implements output.Progress.
func (lines) Done(bool) {}
