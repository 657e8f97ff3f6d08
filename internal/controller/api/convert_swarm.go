package api

import (
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	"google.golang.org/protobuf/types/known/durationpb"

	machines "mctl/internal/controller/machine"
	"mctl/internal/fault"
	controllerv1 "mctl/proto/mctl/controller/v1"
)

// discoveryScheme stands before the name of a manager's machine.
const discoveryScheme = "mctl"

// maxDrain bounds what a drain may take.
const maxDrain = 24 * time.Hour

// managerOption has a member join as a manager.
const managerOption = "manager"

// swarmOf reads which swarm a machine shall be a member of. What only the legacy Swarm had is refused with what there is now.
func swarmOf(m *controllerv1.SwarmSpec) (*machines.Swarm, error) {
	if m == nil {
		return nil, nil
	}
	s := &machines.Swarm{
		Master: m.GetMaster(), Manager: m.GetMaster() || slices.Contains(m.GetOptions(), managerOption), Address: m.GetAddress(),
		Host: m.GetHost(), Strategy: m.GetStrategy(), Image: m.GetImage(), Options: m.GetOptions(), JoinOptions: m.GetJoinOptions(),
		Experimental: m.GetExperimental(),
	}
	if strategy := m.GetStrategy(); strategy != "" && strategy != "spread" {
		return nil, usage(fmt.Sprintf("the strategy %q went with the legacy Swarm; swarm mode spreads tasks, and a service's constraints and reservations say where", strategy))
	}
	var err error
	if s.Of, err = managerOf(m.GetDiscovery()); err != nil {
		return nil, err
	}
	if s.Of == "" && !m.GetMaster() {
		return nil, usage("a machine is its swarm's master, or joins that of another").WithHint("give --swarm-master, or --swarm-discovery mctl://MASTER")
	}
	if s.Port, err = swarmPort(m.GetHost()); err != nil {
		return nil, err
	}
	if !validAddress(s.Address) {
		return nil, usage(fmt.Sprintf("%q is no address that members of a swarm could find a machine at", s.Address)).WithHint("give an IP address, with or without a port")
	}
	return s, nil
}

// managerOf reads a discovery URL: mctl:// and the name of a manager's machine.
func managerOf(discovery string) (string, error) {
	if discovery == "" {
		return "", nil
	}
	scheme, name, ok := strings.Cut(discovery, "://")
	switch {
	case !ok:
		return "", usage(fmt.Sprintf("Error parsing swarm discovery: Swarm Discovery URL was in the wrong format: %s", discovery)).
			WithHint("give mctl:// and the name of the master's machine, such as mctl://m1")
	case scheme != discoveryScheme:
		return "", usage(fmt.Sprintf("discovery by %s:// went with the legacy Swarm; in swarm mode a member asks a manager", scheme)).
			WithHint("give mctl:// and the name of the master's machine, such as mctl://m1")
	case !machines.ValidName(name):
		return "", usage(fmt.Sprintf("the discovery URL %q names no machine", discovery)).
			WithHint("give mctl:// and the name of the master's machine, such as mctl://m1")
	}
	return name, nil
}

// swarmPort reads where a manager serves the engine for its swarm.
func swarmPort(host string) (uint16, error) {
	if host == "" {
		return machines.DefaultSwarmPort, nil
	}
	rest, ok := strings.CutPrefix(host, "tcp://")
	address, text, err := net.SplitHostPort(rest)
	port, bad := strconv.ParseUint(text, 10, 16)
	if !ok || err != nil || bad != nil || port == 0 {
		return 0, usage(fmt.Sprintf("%q is no place to serve a swarm at", host)).WithHint("give tcp://0.0.0.0:PORT, or leave it out for port 3376")
	}
	if ip, err := netip.ParseAddr(address); address != "" && (err != nil || !ip.IsUnspecified()) {
		return 0, usage(fmt.Sprintf("%q names one address, and a manager is served at all of its addresses", host)).WithHint("give tcp://0.0.0.0:PORT")
	}
	return uint16(port), nil
}

func validAddress(text string) bool {
	if text == "" {
		return true
	}
	ip, err := netip.ParseAddr(text)
	if err != nil {
		place, err := netip.ParseAddrPort(text)
		if err != nil || place.Port() == 0 {
			return false
		}
		ip = place.Addr()
	}
	return !ip.IsUnspecified() && !ip.IsMulticast() && ip.Zone() == ""
}

func swarmMessage(s *machines.Swarm) *controllerv1.SwarmSpec {
	if s == nil {
		return nil
	}
	message := &controllerv1.SwarmSpec{
		Master: s.Master, Host: s.Host, Address: s.Address, Strategy: s.Strategy, Options: s.Options, JoinOptions: s.JoinOptions,
		Image: s.Image, Experimental: s.Experimental, MasterName: s.Called,
	}
	if s.Of != "" {
		message.Discovery = discoveryScheme + "://" + s.Of
	}
	return message
}

func swarmStatus(m *machines.Machine) *controllerv1.SwarmStatus {
	s := m.Status.Swarm
	if s.Node == "" {
		return nil
	}
	return &controllerv1.SwarmStatus{Id: s.ID, NodeId: s.Node, Manager: s.Manager, Url: m.SwarmURL(), Drained: s.Drained}
}

// drainOf reads how long a drain may take: absent is the usual time, zero none.
func drainOf(d *durationpb.Duration) (time.Duration, error) {
	switch {
	case d == nil:
		return 0, nil
	case d.AsDuration() < 0 || d.AsDuration() > maxDrain:
		return 0, fault.New("api.drainOf", fault.Invalid, "", fmt.Sprintf("a drain takes no time at all, or up to %s", maxDrain)).WithReason(fault.ReasonUsage)
	case d.AsDuration() == 0:
		return -1, nil
	}
	return d.AsDuration(), nil
}

func drainMessage(d time.Duration) *durationpb.Duration {
	if d == 0 {
		return nil
	}
	return durationpb.New(max(d, 0))
}
