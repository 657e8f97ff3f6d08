package engine

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"mctl/internal/fault"
	"mctl/internal/mctl/cli"
	"mctl/internal/mctl/forward"
	"mctl/internal/mctl/tunnel"
	controllerv1 "mctl/proto/mctl/controller/v1"
)

// Endpoint is where the docker CLI finds a machine's engine by a way: its address, or a socket of the caller's own that leads
// there through the agent. The socket's engine is talked to without TLS, since whoever serves it has the certificates.
func Endpoint(ctx context.Context, env *cli.Env, m *controllerv1.Machine, via tunnel.Via) (url string, socket bool, err error) {
	if url, err = URL(m); err != nil {
		return "", false, err
	}
	if !tunnel.EngineThroughAgent(ctx, env, via, m) {
		return url, false, nil
	}
	url, err = forward.Docker(ctx, env, m)
	return url, true, err
}

// socketVariables are what the docker CLI needs for a socket. What it needs for TLS is in the way there: it is made empty
// where the caller has it, which for docker is as good as unset, and which a shell that has all lines in one still understands.
func socketVariables(env *cli.Env, url, machine string) []variable {
	variables := []variable{{"DOCKER_HOST", url}, {"DOCKER_MACHINE_NAME", machine}}
	for _, name := range []string{"DOCKER_CERT_PATH", "DOCKER_TLS_VERIFY"} {
		if env.Getenv(name) != "" {
			variables = slices.Insert(variables, 0, variable{name: name})
		}
	}
	return variables
}

// socketConfig prints the docker CLI's flag for a socket, after it has tried it.
func socketConfig(ctx context.Context, env *cli.Env, machine, url string) error {
	if err := ping(ctx, "unix", strings.TrimPrefix(url, "unix://"), nil); err != nil {
		return fault.E("engine.config", fault.Unavailable, machine, fmt.Errorf("Error running connection boilerplate: the engine of %q does not answer through its agent: %w", machine, err)). //nolint:staticcheck // docker-machine's words
																									WithHint("`mctl status --output json " + machine + "` shows how the host is")
	}
	if env.JSON() {
		return env.Result(map[string]string{"host": url})
	}
	env.Printf("-H=%s\n", url)
	return nil
}
