package machine

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"iter"
	"slices"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"

	"mctl/internal/controller/request"
	"mctl/internal/controller/store"
	"mctl/internal/fault"
)

// Config is what the life of machines stands on.
type Config struct {
	Store        store.Store
	Sealer       Sealer
	Drivers      Drivers
	Credentials  Credentials
	Bootstrap    Bootstrapper
	Hosts        Hosts
	Tunnels      Tunnels
	Swarms       Swarms
	Authorities  Authorities
	Events       Events
	Logger       hclog.Logger
	Now          func() time.Time
	ControllerID string
	ControlPort  uint16   // where agents dial
	Advertise    []string // host:port each that agents are told; empty for the controller's end of the SSH connection
	// ProbeRepository reports whether Docker's own package repository answers; asked once at most.
	ProbeRepository func(ctx context.Context) bool
}

// Service is the life of all machines. Its methods are safe for use at the same time.
type Service struct {
	config     Config
	codec      codec
	started    time.Time
	repository func() bool

	mu         sync.Mutex
	names      map[string]string             // name by uid
	steps      map[string]context.CancelFunc // the step under way, by name
	progress   map[string]string             // what is waited for now, by name
	settled    map[string]time.Time          // since when a host is known to have done what was asked, by uid
	troubles   map[string]string             // why the removal or import did not come to its end, or a member of a swarm gets no tasks, by uid
	listed     map[string]*Machine           // by name, as List decoded it last
	lastImport time.Time
	swept      time.Time      // when sweepGone looked last
	removed    request.Memory // of orphans
}

// New makes the service. Nothing happens until it is asked.
func New(config Config) (*Service, error) {
	s := &Service{
		config: config, codec: codec{config.Sealer}, started: config.Now(),
		names: map[string]string{}, steps: map[string]context.CancelFunc{}, progress: map[string]string{}, settled: map[string]time.Time{},
		troubles: map[string]string{},
	}
	// The probe takes at most 2 s by contract and its answer is kept, whoever asks first.
	s.repository = sync.OnceValue(func() bool {
		ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
		defer cancel()
		return config.ProbeRepository(ctx)
	})
	return s, nil
}

// Get returns one machine without its secrets, or fault.NotFound.
func (s *Service) Get(ctx context.Context, name string) (*Machine, error) {
	return s.load(ctx, name, false)
}

// List returns all machines without their secrets, in natural order of their names, and the revision to watch from. They are
// shared with other callers, who must not change them: records that are as they were are not decoded again.
func (s *Service) List(ctx context.Context) ([]*Machine, store.Revision, error) {
	items, revision, err := s.config.Store.List(ctx, prefix)
	if err != nil {
		return nil, 0, err
	}
	s.mu.Lock()
	before := s.listed
	s.mu.Unlock()
	machines, now := make([]*Machine, 0, len(items)), make(map[string]*Machine, len(items))
	for _, item := range items {
		m := before[item.Key[len(prefix):]]
		if m == nil || m.Revision != item.Revision {
			if m, err = s.codec.decode(item, false); err != nil {
				return nil, 0, err
			}
			s.learn(m)
		}
		machines, now[m.Name] = append(machines, m), m
	}
	s.mu.Lock()
	s.listed = now
	s.mu.Unlock()
	slices.SortFunc(machines, func(a, b *Machine) int { return NaturalCompare(a.Name, b.Name) })
	return machines, revision, nil
}

// ListOne is List of the one machine that has a name, or of none, without a look at all the others.
func (s *Service) ListOne(ctx context.Context, name string) ([]*Machine, store.Revision, error) {
	items, revision, err := s.config.Store.List(ctx, prefix+name)
	if err != nil {
		return nil, 0, err
	}
	var machines []*Machine
	for _, item := range items { // longer names begin with it, too
		if item.Key != prefix+name {
			continue
		}
		m, err := s.codec.decode(item, false)
		if err != nil {
			return nil, 0, err
		}
		s.learn(m)
		machines = append(machines, m)
	}
	return machines, revision, nil
}

// Change is one change of a record. With Deleted, only the machine's name is known.
type Change struct {
	Machine  *Machine
	Deleted  bool
	Revision store.Revision
}

// Watch yields every change after from, as store.Store's Watch does.
func (s *Service) Watch(ctx context.Context, from store.Revision) iter.Seq2[Change, error] {
	return func(yield func(Change, error) bool) {
		for c, err := range s.config.Store.Watch(ctx, prefix, from) {
			change := Change{Deleted: c.Deleted, Revision: c.Revision}
			switch {
			case err != nil:
			case c.Deleted:
				change.Machine = &Machine{Name: c.Key[len(prefix):]}
			default: // not learned: a watcher that is late would learn of machines that are gone
				change.Machine, err = s.codec.decode(c.Item, false)
			}
			if !yield(change, err) {
				return
			}
		}
	}
}

// Names lists every machine, for the reconciler.
func (s *Service) Names(ctx context.Context) ([]string, error) {
	items, _, err := s.config.Store.List(ctx, prefix)
	if err != nil {
		return nil, err
	}
	names := make([]string, len(items))
	for i, item := range items {
		names[i] = item.Key[len(prefix):]
	}
	return names, nil
}

// NameOf returns the name of the machine with a uid, or nothing.
func (s *Service) NameOf(uid string) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.names[uid]
}

func (s *Service) load(ctx context.Context, name string, open bool) (*Machine, error) {
	item, err := s.config.Store.Get(ctx, prefix+name)
	if fault.Is(err, fault.NotFound) {
		return nil, NotFound(name)
	}
	if err != nil {
		return nil, err
	}
	m, err := s.codec.decode(item, open)
	if err != nil {
		return nil, err
	}
	s.learn(m)
	return m, nil
}

// NotFound is the fault for a name that is no machine's, in docker-machine's words.
func NotFound(name string) error {
	return fault.E("machine.Get", fault.NotFound, name, fmt.Errorf("Docker machine %q does not exist", name)) //nolint:staticcheck // docker-machine's words
}

func (s *Service) learn(m *Machine) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.names[m.UID] = m.Name
}

func (s *Service) forget(m *Machine) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.names, m.UID)
	delete(s.progress, m.Name)
	delete(s.settled, m.UID)
	delete(s.troubles, m.UID)
}

func newUID() string {
	random := make([]byte, 8)
	// It is documented never to fail.
	_, _ = rand.Read(random)
	return hex.EncodeToString(random)
}
