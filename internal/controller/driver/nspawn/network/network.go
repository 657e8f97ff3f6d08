//go:build linux

package network

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"
	"slices"

	"github.com/google/renameio/v2"

	"mctl/internal/controller/driver/nspawn/system"
	"mctl/internal/fault"
)

// Network is what one controller's hosts share.
type Network struct {
	ControllerID string
	Record       string // file that keeps the subnet the same and addresses moving on
	LockFile     string // keeps controllers of one computer apart
}

// Taken returns the addresses that other hosts have or have pinned, and whose they are.
type Taken func() (map[netip.Addr]string, error)

// record is what is kept.
type record struct {
	Subnet netip.Prefix `json:"subnet"`
	Last   netip.Addr   `json:"last"` // handed out last
}

// Bridge is the name of the controller's own end.
func (n Network) Bridge() string { return system.ShortName(10, n.ControllerID) }

// Join brings the network up where it is not, and gives a host an address in it, which assign must write down before it
// counts as given. fault.Precondition when the wish cannot be fulfilled.
func (n Network) Join(ctx context.Context, wish Wish, taken Taken, assign func(netip.Addr) error) (netip.Prefix, error) {
	lock, err := system.LockFile(ctx, n.LockFile, nil)
	if err != nil {
		return netip.Prefix{}, err
	}
	defer lock.Close()
	r, address, err := n.plan(ctx, wish, taken)
	if err != nil {
		return netip.Prefix{}, err
	}
	r.Last = address
	if err := errors.Join(n.save(r), assign(address)); err != nil {
		return netip.Prefix{}, err
	}
	return netip.PrefixFrom(address, r.Subnet.Bits()), n.bringUp(ctx, r.Subnet, address)
}

// Check says whether Join would work now. It changes nothing.
func (n Network) Check(ctx context.Context, wish Wish, taken Taken) error {
	_, _, err := n.plan(ctx, wish, taken)
	return err
}

// Leave takes the network down if it is used no more. It may be repeated.
func (n Network) Leave(ctx context.Context, used func() (bool, error)) error {
	lock, err := system.LockFile(ctx, n.LockFile, nil)
	if err != nil {
		return err
	}
	defer lock.Close()
	if still, err := used(); still || err != nil {
		return err
	}
	return n.takeDown(ctx)
}

func (n Network) load() (record, error) {
	var r record
	content, err := os.ReadFile(n.Record)
	if errors.Is(err, fs.ErrNotExist) {
		return r, nil
	}
	if err == nil {
		err = json.Unmarshal(content, &r)
	}
	if err != nil {
		return r, fmt.Errorf("record of the network: %w", err)
	}
	return r, nil
}

func (n Network) save(r record) error {
	content, err := json.Marshal(r)
	if err != nil {
		return err
	}
	return renameio.WriteFile(n.Record, content, 0o600, renameio.WithTempDir(filepath.Dir(n.Record)))
}

func (n Network) plan(ctx context.Context, wish Wish, taken Taken) (record, netip.Addr, error) {
	r, err := n.load()
	if err != nil {
		return r, netip.Addr{}, err
	}
	if r.Subnet, err = n.choose(ctx, r.Subnet, wish); err != nil {
		return r, netip.Addr{}, err
	}
	others, err := taken()
	if err != nil {
		return r, netip.Addr{}, err
	}
	address, err := next(r.Subnet, r.Last, wish, others)
	return r, address, err
}

// choose settles the subnet: that of the bridge if it is up, the wish, the recorded one if it still is free, else another.
func (n Network) choose(ctx context.Context, recorded netip.Prefix, wish Wish) (netip.Prefix, error) {
	if up := subnetOf(n.Bridge()); up.IsValid() {
		return up, wish.fits(up)
	}
	used, err := usedSubnets(ctx)
	if err != nil {
		return netip.Prefix{}, err
	}
	wanted := wish.Subnet
	if !wanted.IsValid() && wish.IP.IsValid() && !recorded.IsValid() {
		wanted = netip.PrefixFrom(wish.IP, 24).Masked()
	}
	if wanted.IsValid() {
		if other := overlapping(used, wanted); other.IsValid() {
			return wanted, fault.E("network.choose", fault.Precondition, wanted.String(), fmt.Errorf("the network %s is in use: %s", wanted, other)).
				WithHint("choose another with --" + FlagSubnet)
		}
		return wanted, wish.fits(wanted)
	}
	for _, candidate := range append([]netip.Prefix{recorded}, candidates(n.ControllerID)...) {
		if candidate.IsValid() && !overlapping(used, candidate).IsValid() {
			return candidate, wish.fits(candidate)
		}
	}
	return netip.Prefix{}, fault.New("network.choose", fault.Precondition, "", "no network is free for the hosts").
		WithHint("name one with --" + FlagSubnet)
}

func overlapping(used []netip.Prefix, subnet netip.Prefix) netip.Prefix {
	if i := slices.IndexFunc(used, subnet.Overlaps); i >= 0 {
		return used[i]
	}
	return netip.Prefix{}
}
