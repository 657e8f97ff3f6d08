package engine

import (
	"context"

	"mctl/internal/mctl/cli"
)

// PrintVersion prints the version of a machine's engine, as its agent reported it.
func PrintVersion(ctx context.Context, env *cli.Env, name string) error {
	m, err := env.Get(ctx, name)
	if err != nil {
		return err
	}
	if _, err := URL(m); err != nil {
		return cli.Wrap(err, "Unable to query docker version: %w")
	}
	version := m.GetStatus().GetEngine().GetVersion()
	if version == "" {
		return cli.Failf("Unable to query docker version: the agent has not told it yet").WithHint("`mctl wait " + name + "` waits for it")
	}
	if env.JSON() {
		return env.Result(map[string]string{"name": name, "version": version})
	}
	env.Printf("%s\n", version)
	return nil
}
