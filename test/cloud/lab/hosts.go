package lab

import (
	"context"
	"net/netip"
	"sync/atomic"
)

// Hosts runs instances, and gives them their network. Every call may be repeated.
type Hosts interface {
	// PublicRange is where the cloud's public addresses come from.
	PublicRange(ctx context.Context) (netip.Prefix, error)
	// SubnetRange chooses the range of a subnet: the one wished for, if valid, which may be refused, else one that is free.
	SubnetRange(ctx context.Context, subnet uint64, wish netip.Prefix) (netip.Prefix, error)
	// Start turns a host on, and returns once it boots.
	Start(ctx context.Context, host Host) error
	// Stop turns a host off and returns when it is: friendly at first unless forced.
	Stop(ctx context.Context, host Host, force bool) error
	// Running reports whether a host is on.
	Running(ctx context.Context, host Host) (bool, error)
	// Inform changes what a host is told about itself, on or off.
	Inform(host Host)
	// Console returns what a host has said on its console since it was started.
	Console(instance uint64) string
	// Erase removes the content of a disk.
	Erase(ctx context.Context, disk uint64) error
	// Enforce makes it so that hosts can be reached as the doors say, and in no other way.
	Enforce(ctx context.Context, doors []Door) error
	// Close removes all hosts, disks and networks.
	Close(ctx context.Context) error
}

// Host is an instance as something to run.
type Host struct {
	Instance uint64
	Disk     uint64 // that it boots from
	Subnet   uint64
	Range    netip.Prefix // of the subnet
	Address  netip.Addr
	Guest    Guest
	Boot     BootFault
}

// Guest is what a host is told about itself. Hosts follow changes of users while they are on.
type Guest struct {
	Hostname      string
	Users         []User
	StartupScript string            // run as root at every boot; "#!" chooses the interpreter
	Attributes    map[string]string // what the host can ask for by name
	UserData      string            // "#cloud-config" or a script, run at the first boot of a disk
}

// User may log in, and become root.
type User struct {
	Name string
	Keys []string // authorized_keys lines
}

// Door is who may come in to one host, and how.
type Door struct {
	Subnet  uint64
	Address netip.Addr
	Public  netip.Addr     // leads to Address; invalid for none
	Foreign []netip.Prefix // subnets of other networks, from which nobody comes in
	Passes  []Pass         // the first that matches decides; nobody else comes in
}

// Pass lets traffic in, or keeps it out.
type Pass struct {
	Allow    bool
	Sources  []netip.Prefix // as the host sees them
	Protocol string         // tcp, udp, icmp; empty for all
	Ports    []Ports        // none for all
}

// Ports is a range of ports, both ends included.
type Ports struct{ First, Last uint16 }

// records are hosts that are never booted. They live in ranges that nothing has to be free for.
type records struct{ subnets atomic.Int32 }

func (*records) PublicRange(context.Context) (netip.Prefix, error) {
	return netip.MustParsePrefix("198.18.0.0/16"), nil
}

func (r *records) SubnetRange(_ context.Context, _ uint64, wish netip.Prefix) (netip.Prefix, error) {
	if wish.IsValid() {
		return wish, nil
	}
	return netip.PrefixFrom(netip.AddrFrom4([4]byte{10, 127 + byte(r.subnets.Add(1)), 0, 0}), 16), nil
}

func (*records) Start(context.Context, Host) error           { return nil }
func (*records) Stop(context.Context, Host, bool) error      { return nil }
func (*records) Running(context.Context, Host) (bool, error) { return true, nil }
func (*records) Inform(Host)                                 {}
func (*records) Console(uint64) string                       { return "" }
func (*records) Erase(context.Context, uint64) error         { return nil }
func (*records) Enforce(context.Context, []Door) error       { return nil }
func (*records) Close(context.Context) error                 { return nil }
