// Package footprint puts the agent on a host and takes away again all that mctl left there.
package footprint

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"syscall"
	"time"

	"github.com/google/renameio/v2"

	"mctl/internal/agent/footprint/journal"
	"mctl/internal/fault"
	"mctl/internal/host"
)

// Where things are on a host.
const (
	StateDir   = "/var/lib/mctl"
	Binary     = "/usr/local/bin/mctl-agent"
	configFile = StateDir + "/config.json"
	// linkDir is where the controller's SSH connections leave sockets.
	linkDir = "/run/mctl-link"
	// resumeFile is there while an installation is under way. What it wrote tells the next one nothing, if it was killed
	// before systemd heard of it.
	resumeFile = StateDir + "/installing"
)

// LeavingFile is where, below StateDir, an agent notes that the host is being given back. An installation ends that.
const LeavingFile = "leaving.json"

// Leaving is what stands there.
type Leaving struct {
	PurgeEngine bool
	Told        bool // nobody waits for us any more; all that is left is to take everything away
	// HandOver leaves dockerd to docker-machine; nil leaves it as it was before us.
	HandOver *host.HandOver `json:",omitempty"`
	Handed   bool           `json:",omitempty"` // that is done
}

// Journal remembers, before each act, what a host was like.
type Journal = journal.Journal

// OpenJournal returns the journal of a host. root stands in front of every path; it is empty but in tests.
func OpenJournal(root string) *Journal { return journal.Open(root) }

// Config is where to work. The zero value is this host.
type Config struct {
	Root   string // in front of every path, for tests
	Runner Runner // nil for this host's programs
	// Self is the program to install; empty for the one that runs.
	Self string
	// Withdraw takes our part out of files that others may have changed since, such as dockerd's configuration, and gives the
	// front's port back to who had it, before the journal's files are put back. It may be repeated. nil for none.
	Withdraw func(ctx context.Context) error
	// Offer says whether dockerd can be left to docker-machine, and changes nothing; HandOver leaves it so, in place of Withdraw, and
	// returns the files that are docker-machine's then. HandOver may be repeated. nil for a test.
	Offer    func(ctx context.Context, h host.HandOver) (host.Offer, error)
	HandOver func(ctx context.Context, h host.HandOver) (theirs []string, err error)
	// Purge removes packages that came by us; kept says why they stay, where something else needs them. It may be repeated.
	// nil where packages are nobody's.
	Purge func(ctx context.Context, names []string, say func(sentence string)) (kept string, err error)
	// Reach reports whether one of the endpoints is the controller that made the ticket; asked where first contact wants to
	// know. nil for nobody.
	Reach func(ctx context.Context, ticket string, endpoints []string) bool
	// SetHostname tells the kernel; nil for the system call.
	SetHostname func(name string) error
	// Patience is how long a removal waits for another one; zero for two minutes.
	Patience time.Duration
}

func (c Config) orDefaults() (Config, error) {
	c.Patience = cmp.Or(c.Patience, 2*time.Minute)
	if c.Runner == nil {
		c.Runner = local{}
	}
	if c.SetHostname == nil {
		c.SetHostname = func(name string) error { return syscall.Sethostname([]byte(name)) }
	}
	if c.Self == "" {
		self, err := os.Executable()
		if err != nil {
			return c, fault.E("footprint.Config", fault.Internal, "", err)
		}
		c.Self = self
	}
	return c, nil
}

func (c Config) at(path string) string { return filepath.Join(c.Root, path) }

// orders are what first contact hands over, as JSON.
type orders struct {
	MachineUID string   `json:"machine_uid"`
	Ticket     string   `json:"ticket"` // a secret
	Endpoints  []string `json:"endpoints"`
	Hostname   string   `json:"hostname,omitempty"`
	EnginePort uint16   `json:"engine_port"`
	Adopted    bool     `json:"adopted"`
	Probe      bool     `json:"probe,omitempty"`    // say whether the controller is reached
	LinkUID    int      `json:"link_uid,omitempty"` // of the user that logged in
}

// maxOrders bounds what is read of them.
const maxOrders = 1 << 20

// Install puts the agent on this host and starts it. It reads
//
//	{"machine_uid": …, "ticket": …, "endpoints": ["host:port", …], "hostname": …, "engine_port": …, "adopted": …, "probe": …}
//
// from r and writes lines of JSON to w: {"progress": sentence}, {"reached": whether an endpoint is our controller} where that
// was asked, and at last {"done": true} or {"error", "hint", "kind"}, which it returns as well. It may be repeated: a new ticket replaces the former, the agent is started anew, and the front
// only where its program or unit is another one; even then no open connection is cut.
//
// The front's socket is started here already, so that a port in use is said at once; until the agent has brought a
// certificate, handshakes fail. On an adopted host, whose dockerd may have the port itself, the agent opens it when the
// engine is ready: see OpenFront. Precondition when not root, without systemd or when the port is taken.
func Install(ctx context.Context, r io.Reader, w io.Writer, config Config) error {
	return report(w, func(say progress) error {
		config, err := config.orDefaults()
		if err != nil {
			return err
		}
		o, err := readOrders(r)
		if err != nil {
			return err
		}
		if o.Probe && config.Reach != nil {
			reached := config.Reach(ctx, o.Ticket, o.Endpoints)
			_ = json.NewEncoder(w).Encode(map[string]bool{"reached": reached}) // nobody may listen any more
		}
		return config.install(ctx, o, say)
	})
}

