package controller

import (
	"fmt"
	"maps"
	"slices"

	"mctl/internal/controller/driver"
	"mctl/internal/fault"
)

// drivers is what machines can be made with, by name.
type drivers map[string]driver.Driver

// Driver implements machine.Drivers.
func (d drivers) Driver(name string) (driver.Driver, error) {
	if found, ok := d[name]; ok {
		return found, nil
	}
	return nil, fault.E("controller.Driver", fault.NotFound, name, fmt.Errorf("Driver %q not found", name)). //nolint:staticcheck // docker-machine's words
															WithHint("mctl drivers lists those there are").WithReason(fault.ReasonUsage)
}

// Names lists them in order.
func (d drivers) Names() []string { return slices.Sorted(maps.Keys(d)) }
