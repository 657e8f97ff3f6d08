package controller

import (
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/hashicorp/go-hclog"

	"mctl/internal/controller/driver"
	"mctl/internal/controller/driver/generic"
	"mctl/internal/fault"
)

func TestOurOwnDriverWinsASharedNameAndThePluginCanBeForced(t *testing.T) {
	dir := t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, "drivers"), 0o700); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"generic", "theirs"} {
		// A program that is no plugin: who finds it says so.
		if err := os.WriteFile(filepath.Join(dir, "drivers", "docker-machine-driver-"+name), []byte("#!/bin/sh\nexit 9\n"), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	table := newDrivers(t.Context(), dir, "c1", "", hclog.NewNullLogger())
	if d, err := table.Driver("generic"); err != nil || d != driver.Driver(generic.New()) {
		t.Errorf("%v %v", d, err)
	}
	for name, kind := range map[string]fault.Kind{"plugin:generic": fault.Precondition, "theirs": fault.Precondition, "plugin:nosuch": fault.NotFound, "nosuch": fault.NotFound} {
		if d, err := table.Driver(name); d != nil || !fault.Is(err, kind) || fault.ReasonOf(err) == "" || fault.HintOf(err) == "" {
			t.Errorf("%s: %v %v, hint %q", name, d, err, fault.HintOf(err))
		}
	}
	var names []string
	for _, d := range table.List() {
		names = append(names, d.Info().Name)
	}
	if !slices.Contains(names, "theirs") || slices.Index(names, "generic") != len(names)-1-slices.Index(reversed(names), "generic") {
		t.Errorf("listed are %v", names)
	}
}

func reversed(names []string) []string {
	names = slices.Clone(names)
	slices.Reverse(names)
	return names
}
