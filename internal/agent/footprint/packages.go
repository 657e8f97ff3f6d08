package footprint

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"mctl/internal/fault"
)

// manager is how packages go. try finds out, changing nothing, whether only those would go that are named.
type manager struct {
	program   string // tells that this is the host's manager
	installed []string
	try       []string
	remove    []string
}

// managers are asked in this order; a Debian host may have rpm beside dpkg.
func managers() []manager {
	listRPM := []string{"rpm", "-qa", "--qf", "%{NAME}\n"}
	return []manager{
		{
			program:   "/usr/bin/dpkg",
			installed: []string{"dpkg-query", "-W", "-f", "${Package}\n"},
			try:       []string{"dpkg", "--no-act", "--purge"},
			remove:    []string{"apt-get", "-y", "-q", "-o", "DPkg::Lock::Timeout=60", "-o", "Dpkg::Use-Pty=0", "purge"},
		},
		{
			program: "/usr/bin/dnf", installed: listRPM, try: []string{"rpm", "-e", "--test"},
			remove: []string{"dnf", "-y", "--setopt=clean_requirements_on_remove=False", "remove"},
		},
		{
			program: "/usr/bin/yum", installed: listRPM, try: []string{"rpm", "-e", "--test"},
			remove: []string{"yum", "-y", "--setopt=clean_requirements_on_remove=False", "remove"},
		},
		{
			program: "/usr/bin/zypper", installed: listRPM, try: []string{"rpm", "-e", "--test"},
			remove: []string{"zypper", "--non-interactive", "remove", "--no-clean-deps"},
		},
	}
}

// purge removes packages that came by us. Where another package needs one of them by now, all stay.
func (c Config) purge(ctx context.Context, names []string, say progress) error {
	index := slices.IndexFunc(managers(), func(m manager) bool { return exists(c.at(m.program)) })
	if index < 0 {
		say("no package manager is known here, Docker's packages stay")
		return nil
	}
	m := managers()[index]
	// The list of all is asked for, since asking for names fails when one of them is gone.
	all, err := c.Runner.Run(ctx, m.installed...)
	if err != nil {
		return purgeFailed(err)
	}
	installed := strings.Fields(all)
	present := slices.DeleteFunc(slices.Clone(names), func(name string) bool { return !slices.Contains(installed, name) })
	if len(present) == 0 {
		return nil
	}
	if _, err := c.Runner.Run(ctx, append(slices.Clone(m.try), present...)...); err != nil {
		say(fmt.Sprintf("Docker's packages stay, something needs them: %v", err))
		return nil
	}
	say(fmt.Sprintf("removing %d packages", len(present)))
	if _, err := c.Runner.Run(ctx, append(slices.Clone(m.remove), present...)...); err != nil {
		return purgeFailed(err)
	}
	return nil
}

func purgeFailed(err error) error {
	return fault.E("footprint.purge", fault.Precondition, "", fmt.Errorf("can't remove Docker's packages: %w", err)).
		WithHint("remove them by the host's package manager, then repeat")
}
