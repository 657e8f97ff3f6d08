package plugin

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"mctl/internal/controller/driver"
	"mctl/internal/controller/driver/drivertest"
	"mctl/internal/fault"
)

func TestContract(t *testing.T) {
	drivertest.Run(t, func(t *testing.T) drivertest.Harness {
		w := newWorld(t)
		return drivertest.Harness{
			New:     func() driver.Driver { return w.controller() },
			Machine: w.machine("any"),
			List: func(context.Context) ([]string, error) {
				folders, err := filepath.Glob(filepath.Join(w.state, "plugin", "*"))
				scratches, _ := filepath.Glob(filepath.Join(w.state, "plugin", ".*"))
				return append(append(w.hosts(), folders...), scratches...), err
			},
			Instances: func(line string) bool { return filepath.Dir(line) == w.dir },
			Vanish: func(_ context.Context, m driver.Machine) error {
				found, err := filepath.Glob(filepath.Join(w.dir, "host-i-"+m.Name+"-*"))
				for _, path := range found {
					_ = os.Remove(path)
				}
				return err
			},
			Vanished: fault.NotFound,
			Mute: func(m driver.Machine) {
				if err := os.WriteFile(filepath.Join(w.dir, "mute-"+m.Name), nil, 0o600); err != nil {
					t.Fatal(err)
				}
			},
			Faults:     w,
			NewAddress: true,
			CreateTime: 300 * time.Millisecond,
		}
	})
}

func TestEachActIsTheMethodThatDockerMachineCalls(t *testing.T) {
	w := newWorld(t)
	d, m := w.controller(), w.machine("web")
	for _, act := range []func() error{
		func() error { return d.Preflight(t.Context(), m) },
		func() error { _, err := d.Create(t.Context(), m); return err },
		func() error { _, err := d.Restart(t.Context(), m); return err },
		func() error { _, err := d.Stop(t.Context(), m, false); return err },
		func() error { _, err := d.Start(t.Context(), m); return err },
		func() error { _, err := d.Stop(t.Context(), m, true); return err },
		func() error { _, err := d.Restart(t.Context(), m); return err },
		func() error { return d.Delete(t.Context(), m) },
	} {
		if err := act(); err != nil {
			t.Fatal(err)
		}
	}
	asks := map[string]bool{"GetState": true, "GetIP": true, "GetURL": true, "Heartbeat": true, "SetConfigFromFlags": true, "Made": true}
	got := strings.Join(slices.DeleteFunc(w.calls(), func(call string) bool { return asks[call] }), " ")
	if want := "PreCreateCheck Close PreCreateCheck Create Close Restart Close Stop Close Start Close Kill Close Start Close Remove Close"; got != want {
		t.Errorf("the plugin was asked to\n%s, want\n%s", got, want)
	}
}
