package controller

import (
	"context"
	"time"

	"mctl/internal/controller/event"
	"mctl/internal/controller/machine"
	"mctl/internal/controller/tunnel"
)

// findFor tells tunnels what they have to know of a machine.
func findFor(get func(ctx context.Context, name string) (*machine.Machine, error)) func(ctx context.Context, name string) (tunnel.Machine, error) {
	return func(ctx context.Context, name string) (tunnel.Machine, error) {
		m, err := get(ctx, name)
		if err != nil {
			return tunnel.Machine{}, err
		}
		return tunnel.Machine{UID: m.UID, Name: m.Name, User: m.Status.SSH.User, EnginePort: m.EnginePort()}, nil
	}
}

// authorityOf is the engine authority of a machine that was asked for.
func authorityOf(m *machine.Machine, err error) (string, error) {
	if err != nil {
		return "", err
	}
	return m.Status.Authority, nil
}

// tunnelEvent tells that somebody works on a host through its agent.
func tunnelEvent(m tunnel.Machine, caller, what string, at time.Time) event.Event {
	return event.Event{
		Time: at, Machine: m.Name, UID: m.UID, Type: event.TunnelOpened, Message: caller + " opened a tunnel: " + what,
		Attributes: map[string]string{"caller": caller, "what": what},
	}
}
