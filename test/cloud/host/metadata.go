//go:build linux

package host

import (
	"archive/tar"
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"

	"mctl/test/cloud/host/cloudinit"
	"mctl/test/cloud/lab"
)

const (
	// consoleRoom is how much of a console is kept, as clouds do.
	consoleRoom = 1 << 20
	// pollLimit is how long a host is kept waiting for a change.
	pollLimit = 30 * time.Second
	// defaultUser is who user data means when it names nobody.
	defaultUser = "debian"
)

// metadata tells hosts who they are. It knows them by their addresses.
type metadata struct {
	logger   hclog.Logger
	server   *http.Server
	listener net.Listener

	mu       sync.Mutex
	guests   map[string]*guest // by private address
	consoles map[uint64]*bytes.Buffer
}

// guest is what one host is told.
type guest struct {
	host    lab.Host
	version int
	changed chan struct{} // closed at the next change
}

func newMetadata(logger hclog.Logger) *metadata {
	m := &metadata{logger: logger, guests: map[string]*guest{}, consoles: map[uint64]*bytes.Buffer{}}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /lab/guest", m.asked(m.tell))
	mux.HandleFunc("GET /lab/startup-script", m.asked(m.startupScript))
	mux.HandleFunc("GET /computeMetadata/v1/instance/attributes/{key}", m.asked(m.attribute))
	mux.HandleFunc("GET /lab/first-boot.tar", m.asked(m.firstBoot))
	mux.HandleFunc("PUT /lab/console", m.asked(m.listenTo))
	m.server = &http.Server{Handler: mux, ReadHeaderTimeout: 10 * time.Second}
	return m
}

// listen begins to serve at an address of this computer that hosts reach.
func (m *metadata) listen(address netip.Addr) error {
	listener, err := net.Listen("tcp", net.JoinHostPort(address.String(), "0"))
	if err != nil {
		return err
	}
	m.listener = listener
	go func() {
		if err := m.server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
			m.logger.Error("metadata ended", "error", err)
		}
	}()
	return nil
}

func (m *metadata) address() string { return m.listener.Addr().String() }

// close ends the service; hosts hold connections open, which are cut.
func (m *metadata) close() { _ = m.server.Close() }

// inform sets what a host is told. One that boots begins a new console.
func (m *metadata) inform(host lab.Host, boots bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	g := m.guests[host.Address.String()]
	if g == nil || g.host.Instance != host.Instance {
		g = &guest{changed: make(chan struct{})}
		m.guests[host.Address.String()] = g
	}
	g.host, g.version = host, g.version+1
	close(g.changed)
	g.changed = make(chan struct{})
	if boots || m.consoles[host.Instance] == nil {
		m.consoles[host.Instance] = &bytes.Buffer{}
	}
}

func (m *metadata) console(instance uint64) string {
	m.mu.Lock()
	defer m.mu.Unlock()
	if b := m.consoles[instance]; b != nil {
		return b.String()
	}
	return ""
}

// asked finds out who asks.
func (m *metadata) asked(answer func(http.ResponseWriter, *http.Request, *guest)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		from, err := netip.ParseAddrPort(r.RemoteAddr)
		m.mu.Lock()
		g := m.guests[from.Addr().Unmap().String()]
		m.mu.Unlock()
		if err != nil || g == nil {
			http.Error(w, "who are you?", http.StatusForbidden)
			return
		}
		answer(w, r, g)
	}
}

// tell says who may log in, a word and a value on each line, as soon as that differs from what the host has seen.
func (m *metadata) tell(w http.ResponseWriter, r *http.Request, g *guest) {
	seen, _ := strconv.Atoi(r.URL.Query().Get("seen"))
	timer := time.NewTimer(pollLimit)
	defer timer.Stop()
	m.mu.Lock()
	version, changed := g.version, g.changed
	m.mu.Unlock()
	if version == seen {
		select {
		case <-changed:
		case <-timer.C:
		case <-r.Context().Done():
			return
		}
	}
	m.mu.Lock()
	host, version := g.host, g.version
	m.mu.Unlock()
	hostname, users := m.identity(host)
	fmt.Fprintf(w, "version %d\nhostname %s\n", version, oneLine(hostname))
	for _, u := range users {
		fmt.Fprintf(w, "user %s\n", u.Name)
		for _, key := range u.Keys {
			fmt.Fprintf(w, "key %s\n", oneLine(key))
		}
	}
	fmt.Fprintf(w, "end\n") // an answer that was cut short changes nothing
}

