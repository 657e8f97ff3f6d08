package plugin

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"

	"mctl/internal/controller/driver"
	"mctl/internal/controller/driver/plugin/memory"
	"mctl/internal/fault"
)

// old is a host that docker-machine made with the plugin: the JSON that it kept, and the store that it was in.
func (w *world) old(t *testing.T, m driver.Machine) driver.Machine {
	t.Helper()
	made, err := w.controller().Create(t.Context(), m)
	if err != nil {
		t.Fatal(err)
	}
	known, err := memory.Recall(made.State)
	if err != nil {
		t.Fatal(err)
	}
	store := filepath.Join(w.state, "plugin", m.UID)
	m.Imported = &driver.Imported{Config: bytes.ReplaceAll(known.Config, []byte(store), []byte("/old/store")), StorePath: "/old/store", Key: known.Key}
	if bytes.Contains(m.Imported.Config, []byte(store)) || !bytes.Contains(m.Imported.Config, []byte("/old/store")) {
		t.Fatalf("no paths to move: %s", m.Imported.Config)
	}
	if err := os.RemoveAll(store); err != nil { // another computer's
		t.Fatal(err)
	}
	m.State = nil
	return m
}

func TestAPluginGoesOnWithWhatDockerMachineKept(t *testing.T) {
	w := newWorld(t)
	d, m := w.driver("stub"), w.old(t, w.machine("web"))
	hosts := len(w.hosts())
	found, err := d.Inspect(t.Context(), m)
	if err != nil || found.Power != driver.Running || found.SSH.Address == "" || len(found.State) == 0 {
		t.Fatalf("%+v, %v", found, err)
	}
	exported, err := d.Export(m) // it was told nothing yet
	if err != nil || !bytes.Equal(exported.Config, m.Imported.Config) || exported.StorePath != "/old/store" {
		t.Errorf("%+v, %v", exported, err)
	}
	m.State = found.State
	if exported, err = d.Export(m); err != nil || bytes.Contains(exported.Config, []byte("/old/store")) || !bytes.Contains(exported.Config, []byte(exported.StorePath)) {
		t.Errorf("later: %+v, %v", exported, err)
	}
	key, err := d.Key(m)
	if err != nil || !bytes.Equal(key, m.Imported.Key) {
		t.Errorf("its key: %v", err)
	}
	if stopped, err := d.Stop(t.Context(), m, false); err != nil || stopped.Power != driver.Stopped {
		t.Errorf("stop: %+v, %v", stopped, err)
	}
	if len(w.hosts()) != hosts {
		t.Errorf("hosts: %v", w.hosts())
	}
	if err := d.Delete(t.Context(), m); err != nil || len(w.hosts()) != 0 {
		t.Errorf("delete: %v, left %v", err, w.hosts())
	}
}

func TestRemovingBeforeThePluginWasEverAskedRemovesTheHost(t *testing.T) {
	w := newWorld(t)
	d, m := w.driver("stub"), w.old(t, w.machine("web"))
	for range 2 {
		if err := d.Delete(t.Context(), m); err != nil || len(w.hosts()) != 0 {
			t.Errorf("%v, left %v", err, w.hosts())
		}
	}
	if _, err := d.Inspect(t.Context(), m); !fault.Is(err, fault.NotFound) {
		t.Errorf("then: %v", err)
	}
}
