// Package sshtest is a pretended host for tests: an SSH server in this process that counts its connections, remembers each
// command, and runs a function instead of a shell.
package sshtest

import (
	"bytes"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/pem"
	"errors"
	"io"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"

	"golang.org/x/crypto/ssh"
)

// Shell runs a command and returns its exit status.
type Shell func(command string, stdin io.Reader, stdout, stderr io.Writer) int

// Host is a pretended host. Change its fields before Start alone.
type Host struct {
	User    string
	Keys    []ssh.Signer  // what it shows
	Allowed ssh.PublicKey // whom it lets in
	Shell   Shell
	// Mute hosts let people in and answer nothing after that.
	Mute bool
	// NoSockets and NoPorts are what it does not forward.
	NoSockets, NoPorts bool

	listener net.Listener
	workers  sync.WaitGroup
	mu       sync.Mutex
	refusals int
	count    int
	open     map[net.Conn]bool
	commands []Command
	forwards map[string]forward
}

// Command is what was asked of a host.
type Command struct {
	Text  string
	Stdin []byte
}

// NewKey makes a key, as a signer and as a file.
func NewKey(t testing.TB) (ssh.Signer, []byte) {
	t.Helper()
	_, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	signer, err := ssh.NewSignerFromKey(private)
	if err != nil {
		t.Fatal(err)
	}
	block, err := ssh.MarshalPrivateKey(private, "")
	if err != nil {
		t.Fatal(err)
	}
	return signer, pem.EncodeToMemory(block)
}

// Listen takes a port without serving it: connections are accepted by the system alone until Start.
func (h *Host) Listen(t testing.TB, address string) {
	t.Helper()
	listener, err := net.Listen("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	h.listener = listener
}

// Start serves until the test ends.
func (h *Host) Start(t testing.TB) {
	t.Helper()
	if h.listener == nil {
		h.Listen(t, "127.0.0.1:0")
	}
	h.open, h.forwards = map[net.Conn]bool{}, map[string]forward{}
	h.workers.Go(h.accept)
	t.Cleanup(h.Stop)
}

// Stop ends the server and its connections.
func (h *Host) Stop() {
	h.listener.Close()
	h.Drop()
	h.workers.Wait()
}

// Drop cuts all connections.
func (h *Host) Drop() {
	h.mu.Lock()
	defer h.mu.Unlock()
	for conn := range h.open {
		conn.Close()
	}
}

// Port is where the host listens, on 127.0.0.1.
func (h *Host) Port() uint16 { return uint16(h.listener.Addr().(*net.TCPAddr).Port) }

// RefuseNext has the host turn away so many logins whatever their key is.
func (h *Host) RefuseNext(n int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.refusals = n
}

// Connections is how many TCP connections were accepted.
func (h *Host) Connections() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.count
}

// Commands is what was asked so far.
func (h *Host) Commands() []Command {
	h.mu.Lock()
	defer h.mu.Unlock()
	return slices.Clone(h.commands)
}

func (h *Host) accept() {
	for {
		conn, err := h.listener.Accept()
		if err != nil {
			return
		}
		h.mu.Lock()
		h.count++
		h.open[conn] = true
		h.mu.Unlock()
		h.workers.Go(func() {
			h.serve(conn)
			h.mu.Lock()
			delete(h.open, conn)
			h.mu.Unlock()
		})
	}
}

func (h *Host) serve(conn net.Conn) {
	defer conn.Close()
	config := &ssh.ServerConfig{PublicKeyCallback: func(meta ssh.ConnMetadata, key ssh.PublicKey) (*ssh.Permissions, error) {
		h.mu.Lock()
		defer h.mu.Unlock()
		if h.refusals > 0 {
			h.refusals--
			return nil, errors.New("not yet")
		}
		if meta.User() != h.User || !bytes.Equal(key.Marshal(), h.Allowed.Marshal()) {
			return nil, errors.New("unknown key")
		}
		return nil, nil
	}}
	for _, key := range h.Keys {
		config.AddHostKey(key)
	}
	server, channels, requests, err := ssh.NewServerConn(conn, config)
	if err != nil {
		return
	}
	defer func() { _ = server.Close() }()
	if h.Mute {
		_ = server.Wait()
		return
	}
	h.workers.Go(func() { h.global(server, requests) })
	for offered := range channels {
		if offered.ChannelType() != "session" {
			_ = offered.Reject(ssh.UnknownChannelType, "sessions alone")
			continue
		}
		channel, asked, err := offered.Accept()
		if err != nil {
			return
		}
		h.workers.Go(func() { h.session(channel, asked) })
	}
}

func (h *Host) session(channel ssh.Channel, asked <-chan *ssh.Request) {
	defer func() { _ = channel.Close() }()
	for request := range asked {
		var exec struct{ Command string }
		if request.Type != "exec" || ssh.Unmarshal(request.Payload, &exec) != nil {
			_ = request.Reply(false, nil)
			continue
		}
		_ = request.Reply(true, nil)
		h.workers.Go(func() { ssh.DiscardRequests(asked) })
		var stdin bytes.Buffer
		status := h.Shell(exec.Command, io.TeeReader(channel, &stdin), channel, channel.Stderr())
		h.mu.Lock()
		h.commands = append(h.commands, Command{Text: exec.Command, Stdin: stdin.Bytes()})
		h.mu.Unlock()
		_, _ = channel.SendRequest("exit-status", false, ssh.Marshal(struct{ Status uint32 }{uint32(status)}))
		return
	}
}

// Line is a key in authorized_keys format.
func Line(key ssh.PublicKey) string { return strings.TrimSpace(string(ssh.MarshalAuthorizedKey(key))) }
