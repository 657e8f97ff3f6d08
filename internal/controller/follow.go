package controller

import (
	"context"
	"net"
	"os"
	"strconv"
	"strings"

	"mctl/internal/buildinfo"
	"mctl/internal/controller/machine"
	"mctl/internal/controller/reconcile"
	"mctl/internal/fault"
)

// follow has every machine stepped of which somebody asks something. What a step stored changes no generation: the loop
// knows when it wants the next one, and a pause after a failure must last. Falling behind is no harm: it lists anew.
func follow(ctx context.Context, service *machine.Service, loop *reconcile.Loop) error {
	type wish struct {
		uid        string
		generation uint64
	}
	for ctx.Err() == nil {
		all, revision, err := service.List(ctx)
		if err != nil {
			return err
		}
		seen := make(map[string]wish, len(all)) // by name
		for _, m := range all {
			seen[m.Name] = wish{m.UID, m.Generation}
			loop.Add(m.Name)
		}
		for change, err := range service.Watch(ctx, revision) {
			if fault.Is(err, fault.Resync) {
				break
			}
			if err != nil {
				return err
			}
			m := change.Machine
			if change.Deleted {
				delete(seen, m.Name)
				continue
			}
			if now := (wish{m.UID, m.Generation}); seen[m.Name] != now {
				seen[m.Name] = now
				loop.Add(m.Name)
			}
		}
	}
	return nil
}

// advertised completes addresses that are told to hosts: one without a port gets ours.
func advertised(addresses []string, port int) []string {
	var complete []string
	for _, address := range addresses {
		if _, _, err := net.SplitHostPort(address); err != nil {
			address = net.JoinHostPort(strings.Trim(address, "[]"), strconv.Itoa(port))
		}
		complete = append(complete, address)
	}
	return complete
}

// addresses is where users far away find this controller: what it was told to say, else every address of this computer.
func addresses(advertise []string, port int) []string {
	if len(advertise) > 0 {
		return advertise
	}
	var found []string
	own, err := net.InterfaceAddrs()
	if err != nil {
		return nil
	}
	for _, address := range own {
		if ip, ok := address.(*net.IPNet); ok && !ip.IP.IsLinkLocalUnicast() {
			found = append(found, net.JoinHostPort(ip.IP.String(), strconv.Itoa(port)))
		}
	}
	return found
}

// ownStamp is the stamp of this program's file as it was when it started.
func ownStamp() string {
	path, err := os.Executable()
	if err != nil {
		return ""
	}
	return buildinfo.Stamp(path)
}
