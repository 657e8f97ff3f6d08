package footprint

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"strings"

	"mctl/internal/fault"
)

// startUnits writes the units and brings them to run what is on disk now. all takes every unit for a changed one.
func (c Config) startUnits(ctx context.Context, o orders, newProgram, all bool, say progress) error {
	changed := map[string]bool{}
	for _, name := range []string{agentUnit, frontUnit, frontSocket} {
		text, err := unitText(name, o.EnginePort)
		if err != nil {
			return fault.E("footprint.startUnits", fault.Internal, name, err)
		}
		present, err := os.ReadFile(c.at(unitDir + name))
		same := err == nil && bytes.Equal(present, text)
		if changed[name] = all || !same; same {
			continue
		}
		if err := c.write(unitDir+name, text, 0o644); err != nil {
			return err
		}
	}
	// Each call costs the host tens of milliseconds, so there are as few as can be.
	enabled, open := []string{agentUnit, frontSocket}, !o.Adopted || exists(c.at(frontWanted))
	if !open {
		enabled = enabled[:1]
	}
	if changed[agentUnit] || changed[frontUnit] || changed[frontSocket] {
		if err := c.systemctl(ctx, append([]string{"--no-reload", "enable"}, enabled...)...); err != nil {
			return err
		}
		if err := c.systemctl(ctx, "daemon-reload"); err != nil {
			return err
		}
	}
	if open {
		if err := c.startFront(ctx, o.EnginePort, changed[frontSocket], newProgram || changed[frontUnit]); err != nil {
			return err
		}
	}
	say("starting the agent")
	return c.systemctl(ctx, "restart", agentUnit)
}

// startFront makes the port open and served by the program on disk. Open connections go on in the front that has them.
func (c Config) startFront(ctx context.Context, port uint16, newSocket, newFront bool) error {
	switch {
	case newSocket:
		// systemd refuses to open a socket whose service runs, and does nothing for one that is open already.
		if err := c.systemctl(ctx, "stop", frontSocket, frontUnit); err != nil {
			return err
		}
	case newFront:
		if err := c.systemctl(ctx, "try-restart", frontUnit); err != nil {
			return err
		}
	}
	return c.openSocket(ctx, port)
}

// openSocket has systemd hold the port.
func (c Config) openSocket(ctx context.Context, port uint16) error {
	if err := c.systemctl(ctx, "start", frontSocket); err != nil {
		return fault.E("footprint.openSocket", fault.Precondition, frontSocket, fmt.Errorf("port %d can't be opened: %w", port, c.why(ctx, frontSocket, err))).
			WithHint(fmt.Sprintf("see what holds it: ss -ltnp sport = :%d", port))
	}
	return nil
}

// OpenFront has systemd hold the engine's port for the front, from now on and from each boot. It may be repeated.
// Precondition when another program has the port.
func OpenFront(ctx context.Context, config Config) error {
	c, err := config.orDefaults()
	if err != nil || exists(c.at(frontWanted)) {
		return err
	}
	text, err := os.ReadFile(c.at(configFile))
	if err != nil {
		return fault.E("footprint.OpenFront", fault.Precondition, configFile, err)
	}
	o, err := readOrders(bytes.NewReader(text))
	if err != nil {
		return err
	}
	if err := c.openSocket(ctx, o.EnginePort); err != nil {
		return err
	}
	return c.systemctl(ctx, "enable", frontSocket)
}

// why finds systemd's own words for a socket that did not open.
func (c Config) why(ctx context.Context, socket string, err error) error {
	said, failed := c.Runner.Run(ctx, "journalctl", "-u", socket, "-n", "20", "--no-pager", "-o", "cat")
	if failed == nil && strings.Contains(said, "Address already in use") {
		return fmt.Errorf("another program holds it")
	}
	return err
}

func (c Config) systemctl(ctx context.Context, args ...string) error {
	if _, err := c.Runner.Run(ctx, append([]string{"systemctl"}, args...)...); err != nil {
		return fault.E("footprint.systemctl", fault.Precondition, args[len(args)-1], err).WithHint("see `journalctl -e` on the host")
	}
	return nil
}
