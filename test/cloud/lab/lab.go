package lab

import (
	"context"
	"errors"
	"math/rand/v2"
	"net/netip"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"
	"golang.org/x/time/rate"
)

// Config says how a cloud behaves. The zero value is one whose hosts are records, which answers at once.
type Config struct {
	Hosts   Hosts         // runs instances; nil for records only
	Latency time.Duration // that every call takes
	// Rate is how many calls a second are taken, RateBurst how many at once. More are refused as RateLimited. Zero for any.
	Rate      float64
	RateBurst int
	Logger    hclog.Logger // nil for none
}

// Lab is one cloud. All methods may be called side by side. What they return are copies; slices, maps and docs in them are
// shared and must not be changed.
type Lab struct {
	config  Config
	hosts   Hosts
	limiter *rate.Limiter
	life    context.Context // ends with Close; work that callers do not wait for belongs to it
	end     context.CancelFunc
	working sync.WaitGroup

	wiring sync.Mutex // held while the hosts' wires are being made as the records say
	power  locks      // one for each instance whose power is being changed
	tokens locks

	mu         sync.Mutex // guards all below
	lastID     uint64
	public     pool
	instances  table[Instance]
	disks      table[Disk]
	addresses  table[Address]
	networks   table[Network]
	subnets    table[Subnet]
	rules      table[Rule]
	operations table[Operation]
	begun      map[string]Ref // operation by token
	faults     []*Fault
	calls      map[string]int
	refused    int // calls beyond the rate
	unstick    chan struct{}
	given      map[uint64]bool // ids of what was there from the start
}

// New makes a cloud with nothing in it.
func New(ctx context.Context, config Config) (*Lab, error) {
	if config.Hosts == nil {
		config.Hosts = &records{}
	}
	if config.Logger == nil {
		config.Logger = hclog.NewNullLogger()
	}
	public, err := config.Hosts.PublicRange(ctx)
	if err != nil {
		return nil, err
	}
	life, end := context.WithCancel(context.WithoutCancel(ctx))
	l := &Lab{
		config: config, hosts: config.Hosts, life: life, end: end, limiter: rate.NewLimiter(rate.Inf, 0),
		lastID: rand.Uint64N(1<<40) << 20, public: newPool(public), //nolint:gosec // ids need not be secret
		begun: map[string]Ref{}, calls: map[string]int{}, unstick: make(chan struct{}), given: map[uint64]bool{},
	}
	if config.Rate > 0 {
		l.limiter = rate.NewLimiter(rate.Limit(config.Rate), max(1, config.RateBurst))
	}
	return l, nil
}

// Close ends operations and removes every host. Records stay, to be counted. It may be repeated.
func (l *Lab) Close(ctx context.Context) error {
	l.end()
	l.working.Wait()
	return l.hosts.Close(ctx)
}

// Seal takes all that exists for what was there before anybody came: Everything marks it as given.
func (l *Lab) Seal() {
	all := l.Everything()
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, thing := range all {
		l.given[thing.ID] = true
	}
}

// newID returns a number that no other thing has. The caller has the lock.
func (l *Lab) newID() uint64 {
	l.lastID += 1 + rand.Uint64N(1<<16) //nolint:gosec // ids need not be secret
	return l.lastID
}

// locks is a lock for each key that is in use.
type locks struct {
	mu   sync.Mutex
	held map[any]chan struct{}
}

// try takes the key's lock, or returns what closes when its holder gives it back.
func (k *locks) try(key any) (release func(), other <-chan struct{}) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if other, taken := k.held[key]; taken {
		return nil, other
	}
	if k.held == nil {
		k.held = map[any]chan struct{}{}
	}
	mine := make(chan struct{})
	k.held[key] = mine
	return func() {
		k.mu.Lock()
		defer k.mu.Unlock()
		delete(k.held, key)
		close(mine)
	}, nil
}

// take waits for the key's lock and returns what gives it back.
func (k *locks) take(ctx context.Context, key any) (release func(), err error) {
	for {
		release, other := k.try(key)
		if release != nil {
			return release, nil
		}
		select {
		case <-other:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// pool hands out the addresses of a range. They go round, so that one is not given again soon after it was someone else's.
type pool struct {
	prefix netip.Prefix
	last   netip.Addr
	taken  map[netip.Addr]bool
}

func newPool(prefix netip.Prefix) pool {
	// The first one is the gateway.
	return pool{prefix: prefix, last: prefix.Masked().Addr().Next(), taken: map[netip.Addr]bool{}}
}

var errFull = errors.New("no address is free")

func (p *pool) next() (netip.Addr, error) {
	gateway := p.prefix.Masked().Addr().Next()
	candidate := p.last
	for range 1 << (32 - p.prefix.Bits()) {
		candidate = candidate.Next()
		if !p.prefix.Contains(candidate) || !p.prefix.Contains(candidate.Next()) { // the last one is broadcast
			candidate = gateway.Next()
		}
		if !p.taken[candidate] {
			p.last, p.taken[candidate] = candidate, true
			return candidate, nil
		}
	}
	return netip.Addr{}, errFull
}

// take takes a certain address.
func (p *pool) take(address netip.Addr) error {
	gateway := p.prefix.Masked().Addr().Next()
	switch {
	case !p.prefix.Contains(address) || address.Compare(gateway) <= 0 || !p.prefix.Contains(address.Next()):
		return errors.New("the address is not in the range")
	case p.taken[address]:
		return errors.New("the address is taken")
	}
	p.taken[address] = true
	return nil
}

func (p *pool) free(address netip.Addr) { delete(p.taken, address) }
