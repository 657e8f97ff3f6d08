package engine

import (
	"context"

	"mctl/internal/mctl/cli"
	"mctl/internal/mctl/output"
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
		return cli.Failf("Unable to query docker version: %s", "it is not known yet")
	}
	if env.JSON() {
		return output.JSON(env.Out, map[string]string{"name": name, "version": version})
	}
	env.Printf("%s\n", version)
	return nil
}