var accountName = regexp.MustCompile(`^[a-z_][a-z0-9_-]{0,31}$`)

// identity is the name and the users of the metadata and of the user data. Names that are no accounts are passed over, as
// guest agents do.
func (m *metadata) identity(host lab.Host) (hostname string, all []lab.User) {
	hostname = host.Guest.Hostname
	users := slices.Clone(host.Guest.Users)
	if c, err := cloudinit.Parse(host.Guest.UserData, defaultUser); err == nil {
		if c.Hostname != "" {
			hostname = c.Hostname
		}
		for _, u := range c.Users {
			users = append(users, lab.User{Name: u.Name, Keys: u.Keys})
		}
	}
	var merged []lab.User
	for _, u := range users {
		if !accountName.MatchString(u.Name) {
			m.logger.Info("a user is passed over", "name", u.Name)
			continue
		}
		n := slices.IndexFunc(merged, func(other lab.User) bool { return other.Name == u.Name })
		if n < 0 {
			n, merged = len(merged), append(merged, lab.User{Name: u.Name})
		}
		merged[n].Keys = slices.Concat(merged[n].Keys, u.Keys)
	}
	return hostname, merged
}

func oneLine(text string) string { return strings.Join(strings.Fields(text), " ") }

func (m *metadata) startupScript(w http.ResponseWriter, _ *http.Request, g *guest) {
	m.mu.Lock()
	script := g.host.Guest.StartupScript
	m.mu.Unlock()
	if script == "" {
		w.WriteHeader(http.StatusNotFound)
		return
	}
	_, _ = io.WriteString(w, script)
}

// attribute answers as Google's metadata server does, which wants a header that no browser sends.
func (m *metadata) attribute(w http.ResponseWriter, r *http.Request, g *guest) {
	m.mu.Lock()
	value, ok := g.host.Guest.Attributes[r.PathValue("key")]
	m.mu.Unlock()
	switch {
	case r.Header.Get("Metadata-Flavor") != "Google":
		http.Error(w, "Missing Metadata-Flavor:Google header.", http.StatusForbidden)
	case !ok:
		http.NotFound(w, r)
	default:
		_, _ = io.WriteString(w, value)
	}
}

// firstBoot is what user data asks for: files where they belong, and commands below /var/lib/lab/first-boot in their order:
// NNN.sh for a shell, NNN.argv for a program, its arguments ended by NUL.
func (m *metadata) firstBoot(w http.ResponseWriter, _ *http.Request, g *guest) {
	m.mu.Lock()
	data := g.host.Guest.UserData
	m.mu.Unlock()
	c, err := cloudinit.Parse(data, defaultUser)
	if err != nil {
		c = cloudinit.Config{Commands: []cloudinit.Command{{Arguments: []string{"echo", err.Error()}}}}
	}
	archive := tar.NewWriter(w)
	defer archive.Close()
	write := func(name string, mode int64, content string) {
		header := &tar.Header{Name: strings.TrimPrefix(name, "/"), Mode: mode, Size: int64(len(content)), Typeflag: tar.TypeReg, ModTime: time.Now()}
		if err := archive.WriteHeader(header); err == nil {
			_, _ = io.WriteString(archive, content)
		}
	}
	for _, f := range c.Files {
		mode, _ := f.Mode()
		write(f.Path, mode, f.Content)
	}
	const dir = "/var/lib/lab/first-boot/"
	for n, command := range c.Commands {
		if command.Arguments != nil {
			write(fmt.Sprintf("%s%03d.argv", dir, n), 0o600, strings.Join(command.Arguments, "\x00")+"\x00")
			continue
		}
		script := command.Script
		if !strings.HasPrefix(script, "#!") {
			script = "#!/bin/sh\n" + script + "\n"
		}
		write(fmt.Sprintf("%s%03d.sh", dir, n), 0o700, script)
	}
}

// listenTo takes what a host says on its console.
func (m *metadata) listenTo(_ http.ResponseWriter, r *http.Request, g *guest) {
	m.mu.Lock()
	console := m.consoles[g.host.Instance]
	m.mu.Unlock()
	buffer := make([]byte, 4096)
	for {
		n, err := r.Body.Read(buffer)
		m.mu.Lock()
		if console.Len() < consoleRoom {
			console.Write(buffer[:n])
		}
		m.mu.Unlock()
		if err != nil {
			return
		}
	}
}
