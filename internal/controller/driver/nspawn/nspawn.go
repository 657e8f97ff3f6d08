//go:build linux

package nspawn

import (
	"context"
	"fmt"
	"net/netip"
	"os"

	"mctl/internal/controller/driver"
	"mctl/internal/fault"
)

// Driver makes hosts of one controller.
type Driver struct {
	config Config
	keeper keeper
}

// New returns the driver. It touches nothing.
func New(config Config) *Driver {
	config = config.withDefaults()
	d := &Driver{config: config, keeper: sessions{logger: config.Logger}}
	if _, err := os.Stat("/run/systemd/system"); err == nil {
		d.keeper = units{}
	}
	return d
}

// Info describes the driver.
func (d *Driver) Info() driver.Info {
	if err := d.equipped(settings{}); err != nil {
		return info(err.Error())
	}
	return info("")
}

// Create makes the host, or finds the one that an earlier call made, and turns it on. It does not wait for its sshd.
func (d *Driver) Create(ctx context.Context, m driver.Machine) (driver.Instance, error) {
	s, err := parse(m.Options)
	if err != nil {
		return driver.Instance{}, err
	}
	h, err := d.host(m)
	if err != nil {
		return driver.Instance{}, err
	}
	h.User = s.user
	if s.ip.IsValid() {
		h.Pinned = s.ip.String()
	}
	lock, err := h.lockNew(ctx)
	if err != nil {
		return driver.Instance{}, err
	}
	defer lock.Close()
	if !h.has("ready") {
		if err := h.saveLabel(); err != nil {
			return driver.Instance{}, err
		}
		image, err := d.image(ctx, s.image, m.Progress)
		if err != nil {
			return driver.Instance{}, err
		}
		if err := h.outfit(image, m.PublicKeys); err != nil {
			return driver.Instance{}, err
		}
	}
	return d.turnOn(ctx, h, s, netip.Addr{})
}

// Start turns the host on, with the next free address unless one is pinned.
func (d *Driver) Start(ctx context.Context, m driver.Machine) (driver.Instance, error) {
	h, s, lock, err := d.locked(ctx, m)
	if err != nil {
		return driver.Instance{}, err
	}
	defer lock.Close()
	return d.turnOn(ctx, h, s, netip.Addr{})
}

// Restart shuts the host down and turns it on again at the same address.
func (d *Driver) Restart(ctx context.Context, m driver.Machine) (driver.Instance, error) {
	h, s, lock, err := d.locked(ctx, m)
	if err != nil {
		return driver.Instance{}, err
	}
	defer lock.Close()
	keep := h.address()
	if err := shutDown(ctx, d.keeper, h, false); err != nil {
		return driver.Instance{}, err
	}
	return d.turnOn(ctx, h, s, keep)
}

// Stop turns the host off.
func (d *Driver) Stop(ctx context.Context, m driver.Machine, force bool) (driver.Instance, error) {
	h, _, lock, err := d.locked(ctx, m)
	if err != nil {
		return driver.Instance{}, err
	}
	defer lock.Close()
	if err := shutDown(ctx, d.keeper, h, force); err != nil {
		return driver.Instance{}, err
	}
	return d.instance(h, driver.Stopped), nil
}

// Inspect asks how the host is.
func (d *Driver) Inspect(ctx context.Context, m driver.Machine) (driver.Instance, error) {
	h, err := d.host(m)
	if err == nil {
		err = h.load()
	}
	if err != nil {
		return driver.Instance{}, err
	}
	return d.inspect(ctx, h)
}

// Delete removes the host, and the network with the last one.
func (d *Driver) Delete(ctx context.Context, m driver.Machine) error {
	h, err := d.host(m)
	if err != nil {
		return err
	}
	lock, err := h.lock(ctx)
	if err != nil && !fault.Is(err, fault.NotFound) {
		return err
	}
	if lock != nil {
		defer lock.Close()
	}
	if err := shutDown(ctx, d.keeper, h, true); err != nil {
		return err
	}
	if err := h.remove(); err != nil {
		return err
	}
	return d.leave(ctx)
}

