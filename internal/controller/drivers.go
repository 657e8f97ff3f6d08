package controller

import (
	"fmt"
	"maps"
	"path/filepath"
	"slices"

	"github.com/hashicorp/go-hclog"

	"mctl/internal/buildinfo"
	"mctl/internal/controller/driver"
	"mctl/internal/controller/driver/fake"
	"mctl/internal/controller/driver/generic"
	"mctl/internal/controller/driver/google"
	"mctl/internal/controller/driver/nspawn"
	"mctl/internal/fault"
)

// drivers is what machines can be made with, by name.
type drivers map[string]driver.Driver

// newDrivers is the table, a line for each driver. dir is where they may keep files.
func newDrivers(dir, controllerID string, logger hclog.Logger) drivers {
	table := drivers{
		"generic": generic.New(),
		"google":  google.New(google.Config{}),
		"nspawn":  nspawn.New(nspawn.Config{StateDir: filepath.Join(dir, "nspawn"), ControllerID: controllerID, Logger: logger.Named("nspawn")}),
	}
	if buildinfo.Development() {
		table["fake"] = fake.New(new(fake.Cloud))
	}
	return table
}

// Driver implements machine.Drivers.
func (d drivers) Driver(name string) (driver.Driver, error) {
	if found, ok := d[name]; ok {
		return found, nil
	}
	return nil, fault.E("controller.Driver", fault.NotFound, name, fmt.Errorf("Driver %q not found", name)). //nolint:staticcheck // docker-machine's words
															WithHint("`mctl drivers` lists those there are").WithReason(fault.ReasonUsage)
}

// Names lists them in order.
func (d drivers) Names() []string { return slices.Sorted(maps.Keys(d)) }
