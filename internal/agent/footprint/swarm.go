package footprint

import (
	"bytes"
	"context"
	"fmt"
	"os"

	"mctl/internal/fault"
)

// ServeSwarm has systemd hold one more port for the front, from now on and from each boot; none with port zero. Open connections
// go on, and the engine's own port takes new ones meanwhile. It may be repeated. Precondition when another program has the port.
func ServeSwarm(ctx context.Context, config Config, port uint16) error {
	c, err := config.orDefaults()
	if err != nil {
		return err
	}
	if port == 0 {
		return c.endSwarm(ctx)
	}
	text, err := unitText(swarmSocket, port)
	if err != nil {
		return fault.E("footprint.ServeSwarm", fault.Internal, swarmSocket, err)
	}
	present, err := os.ReadFile(c.at(unitDir + swarmSocket))
	same := err == nil && bytes.Equal(present, text)
	if same && exists(c.at(swarmWanted)) {
		return nil
	}
	if !same {
		if err := c.write(unitDir+swarmSocket, text, 0o644); err != nil {
			return err
		}
	}
	if err := c.systemctl(ctx, "daemon-reload"); err != nil {
		return err
	}
	// systemd opens no socket of a service that runs, and the next client of the other port has it run again.
	if err := c.systemctl(ctx, "stop", swarmSocket, frontUnit); err != nil {
		return err
	}
	if err := c.systemctl(ctx, "start", swarmSocket); err != nil {
		if why := c.why(ctx, swarmSocket, err); why != err { //nolint:errorlint // whether it found anything
			return fault.E("footprint.ServeSwarm", fault.Precondition, swarmSocket, fmt.Errorf("port %d can't be opened: %w", port, why)).
				WithHint(fmt.Sprintf("see what holds it: ss -ltnp sport = :%d", port))
		}
		return fault.E("footprint.ServeSwarm", fault.Unavailable, swarmSocket, fmt.Errorf("port %d is not open yet: %w", port, err))
	}
	return c.systemctl(ctx, "enable", swarmSocket)
}

// endSwarm takes the socket away. The front that runs has it too, so another one takes over.
func (c Config) endSwarm(ctx context.Context) error {
	if !exists(c.at(unitDir + swarmSocket)) {
		return nil
	}
	if err := c.stopUnits(ctx, []string{swarmSocket}); err != nil {
		return err
	}
	if err := c.removeUnits(ctx, []string{swarmSocket}); err != nil {
		return err
	}
	return c.systemctl(ctx, "try-restart", frontUnit)
}
