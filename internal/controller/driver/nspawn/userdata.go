//go:build linux

package nspawn

import (
	"context"

	"mctl/internal/controller/driver"
	"mctl/internal/controller/driver/nspawn/rootfs"
)

var _ driver.UserDataBooter = (*Driver)(nil)

// runValues has the host run the script of its user data.
const runValues = "\nmctl_join\n"

// handOver writes user data into a host that is off; nothing where there are none.
func (h *host) handOver(data *driver.UserData) error {
	if data == nil {
		return nil
	}
	return rootfs.WriteUserData(h.path("upper"), data.Script+runValues, data.Values)
}

// BootUserData hands the host other user data and has it boot with them, at the address that it has.
func (d *Driver) BootUserData(ctx context.Context, m driver.Machine) (driver.Instance, error) {
	h, s, lock, err := d.locked(ctx, m)
	if err != nil {
		return driver.Instance{}, err
	}
	defer lock.Close()
	keep := h.address()
	if err := d.turnOff(ctx, h, false); err != nil {
		return driver.Instance{}, err
	}
	if err := h.handOver(m.UserData); err != nil {
		return driver.Instance{}, err
	}
	return d.turnOn(ctx, h, s, keep)
}
