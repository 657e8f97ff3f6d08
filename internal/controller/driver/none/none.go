// Package none is the driver for engines of which nothing but the address is known: nothing is made, powered or logged in to.
package none

import (
	"context"
	"fmt"
	"net/url"
	"strconv"

	"mctl/internal/controller/driver"
	"mctl/internal/fault"
)

const flagURL = "url"

// Driver knows where an engine is. It needs nothing.
type Driver struct{}

var (
	_ driver.Driver    = Driver{}
	_ driver.Powerless = Driver{}
)

// New returns the driver.
func New() Driver { return Driver{} }

// Info describes the driver. It is never chosen unasked, since it needs an address.
func (Driver) Info() driver.Info {
	return driver.Info{Name: "none", Summary: "knows the address of an engine and nothing else"}
}

// Flags are docker-machine's.
func (Driver) Flags() []driver.Flag {
	return []driver.Flag{{
		Name: flagURL, Type: driver.String, Kind: driver.Value, Required: true, Usage: "where the engine is: tcp://ADDRESS:PORT",
	}}
}

// Validate checks the address.
func (Driver) Validate(opts driver.Options) error {
	_, err := instance(opts.String(flagURL))
	return err
}

// Preflight has nobody to ask.
func (Driver) Preflight(context.Context, driver.Machine) error { return nil }

// Create makes nothing: it says where the engine is.
func (Driver) Create(_ context.Context, m driver.Machine) (driver.Instance, error) {
	return instance(m.Options.String(flagURL))
}

// Inspect says what Create says.
func (Driver) Inspect(_ context.Context, m driver.Machine) (driver.Instance, error) {
	return instance(m.Options.String(flagURL))
}

// Delete leaves all as it is.
func (Driver) Delete(context.Context, driver.Machine) error { return nil }

// Start always fails.
func (d Driver) Start(_ context.Context, m driver.Machine) (driver.Instance, error) {
	return driver.Instance{}, d.Powerless("start", m.Name)
}

// Stop always fails.
func (d Driver) Stop(_ context.Context, m driver.Machine, force bool) (driver.Instance, error) {
	if force {
		return driver.Instance{}, d.Powerless("kill", m.Name)
	}
	return driver.Instance{}, d.Powerless("stop", m.Name)
}

// Powerless implements driver.Powerless.
func (Driver) Powerless(verb, machine string) error {
	return fault.New("none.Powerless", fault.Precondition, machine, "none driver does not support "+verb).
		WithHint("do it by hand, where the host is")
}

func instance(text string) (driver.Instance, error) {
	at, err := url.Parse(text)
	if err == nil && (at.Scheme != "tcp" || at.Hostname() == "" || at.User != nil || at.Path != "") {
		err = fmt.Errorf("%q is not tcp://ADDRESS:PORT", text)
	}
	port := uint64(0)
	if err == nil && at.Port() != "" {
		if port, err = strconv.ParseUint(at.Port(), 10, 16); err == nil && port == 0 {
			err = fmt.Errorf("%q has no port", text)
		}
	}
	if err != nil {
		return driver.Instance{}, fault.E("none.instance", fault.Invalid, flagURL, fmt.Errorf("--%s: %w", flagURL, err)).
			WithHint("such as tcp://192.0.2.1:2376").WithReason(fault.ReasonUsage)
	}
	return driver.Instance{ID: at.Host, Power: driver.Running, Addresses: []string{at.Hostname()}, Port: uint16(port)}, nil
}
