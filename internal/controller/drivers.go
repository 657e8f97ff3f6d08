package controller

import (
	"context"
	"maps"
	"os"
	"path/filepath"
	"slices"

	"github.com/hashicorp/go-hclog"

	"mctl/internal/buildinfo"
	"mctl/internal/controller/driver"
	"mctl/internal/controller/driver/fake"
	"mctl/internal/controller/driver/generic"
	"mctl/internal/controller/driver/google"
	"mctl/internal/controller/driver/none"
	"mctl/internal/controller/driver/nspawn"
	"mctl/internal/controller/driver/plugin"
)

// drivers is what machines can be made with, by name: our own, and third-party plugins where the name is none of ours.
type drivers struct {
	own     map[string]driver.Driver
	plugins *plugin.Plugins
}

// newDrivers is the table, a line for each driver, which may be used until ctx ends. dir is where they may keep files; pluginUser whom plugins run as where that is
// root's to say.
func newDrivers(ctx context.Context, dir, controllerID, pluginUser string, logger hclog.Logger) drivers {
	table := map[string]driver.Driver{
		"generic": generic.New(),
		"google":  google.New(google.Config{}),
		"none":    none.New(),
		"nspawn":  nspawn.New(nspawn.Config{StateDir: filepath.Join(dir, "nspawn"), ControllerID: controllerID, Logger: logger.Named("nspawn")}),
	}
	if buildinfo.Development() {
		table["fake"] = fake.New(new(fake.Cloud))
	}
	if os.Geteuid() != 0 {
		pluginUser = ""
	}
	return drivers{own: table, plugins: plugin.New(ctx, plugin.Config{
		Dir: dir, Path: os.Getenv("PATH"), User: pluginUser, Logger: logger.Named("plugin"),
	})}
}

// Driver implements machine.Drivers.
func (d drivers) Driver(name string) (driver.Driver, error) {
	if found, ok := d.own[name]; ok {
		return found, nil
	}
	found, err := d.plugins.Find(name)
	if err != nil {
		return nil, err // a nil pointer would be a driver
	}
	return found, nil
}

// List returns all of them, by name: our own first.
func (d drivers) List() []driver.Driver {
	var all []driver.Driver
	for _, name := range slices.Sorted(maps.Keys(d.own)) {
		all = append(all, d.own[name])
	}
	for _, found := range d.plugins.List() {
		if _, ours := d.own[found.Info().Name]; !ours {
			all = append(all, found)
		}
	}
	return all
}
