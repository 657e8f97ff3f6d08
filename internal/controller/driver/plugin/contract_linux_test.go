package plugin

import (
	"context"
	"os"
	"path/filepath"
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