func readOrders(r io.Reader) (orders, error) {
	const op = "footprint.readOrders"
	o := orders{EnginePort: 2376, LinkUID: loginUID(os.Getenv("SUDO_UID"))}
	text, err := io.ReadAll(io.LimitReader(r, maxOrders))
	if err != nil {
		return o, fault.E(op, fault.Unavailable, "", err)
	}
	// The text holds a secret, so errors do not repeat it.
	if json.Unmarshal(text, &o) != nil {
		return o, fault.New(op, fault.Invalid, "", "what the agent was told is no JSON document")
	}
	switch {
	case o.MachineUID == "" || o.EnginePort == 0:
		return o, fault.New(op, fault.Invalid, "", "the agent was told no machine or no port")
	case o.LinkUID < 0:
		return o, fault.New(op, fault.Invalid, "", "the agent was told a user that can't be")
	case o.Hostname != "" && !validHostname(o.Hostname):
		return o, fault.New(op, fault.Invalid, "", fmt.Sprintf("%q is no host name", o.Hostname))
	}
	return o, nil
}

// loginUID is whom sudo was run by; root's own where there was none.
func loginUID(sudo string) int {
	uid, err := strconv.ParseUint(sudo, 10, 31)
	if err != nil {
		return 0
	}
	return int(uid)
}

func (c Config) install(ctx context.Context, o orders, say progress) error {
	if err := c.ready(); err != nil {
		return err
	}
	if err := c.folder(StateDir); err != nil {
		return err
	}
	if err := c.folder(StateDir + "/front"); err != nil {
		return err
	}
	say("installing the agent")
	resumed := exists(c.at(resumeFile))
	if err := c.write(resumeFile, nil, 0o600); err != nil {
		return err
	}
	journal := OpenJournal(c.Root)
	for _, path := range []string{Binary, unitDir + agentUnit, unitDir + frontUnit, unitDir + frontSocket} {
		journal.Sweep(path)
	}
	newProgram, err := c.installSelf()
	if err != nil {
		return err
	}
	if o.Hostname != "" && !o.Adopted {
		if err := c.rename(o.Hostname); err != nil {
			return err
		}
	}
	text, err := json.Marshal(o)
	if err != nil {
		return fault.E("footprint.install", fault.Internal, "", err)
	}
	if err := c.write(configFile, text, 0o600); err != nil {
		return err
	}
	if err := os.Remove(c.at(filepath.Join(StateDir, LeavingFile))); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fault.E("footprint.install", fault.Precondition, LeavingFile, err)
	}
	if err := c.startUnits(ctx, o, newProgram, resumed, say); err != nil {
		return err
	}
	if err := os.Remove(c.at(resumeFile)); err != nil {
		return fault.E("footprint.install", fault.Precondition, resumeFile, err)
	}
	// The upload has done its work.
	if c.Self == c.at(StateDir+"/agent.new") {
		os.Remove(c.Self)
	}
	return nil
}

// ready refuses hosts that can't be served, before anything is changed.
func (c Config) ready() error {
	const op = "footprint.install"
	if c.Root == "" && os.Geteuid() != 0 {
		return fault.New(op, fault.Precondition, "", "the agent can only be installed by root").WithHint("log in as root or as a user who may use sudo")
	}
	if !exists(c.at("/run/systemd/system")) {
		return fault.New(op, fault.Precondition, "", "this host does not run systemd").WithHint("mctl needs a host with systemd")
	}
	return nil
}

// installSelf copies the running program to its place and reports whether another one was there.
func (c Config) installSelf() (changed bool, err error) {
	const op = "footprint.installSelf"
	target := c.at(Binary)
	if c.Self == target {
		return false, nil
	}
	source, err := os.ReadFile(c.Self)
	if err != nil {
		return false, fault.E(op, fault.Internal, c.Self, err)
	}
	if present, err := os.ReadFile(target); err == nil && bytes.Equal(present, source) {
		return false, nil
	}
	if err := os.MkdirAll(filepath.Dir(target), 0o755); err != nil {
		return false, fault.E(op, fault.Precondition, Binary, err)
	}
	return true, c.write(Binary, source, 0o755)
}

func (c Config) folder(path string) error {
	err := os.MkdirAll(c.at(path), 0o700)
	if err == nil {
		err = os.Chmod(c.at(path), 0o700)
	}
	if err != nil {
		return fault.E("footprint.folder", fault.Precondition, path, fmt.Errorf("can't make %s: %w", path, err))
	}
	return nil
}

// write replaces a file of ours, at once and for good.
func (c Config) write(path string, content []byte, mode fs.FileMode) error {
	full := c.at(path)
	err := renameio.WriteFile(full, content, mode, renameio.WithTempDir(filepath.Dir(full)), renameio.WithStaticPermissions(mode))
	if errors.Is(err, syscall.ENOSPC) {
		return fault.New("footprint.write", fault.Precondition, path, "the host's disk is full").WithHint("make room on the host, then retry")
	}
	if err != nil {
		return fault.E("footprint.write", fault.Precondition, path, fmt.Errorf("can't write %s: %w", path, err))
	}
	return nil
}

func exists(path string) bool {
	_, err := os.Lstat(path)
	return err == nil
}
