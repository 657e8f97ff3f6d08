//go:build linux

package nspawn

import (
	"context"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"

	"mctl/internal/controller/driver"
	"mctl/internal/controller/driver/nspawn/container"
	"mctl/internal/controller/driver/nspawn/network"
	"mctl/internal/controller/driver/nspawn/rootfs"
	"mctl/internal/fault"
)

// Driver makes hosts of one controller.
type Driver struct {
	config  Config
	runner  container.Runner
	cache   rootfs.Cache
	network network.Network
}

// New returns the driver. It touches nothing.
func New(config Config) *Driver {
	config = config.withDefaults()
	return &Driver{
		config: config, runner: container.NewRunner(config.Logger),
		cache: rootfs.Cache{Dir: config.CacheDir, Logger: config.Logger},
		network: network.Network{
			ControllerID: config.ControllerID, LockFile: config.LockFile, Record: filepath.Join(config.StateDir, "network.json"),
		},
	}
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
		image, err := d.cache.Image(ctx, s.image, m.Progress)
		if err != nil {
			return driver.Instance{}, err
		}
		outfit := rootfs.Host{Name: m.Name, User: s.user, PublicKeys: m.PublicKeys}
		if err := outfit.Outfit(h.dir, image); err != nil {
			return driver.Instance{}, err
		}
		if err := h.handOver(m.UserData); err != nil {
			return driver.Instance{}, err
		}
		if err := h.write("ready", nil); err != nil {
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
	if err := d.turnOff(ctx, h, false); err != nil {
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
	if err := d.turnOff(ctx, h, force); err != nil {
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
	if err := d.turnOff(ctx, h, true); err != nil {
		return err
	}
	if err := h.remove(); err != nil {
		return err
	}
	return d.network.Leave(ctx, d.inUse)
}

// List lists the controller's hosts, also those that no record knows.
func (d *Driver) List(_ context.Context, m driver.Machine) ([]driver.Resource, error) {
	hosts, err := d.hosts()
	if err != nil {
		return nil, err
	}
	var found []driver.Resource
	for _, h := range hosts {
		if h.Controller == m.ControllerID {
			found = append(found, driver.Resource{Kind: "host", ID: h.id, Machine: h.UID})
		}
	}
	return found, nil
}

// Remove removes one host.
func (d *Driver) Remove(ctx context.Context, m driver.Machine, r driver.Resource) error {
	if m.ControllerID != d.config.ControllerID {
		return fault.New("nspawn.Remove", fault.Denied, r.ID, r.ID+" was made by another controller")
	}
	m.UID, m.Name = r.Machine, r.ID
	return d.Delete(ctx, m)
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
	if on, err := d.runner.Running(ctx, h.container()); on || err != nil {
		return d.instance(h, driver.Running), err
	}
	wish := s.wish()
	wish.Keep = keep
	if pinned, err := netip.ParseAddr(h.Pinned); err == nil {
		wish.IP = pinned
	}
	address, err := d.network.Join(ctx, wish, d.taken(h), h.take)
	if err != nil {
		return d.instance(h, driver.Stopped), err
	}
	networkd := fmt.Sprintf("[Match]\nName=host0\n\n[Network]\nAddress=%s\nGateway=%s\nLinkLocalAddressing=no\nIPv6AcceptRA=no\n",
		address, network.Gateway(address))
	if err := h.write("host0.network", []byte(networkd)); err != nil {
		return d.instance(h, driver.Stopped), err
	}
	if err := rootfs.RefreshResolver(h.path("upper")); err != nil {
		d.config.Logger.Warn("the host keeps its resolver", "host", h.id, "error", err)
	}
	boot := container.Boot{Bridge: d.network.Bridge(), CPUs: s.cpus, Memory: s.memory}
	if err := d.runner.Start(ctx, h.container(), boot); err != nil {
		return d.instance(h, driver.Unknown), err
	}
	return d.instance(h, driver.Running), nil
}

// turnOff ends the host; its address is free then.
func (d *Driver) turnOff(ctx context.Context, h *host, force bool) error {
	if err := d.runner.Stop(ctx, h.container(), force); err != nil {
		return err
	}
	return os.RemoveAll(h.path("address"))
}

// taken tells which addresses other hosts have or have pinned.
func (d *Driver) taken(h *host) network.Taken {
	return func() (map[netip.Addr]string, error) {
		hosts, err := d.hosts()
		taken := map[netip.Addr]string{}
		for _, other := range hosts {
			if other.dir == h.dir {
				continue
			}
			for _, text := range []string{other.read("address"), other.Pinned} {
				if address, err := netip.ParseAddr(text); err == nil {
					taken[address] = other.Name
				}
			}
		}
		return taken, err
	}
}

// inUse reports whether the controller has a host, complete or not.
func (d *Driver) inUse() (bool, error) {
	hosts, err := d.hosts()
	return len(hosts) > 0, err
}

func (d *Driver) inspect(ctx context.Context, h *host) (driver.Instance, error) {
	on, err := d.runner.Running(ctx, h.container())
	if err != nil {
		return driver.Instance{}, err
	}
	if !on {
		return d.instance(h, driver.Stopped), nil
	}
	return d.instance(h, driver.Running), nil
}

func (d *Driver) instance(h *host, power driver.Power) driver.Instance {
	instance := driver.Instance{ID: h.id, Power: power}
	if address := h.address(); power == driver.Running && address.IsValid() {
		instance.Addresses = []string{address.String()}
		instance.SSH = driver.SSH{Address: address.String(), Port: 22, User: h.User, HostKeys: rootfs.HostKeys(h.path("upper"))}
	}
	return instance
}
