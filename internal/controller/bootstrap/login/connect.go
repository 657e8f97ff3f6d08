package login

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/hashicorp/go-hclog"
	"golang.org/x/crypto/ssh"

	"mctl/internal/fault"
)

// Pauses between two attempts to log in to a host that is booting. A refused login pauses longer, because servers punish
// those that come too often.
const (
	firstPause   = 100 * time.Millisecond
	maxPause     = time.Second
	refusedPause = 3 * time.Second
)

// Connection is one login. Close it.
type Connection struct {
	Machine  string
	Address  string   // host:port, fit for messages
	HostKeys []string // to pin, in authorized_keys format
	ctx      context.Context
	cancel   context.CancelCauseFunc
	client   *ssh.Client
	workers  sync.WaitGroup
}

// Connect logs in. While host.Wait lasts it tries again where that may help: the first connection that sshd accepts is the
// one that is used. fault.Unavailable when nobody answers, fault.Denied for a refused key or a changed host key. The
// connection ends with ctx.
func Connect(ctx context.Context, logger hclog.Logger, host Host, limits Limits, progress func(line string)) (*Connection, error) {
	keys, err := newHostKeys(host)
	if err != nil {
		return nil, err
	}
	if host.Port == 0 {
		host.Port = 22
	}
	a := attempt{
		host: host, keys: keys, limits: limits.WithDefaults(),
		address: net.JoinHostPort(host.Address, strconv.Itoa(int(host.Port))),
		config: &ssh.ClientConfig{
			User: host.User, Auth: []ssh.AuthMethod{ssh.PublicKeys(host.Signers...)},
			HostKeyCallback: keys.check, HostKeyAlgorithms: keys.algorithms(),
		},
	}
	logger = logger.With("machine", host.Machine, "address", a.address)
	deadline, told := time.Now().Add(host.Wait), ""
	for pause := firstPause; ; pause = min(pause*3/2, maxPause) {
		c, err := a.login(ctx)
		if err == nil {
			logger.Debug("logged in")
			return c, nil
		}
		wait, refused := pause, errors.As(err, new(*refusedError))
		switch {
		case refused && host.Learning:
			wait = refusedPause
		case !fault.Is(err, fault.Unavailable):
			return nil, err
		}
		if ctx.Err() != nil || time.Until(deadline) < wait {
			return nil, err
		}
		if reason := err.Error(); reason != told {
			logger.Debug("no login yet", "error", err)
			told = reason
			if refused {
				progress("Waiting until the host accepts our key...")
			}
		}
		timer := time.NewTimer(wait)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
		}
	}
}

// attempt is what each try to log in has in common.
type attempt struct {
	host    Host
	keys    *hostKeys
	limits  Limits
	address string
	config  *ssh.ClientConfig
}

// refusedError is a login that the host refused.
type refusedError struct{ error }

func (e *refusedError) Unwrap() error { return e.error }

// login makes one attempt, with one TCP connection.
func (a attempt) login(ctx context.Context) (*Connection, error) {
	dialer := net.Dialer{Timeout: a.limits.Dial}
	shown := Clean(a.address)
	conn, err := dialer.DialContext(ctx, "tcp", a.address)
	if err != nil {
		return nil, fault.E("login.Connect", fault.Unavailable, a.host.Machine, fmt.Errorf("can't reach %s: %w", shown, plain(err))).
			WithHint("check that the host is up, its address and SSH port, and the firewalls between")
	}
	ctx, cancel := context.WithCancelCause(ctx)
	context.AfterFunc(ctx, func() { conn.Close() })
	_ = conn.SetDeadline(time.Now().Add(a.limits.Handshake))
	transport, channels, requests, err := ssh.NewClientConn(conn, a.address, a.config)
	if err != nil {
		cause := context.Cause(ctx)
		cancel(err)
		return nil, notLoggedIn(a.host, shown, err, cause)
	}
	_ = conn.SetDeadline(time.Time{})
	c := &Connection{
		Machine: a.host.Machine, Address: shown, HostKeys: a.keys.lines(),
		ctx: ctx, cancel: cancel, client: ssh.NewClient(transport, channels, requests),
	}
	c.workers.Go(func() { c.keepAlive(a.limits.KeepAlive, a.limits.Silence) })
	return c, nil
}

func notLoggedIn(host Host, address string, err, cause error) error {
	const op = "login.Connect"
	var known *fault.Error
	var strange *ssh.AlgorithmNegotiationError
	text := err.Error()
	switch {
	case cause != nil:
		return fault.E(op, fault.Unavailable, host.Machine, fmt.Errorf("the login to %s was given up: %w", address, cause))
	case errors.As(err, &known):
		return known
	case strings.Contains(text, "unable to authenticate"), strings.Contains(text, "Too many authentication failures"):
		return &refusedError{fault.New(op, fault.Denied, host.Machine,
			fmt.Sprintf("%s does not let user %q in with this key", address, Clean(host.User))).
			WithHint("check the user and the key; its public half must be in the user's authorized_keys on the host")}
	case errors.As(err, &strange):
		return fault.E(op, fault.Precondition, host.Machine, fmt.Errorf("the SSH server at %s is too old or too strict for mctl: %s", address, Clean(text))).
			WithHint("update the host's SSH server")
	case strings.Contains(text, "version string"):
		return fault.New(op, fault.Precondition, host.Machine, fmt.Sprintf("what answers at %s is no SSH server", address)).
			WithHint("check the address and the SSH port")
	}
	return fault.E(op, fault.Unavailable, host.Machine, fmt.Errorf("the SSH server at %s did not let us log in: %w", address, plain(err))).
		WithHint("check that this is the port of sshd; if it is, see its log on the host")
}

// keepAlive ends the connection when the host went silent, so that no wait hangs on a dead one.
func (c *Connection) keepAlive(every, silence time.Duration) {
	ticker := time.NewTicker(every)
	defer ticker.Stop()
	for {
		select {
		case <-c.ctx.Done():
			return
		case <-ticker.C:
		}
		silent := time.AfterFunc(silence, func() { c.cancel(errSilent) })
		_, _, err := c.client.SendRequest("keepalive@openssh.com", true, nil)
		silent.Stop()
		if err != nil {
			c.cancel(err)
			return
		}
	}
}

// Close ends the connection and everything that waits on it.
func (c *Connection) Close() {
	_ = c.client.Close()
	c.cancel(nil)
	c.workers.Wait()
}

// OwnEnd is our end of the connection with another port: an address that the host can reach.
func (c *Connection) OwnEnd(port uint16) string {
	host, _, err := net.SplitHostPort(c.client.LocalAddr().String())
	if err != nil {
		host = c.client.LocalAddr().String()
	}
	return net.JoinHostPort(host, strconv.Itoa(int(port)))
}

// plain takes from a network's error what people can read.
func plain(err error) error {
	var dns *net.DNSError
	var number syscall.Errno
	var timeout net.Error
	switch {
	case errors.As(err, &dns):
		return errors.New("its name is not known")
	case errors.Is(err, io.EOF), errors.Is(err, syscall.ECONNRESET):
		return errors.New("it closed the connection")
	case errors.As(err, &number):
		return number
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return err
	case errors.As(err, &timeout) && timeout.Timeout():
		return errors.New("no answer")
	}
	return errors.New(Clean(strings.TrimPrefix(err.Error(), "ssh: handshake failed: ")))
}
