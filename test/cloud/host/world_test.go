//go:build linux

package host_test

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	"go.uber.org/goleak"
	"golang.org/x/crypto/ssh"

	"mctl/test/cloud/host"
	"mctl/test/cloud/lab"
)

func TestMain(m *testing.M) {
	if os.Getenv("MCTL_E2E") == "" {
		fmt.Fprintln(os.Stderr, "skipped: test/cloud/host (make test runs it)")
		os.Exit(0)
	}
	goleak.VerifyTestMain(m)
}

// world is a cloud of real hosts with one network, in which nothing but port 22 is open.
type world struct {
	*testing.T
	lab     *lab.Lab
	hosts   *host.Hosts
	signer  ssh.Signer
	key     string // authorized_keys line
	network lab.Ref
	subnet  lab.Ref
}

const scope = "test"

func named(name string) lab.Ref { return lab.Ref{Scope: scope, Name: name} }

func newWorld(t *testing.T) *world {
	t.Helper()
	_, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	signer, err := ssh.NewSignerFromKey(private)
	if err != nil {
		t.Fatal(err)
	}
	hosts, err := host.New(t.Context(), hclog.New(&hclog.LoggerOptions{Output: testWriter{t}, Level: hclog.Info}))
	if err != nil {
		t.Fatal(err)
	}
	l, err := lab.New(t.Context(), lab.Config{Hosts: hosts})
	if err != nil {
		t.Fatal(err)
	}
	w := &world{T: t, lab: l, hosts: hosts, signer: signer, key: strings.TrimSpace(string(ssh.MarshalAuthorizedKey(signer.PublicKey()))), network: named("net"), subnet: named("sub")}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(t.Context()), time.Minute)
		defer cancel()
		if err := l.Close(ctx); err != nil {
			t.Errorf("Close: %v", err)
		}
		if left := traces(t, hosts); len(left) > 0 {
			t.Errorf("left behind: %q", left)
		}
	})
	w.must(w.call().CreateNetwork(lab.Network{Record: lab.Record{Ref: w.network}}, lab.Operation{}))
	w.must(w.call().CreateSubnet(lab.Subnet{Record: lab.Record{Ref: w.subnet}, Network: w.network}, lab.Operation{}))
	w.must(w.call().CreateRule(w.rule("ssh", 22), lab.Operation{}))
	l.Seal()
	return w
}

type testWriter struct{ t *testing.T }

func (w testWriter) Write(p []byte) (int, error) {
	w.t.Log(strings.TrimSpace(string(p)))
	return len(p), nil
}

// traces is what there is of a lab on this computer.
func traces(t *testing.T, hosts *host.Hosts) []string {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(t.Context()), 20*time.Second)
	defer cancel()
	found, err := hosts.Traces(ctx)
	if err != nil {
		t.Fatal(err)
	}
	return found
}

// call admits one.
func (w *world) call() *lab.Call {
	w.Helper()
	c, err := w.lab.Admit(w.Context(), "call", scope, "")
	if err != nil {
		w.Fatal(err)
	}
	return c
}

// end waits for an operation.
func (w *world) end(o lab.Operation, err error) lab.Operation {
	w.Helper()
	if err != nil {
		w.Fatal(err)
	}
	if o, err = w.lab.WaitOperation(w.Context(), o.Ref, time.Minute); err != nil || o.Ended.IsZero() {
		w.Fatalf("operation %s: %v", o.Name, err)
	}
	return o
}

func (w *world) must(o lab.Operation, err error) {
	w.Helper()
	if o = w.end(o, err); o.Err != nil {
		w.Fatalf("operation %s: %v", o.Name, o.Err)
	}
}

// rule lets everybody in on a TCP port, to all or to those with a tag.
func (w *world) rule(name string, port uint16, targets ...string) lab.Rule {
	return lab.Rule{
		Record: lab.Record{Ref: named(name)}, Network: w.network, Priority: 1000, Allow: true, Targets: targets,
		Traffic: []lab.Pass{{Protocol: "tcp", Ports: []lab.Ports{{First: port, Last: port}}}},
	}
}