// List lists the controller's hosts, also those that no record knows.
func (d *Driver) List(ctx context.Context, controllerID string) ([]driver.Instance, error) {
	hosts, err := d.hosts()
	if err != nil {
		return nil, err
	}
	var instances []driver.Instance
	for _, h := range hosts {
		if h.Controller != controllerID {
			continue
		}
		instance, err := d.inspect(ctx, h)
		if err != nil {
			return nil, err
		}
		instances = append(instances, instance)
	}
	return instances, nil
}

// locked finds and locks a host that is there.
func (d *Driver) locked(ctx context.Context, m driver.Machine) (*host, settings, *os.File, error) {
	s, err := parse(m.Options)
	if err != nil {
		return nil, s, nil, err
	}
	h, err := d.host(m)
	if err != nil {
		return nil, s, nil, err
	}
	lock, err := h.lock(ctx)
	if err != nil {
		return nil, s, nil, err
	}
	if err := h.load(); err != nil {
		lock.Close()
		return nil, s, nil, err
	}
	return h, s, lock, nil
}

// turnOn starts a host that is off. Its caller has the lock.
func (d *Driver) turnOn(ctx context.Context, h *host, s settings, keep netip.Addr) (driver.Instance, error) {
	main, err := d.keeper.main(ctx, h)
	if err != nil {
		return d.instance(h, driver.Unknown), err
	}
	if main != nil {
		main.close()
		return d.instance(h, driver.Running), nil
	}
	address, err := d.join(ctx, h, s, keep)
	if err != nil {
		return d.instance(h, driver.Stopped), err
	}
	network := fmt.Sprintf("[Match]\nName=host0\n\n[Network]\nAddress=%s\nGateway=%s\nLinkLocalAddressing=no\nIPv6AcceptRA=no\n",
		address, gateway(address.Masked()))
	if err := h.write("host0.network", []byte(network)); err != nil {
		return d.instance(h, driver.Stopped), err
	}
	if err := h.refreshResolver(); err != nil {
		d.config.Logger.Warn("the host keeps its resolver", "host", h.id, "error", err)
	}
	if err := d.keeper.start(ctx, h, boot{arguments: h.arguments(d.bridge()), limits: limits{cpus: s.cpus, memory: s.memory}}); err != nil {
		return d.instance(h, driver.Unknown), err
	}
	return d.instance(h, driver.Running), nil
}

func (d *Driver) inspect(ctx context.Context, h *host) (driver.Instance, error) {
	main, err := d.keeper.main(ctx, h)
	if err != nil {
		return driver.Instance{}, err
	}
	defer main.close()
	if main == nil {
		return d.instance(h, driver.Stopped), nil
	}
	return d.instance(h, driver.Running), nil
}

func (d *Driver) instance(h *host, power driver.Power) driver.Instance {
	instance := driver.Instance{ID: h.id, Power: power}
	if address := h.address(); power == driver.Running && address.IsValid() {
		instance.Addresses = []string{address.String()}
		instance.SSH = driver.SSH{Address: address.String(), Port: 22, User: h.User, HostKeys: h.hostKeys()}
	}
	return instance
}

// refreshResolver lets a host that was off follow the computer to another network, unless it minds its own resolver. The
// host's root may have put links there, which must not lead out.
func (h *host) refreshResolver() error {
	content := resolvConf()
	if content == "" {
		return nil
	}
	root, err := os.OpenRoot(h.path("upper"))
	if err != nil {
		return err
	}
	defer root.Close()
	const name = "etc/resolv.conf"
	if info, err := root.Lstat(name); err != nil || !info.Mode().IsRegular() {
		return err
	}
	if err := root.Remove(name); err != nil {
		return err
	}
	return root.WriteFile(name, []byte(content), 0o644)
}
