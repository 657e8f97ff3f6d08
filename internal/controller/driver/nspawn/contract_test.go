//go:build linux

package nspawn

import (
	"context"
	"os"
	"strings"
	"testing"
	"time"

	"mctl/internal/controller/driver"
	"mctl/internal/controller/driver/drivertest"
	"mctl/internal/fault"
)

func TestContract(t *testing.T) {
	drivertest.Run(t, func(t *testing.T) drivertest.Harness {
		w := newWorld(t, "contract")
		return drivertest.Harness{
			New:       func() driver.Driver { return w.driver() },
			Machine:   driver.Machine{ControllerID: w.config.ControllerID, Options: driver.Options{}},
			List:      w.list,
			Instances: func(line string) bool { return strings.HasPrefix(line, "host ") },
			Vanish: func(_ context.Context, m driver.Machine) error {
				w.kill(w.inside(m)...)
				h, err := w.driver().host(m)
				if err != nil {
					return err
				}
				return os.RemoveAll(h.dir)
			},
			Vanished:   fault.NotFound,
			NewAddress: true,
			CreateTime: 150 * time.Millisecond,
		}
	})
}
