// Package generic is the driver for hosts that are there already: nothing is made and nothing is powered, the host is
// looked at over SSH, taken, and given back.
package generic

import (
	"context"
	"fmt"
	"net"
	"strconv"
	"time"

	"mctl/internal/controller/driver"
	"mctl/internal/fault"
)

const (
	defaultUser       = "root"
	defaultSSHPort    = 22
	defaultEnginePort = 2376
	// dialLimit bounds the question whether a host is there; it is asked again and again while an agent is missing.
	dialLimit = 3 * time.Second
)

// Driver adopts hosts. It needs nothing.
type Driver struct{}

var (
	_ driver.Driver  = Driver{}
	_ driver.Adopter = Driver{}
)

// New returns the driver.
func New() Driver { return Driver{} }

// Info describes the driver. It is never chosen unasked, since it needs an address.
func (Driver) Info() driver.Info {
	return driver.Info{Name: "generic", Summary: "adopts a host that is there already, over SSH"}
}

// Preflight has nobody to ask: the host itself is looked at over SSH, by whoever adopts it.
func (Driver) Preflight(context.Context, driver.Machine) error { return nil }

// Create makes nothing: it says where the host is. It may be repeated.
func (Driver) Create(_ context.Context, m driver.Machine) (driver.Instance, error) {
	return instance(m), nil
}

// Inspect asks the SSH port whether the host is there. A silent one is driver.Unknown, not Stopped: it may be a firewall, and
// nobody but the host itself knows.
func (Driver) Inspect(ctx context.Context, m driver.Machine) (driver.Instance, error) {
	found := instance(m)
	if err := answers(ctx, found.SSH); err != nil {
		found.Power = driver.Unknown
	}
	return found, ctx.Err()
}

// Delete leaves the host as it is; what we put there was taken away over SSH or by the agent.
func (Driver) Delete(context.Context, driver.Machine) error { return nil }

// Start succeeds for a host that answers; one that does not can only be powered on by people.
func (Driver) Start(ctx context.Context, m driver.Machine) (driver.Instance, error) {
	found := instance(m)
	if err := answers(ctx, found.SSH); err != nil {
		found.Power = driver.Unknown
		if ctx.Err() != nil {
			return found, ctx.Err()
		}
		return found, powerless("generic.Start", m.Name, "generic driver does not support start",
			"power the host on by hand; its agent comes back by itself")
	}
	return found, nil
}

// Stop always fails: a host that was there before can't be powered on again by us.
func (Driver) Stop(_ context.Context, m driver.Machine, force bool) (driver.Instance, error) {
	if force {
		return driver.Instance{}, powerless("generic.Stop", m.Name, "generic driver does not support kill", "power the host off by hand")
	}
	return driver.Instance{}, powerless("generic.Stop", m.Name, "generic driver does not support stop",
		fmt.Sprintf("`mctl ssh %s` and shut it down there", m.Name))
}

// Target says where and how to log in. The options have been validated.
func (Driver) Target(m driver.Machine) (driver.Target, error) {
	found := instance(m)
	return driver.Target{SSH: found.SSH, Key: m.Options.Content(flagKey), EnginePort: found.Port}, nil
}

func instance(m driver.Machine) driver.Instance {
	address := m.Options.String(flagAddress)
	user := m.Options.String(flagUser)
	if user == "" {
		user = defaultUser
	}
	return driver.Instance{
		ID: address, Power: driver.Running, Addresses: []string{address},
		SSH:  driver.SSH{Address: address, Port: port(m.Options, flagSSHPort, defaultSSHPort), User: user},
		Port: port(m.Options, flagEnginePort, defaultEnginePort),
	}
}

func port(opts driver.Options, name string, fallback uint16) uint16 {
	number, err := strconv.ParseUint(opts.String(name), 10, 16)
	if err != nil || number == 0 {
		return fallback
	}
	return uint16(number)
}

func answers(ctx context.Context, login driver.SSH) error {
	dialer := net.Dialer{Timeout: dialLimit}
	conn, err := dialer.DialContext(ctx, "tcp", net.JoinHostPort(login.Address, strconv.Itoa(int(login.Port))))
	if err != nil {
		return err
	}
	return conn.Close()
}

func powerless(op, name, sentence, hint string) error {
	return fault.New(op, fault.Precondition, name, sentence).WithHint(hint)
}
