package packages

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"mctl/internal/agent/engine/program"
)

// removal is how packages go. List is of all, since asking for names fails when one of them is gone. Try finds out, changing
// nothing, whether only those would go that are named.
type removal struct {
	list, try []string
	remove    func(names []string) program.Command
}

func (c Config) remove(ctx context.Context, r removal, names []string) (kept string, err error) {
	all, err := program.Output(ctx, c.Runner, r.list...)
	if err != nil {
		return "", explain(err)
	}
	installed := strings.Fields(all)
	present := slices.DeleteFunc(slices.Clone(names), func(name string) bool { return !slices.Contains(installed, name) })
	if len(present) == 0 {
		return "", nil
	}
	_, err = program.Output(ctx, c.Runner, append(slices.Clone(r.try), present...)...)
	var refused *program.ExitError
	switch {
	case errors.As(err, &refused):
		return fmt.Sprintf("something needs them: %v", err), nil
	case err != nil: // nothing was found out
		return "", explain(err)
	}
	c.Progress(fmt.Sprintf("removing %d packages", len(present)))
	return "", c.run(ctx, r.remove(present))
}

func (d *debian) Remove(ctx context.Context, names []string) (string, error) {
	if err := d.ready(ctx); err != nil {
		return "", err
	}
	return d.config.remove(ctx, removal{
		list: []string{"dpkg-query", "-W", "-f", "${Package}\n"}, try: []string{"dpkg", "--no-act", "--purge"},
		remove: func(names []string) program.Command { return d.apt(append([]string{"purge"}, names...)...) },
	}, names)
}

// allRPMs lists what is installed.
func allRPMs() []string { return []string{"rpm", "-qa", "--qf", `%{NAME}\n`} }

func (r *redhat) Remove(ctx context.Context, names []string) (string, error) {
	if err := r.ready(ctx); err != nil {
		return "", err
	}
	return r.config.remove(ctx, removal{
		list: allRPMs(), try: []string{"rpm", "-e", "--test"},
		// What came with them may be somebody else's by now.
		remove: func(names []string) program.Command {
			return r.dnf(append([]string{"--setopt=clean_requirements_on_remove=False", "remove"}, names...)...)
		},
	}, names)
}

func (s *suse) Remove(ctx context.Context, names []string) (string, error) {
	return s.config.remove(ctx, removal{
		list: allRPMs(), try: []string{"rpm", "-e", "--test"},
		remove: func(names []string) program.Command {
			return s.zypper(append([]string{"remove", "--no-clean-deps"}, names...)...)
		},
	}, names)
}