// spec is an instance with a public address, whose user "ops" the test can log in as.
func (w *world) spec(name string) lab.InstanceSpec {
	var s lab.InstanceSpec
	s.Ref, s.Subnet, s.HasPublic = named(name), w.subnet, true
	s.Guest = lab.Guest{Hostname: name, Users: []lab.User{{Name: "ops", Keys: []string{w.key}}}}
	s.Disks = []lab.DiskSpec{{Disk: lab.Disk{Record: lab.Record{Ref: named(name)}}, New: true, Boot: true, AutoDelete: true}}
	return s
}

func (w *world) create(spec lab.InstanceSpec) lab.Instance {
	w.Helper()
	w.must(w.call().CreateInstance(spec, lab.Operation{}))
	return w.get(spec.Name)
}

func (w *world) get(name string) lab.Instance {
	w.Helper()
	i, err := w.lab.Instance(w.Context(), named(name))
	if err != nil {
		w.Fatal(err)
	}
	return i
}

// login logs in as soon as the host lets the user in.
func (w *world) login(address netip.Addr, user string) *ssh.Client {
	w.Helper()
	client, err := w.tryLogin(address, user, 30*time.Second)
	if err != nil {
		w.Fatalf("log in as %s at %s: %v", user, address, err)
	}
	return client
}

func (w *world) tryLogin(address netip.Addr, user string, limit time.Duration) (*ssh.Client, error) {
	w.Helper()
	config := &ssh.ClientConfig{
		User: user, Auth: []ssh.AuthMethod{ssh.PublicKeys(w.signer)}, Timeout: time.Second,
		HostKeyCallback: ssh.InsecureIgnoreHostKey(), //nolint:gosec // it has just been made
	}
	var client *ssh.Client
	err := w.within(limit, func() (err error) {
		client, err = ssh.Dial("tcp", net.JoinHostPort(address.String(), "22"), config)
		return err
	})
	if err == nil {
		w.Cleanup(func() { _ = client.Close() })
	}
	return client, err
}

// within tries until it works or the limit is reached.
func (w *world) within(limit time.Duration, try func() error) error {
	ctx, cancel := context.WithTimeout(w.Context(), limit)
	defer cancel()
	ticker := time.NewTicker(100 * time.Millisecond)
	defer ticker.Stop()
	for {
		err := try()
		if err == nil {
			return nil
		}
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return err
		}
	}
}

// eventually waits for what has no event of its own.
func (w *world) eventually(what string, met func() bool) {
	w.Helper()
	err := w.within(20*time.Second, func() error {
		if !met() {
			return errors.New("not yet")
		}
		return nil
	})
	if err != nil {
		w.Fatalf("%s: %v", what, err)
	}
}

// reachFrom dials a port of a host from another.
func (w *world) reachFrom(client *ssh.Client, address netip.Addr, port int) error {
	w.Helper()
	_, err := try(client, fmt.Sprintf("timeout 1 bash -c '</dev/tcp/%s/%d'", address, port))
	return err
}

// reach dials a port of a host.
func reach(address netip.Addr, port int) error {
	conn, err := net.DialTimeout("tcp", fmt.Sprintf("%s:%d", address, port), time.Second)
	if err == nil {
		conn.Close()
	}
	return err
}

func (w *world) run(client *ssh.Client, command string) string {
	w.Helper()
	output, err := try(client, command)
	if err != nil {
		w.Fatalf("%s: %v\n%s", command, err, output)
	}
	return output
}

func try(client *ssh.Client, command string) (string, error) {
	session, err := client.NewSession()
	if err != nil {
		return "", err
	}
	defer session.Close()
	output, err := session.CombinedOutput(command)
	return strings.TrimSpace(string(output)), err
}
