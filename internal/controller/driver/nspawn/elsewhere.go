//go:build !linux

package nspawn

import (
	"context"

	"mctl/internal/controller/driver"
	"mctl/internal/fault"
)

// Driver says that it needs Linux.
type Driver struct{}

// New returns a driver that cannot be used here.
func New(Config) *Driver { return &Driver{} }

func needsLinux() *fault.Error {
	return fault.New("nspawn", fault.Precondition, "", "the nspawn driver needs Linux").
		WithHint("choose another driver, or a controller on Linux: see `mctl context --help`")
}

// Info says why it cannot be used.
func (d *Driver) Info() driver.Info { return info(needsLinux().Error()) }

// Preflight refuses.
func (d *Driver) Preflight(context.Context, driver.Machine) error { return needsLinux() }

// Create refuses.
func (d *Driver) Create(context.Context, driver.Machine) (driver.Instance, error) {
	return driver.Instance{}, needsLinux()
}

// Inspect refuses.
func (d *Driver) Inspect(context.Context, driver.Machine) (driver.Instance, error) {
	return driver.Instance{}, needsLinux()
}

// Delete refuses.
func (d *Driver) Delete(context.Context, driver.Machine) error { return needsLinux() }

// Start refuses.
func (d *Driver) Start(context.Context, driver.Machine) (driver.Instance, error) {
	return driver.Instance{}, needsLinux()
}

// Stop refuses.
func (d *Driver) Stop(context.Context, driver.Machine, bool) (driver.Instance, error) {
	return driver.Instance{}, needsLinux()
}
