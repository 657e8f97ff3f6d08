//go:build linux

package gcloud

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"errors"
	"net"
	"net/http/httptest"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	"golang.org/x/crypto/ssh"

	"mctl/test/cloud/google"
	"mctl/test/cloud/host"
	"mctl/test/cloud/lab"
)

const (
	project = "lab-project"
	zone    = "us-central1-a"
	region  = "us-central1"
)

// world is a cloud of real hosts behind the front.
type world struct {
	*testing.T
	lab      *lab.Lab
	endpoint string
	signer   ssh.Signer
	key      string // authorized_keys line
	config   string // gcloud's own directory
}

func newWorld(t *testing.T, config google.Config) *world {
	t.Helper()
	_, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	signer, err := ssh.NewSignerFromKey(private)
	if err != nil {
		t.Fatal(err)
	}
	hosts, err := host.New(t.Context(), hclog.NewNullLogger())
	if err != nil {
		t.Fatal(err)
	}
	l, err := lab.New(t.Context(), lab.Config{Hosts: hosts})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(t.Context()), time.Minute)
		defer cancel()
		if left := l.Leftovers(); len(left) > 0 {
			t.Errorf("left in the cloud: %+v", left)
		}
		if err := l.Close(ctx); err != nil {
			t.Errorf("Close: %v", err)
		}
		if traces, err := hosts.Traces(ctx); err != nil || len(traces) > 0 {
			t.Errorf("left on this computer: %q %v", traces, err)
		}
	})
	front, err := google.New(t.Context(), l, config)
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(front)
	t.Cleanup(func() {
		server.Close()
		if wrong := front.Undocumented(); len(wrong) > 0 {
			t.Errorf("undocumented: %q", wrong)
		}
	})
	return &world{
		T: t, lab: l, endpoint: server.URL + google.BasePath, signer: signer, config: t.TempDir(),
		key: strings.TrimSpace(string(ssh.MarshalAuthorizedKey(signer.PublicKey()))),
	}
}

// gcloud runs it against the front, without credentials and with nothing of the user's own, and returns what it prints.
func (w *world) gcloud(arguments ...string) string {
	w.Helper()
	output, err := w.tryGcloud(arguments...)
	if err != nil {
		w.Fatalf("gcloud %s: %v", strings.Join(arguments, " "), err)
	}
	return output
}

func (w *world) tryGcloud(arguments ...string) (string, error) {
	w.Helper()
	ctx, cancel := context.WithTimeout(w.Context(), time.Minute)
	defer cancel()
	command := exec.CommandContext(ctx, "gcloud", append([]string{"compute"}, arguments...)...)
	command.Env = append(os.Environ(),
		"CLOUDSDK_CONFIG="+w.config, "CLOUDSDK_API_ENDPOINT_OVERRIDES_COMPUTE="+w.endpoint, "CLOUDSDK_AUTH_DISABLE_CREDENTIALS=true",
		"CLOUDSDK_CORE_PROJECT="+project, "CLOUDSDK_CORE_DISABLE_PROMPTS=true", "CLOUDSDK_CORE_DISABLE_USAGE_REPORTING=true",
		"CLOUDSDK_CORE_CHECK_GCE_METADATA=false", "CLOUDSDK_CORE_DISABLE_FILE_LOGGING=true", "CLOUDSDK_COMPONENT_MANAGER_DISABLE_UPDATE_CHECK=true")
	var stdout, stderr bytes.Buffer
	command.Stdout, command.Stderr, command.WaitDelay = &stdout, &stderr, time.Second
	err := command.Run()
	if err != nil {
		err = errors.Join(err, errors.New(stderr.String()))
	}
	return strings.TrimSpace(stdout.String()), err
}

// login logs in as soon as the host lets the user in.
func (w *world) login(address, user string) *ssh.Client {
	w.Helper()
	config := &ssh.ClientConfig{
		User: user, Auth: []ssh.AuthMethod{ssh.PublicKeys(w.signer)}, Timeout: time.Second,
		HostKeyCallback: ssh.InsecureIgnoreHostKey(), //nolint:gosec // it has just been made
	}
	var client *ssh.Client
	w.eventually("log in to "+address, func() (err error) {
		client, err = ssh.Dial("tcp", net.JoinHostPort(address, "22"), config)
		return err
	})
	w.Cleanup(func() { _ = client.Close() })
	return client
}

func (w *world) run(client *ssh.Client, command string) string {
	w.Helper()
	session, err := client.NewSession()
	if err != nil {
		w.Fatal(err)
	}
	defer session.Close()
	output, err := session.CombinedOutput(command)
	if err != nil {
		w.Fatalf("%s: %v\n%s", command, err, output)
	}
	return strings.TrimSpace(string(output))
}

// eventually tries what has no event of its own until it works.
func (w *world) eventually(what string, try func() error) {
	w.Helper()
	ctx, cancel := context.WithTimeout(w.Context(), 30*time.Second)
	defer cancel()
	ticker := time.NewTicker(100 * time.Millisecond)
	defer ticker.Stop()
	for {
		err := try()
		if err == nil {
			return
		}
		select {
		case <-ticker.C:
		case <-ctx.Done():
			w.Fatalf("%s: %v", what, err)
		}
	}
}

// reach dials a port.
func reach(address, port string) error {
	conn, err := net.DialTimeout("tcp", net.JoinHostPort(address, port), time.Second)
	if err == nil {
		conn.Close()
	}
	return err
}

// serve has a host answer on a port.
func (w *world) serve(client *ssh.Client, port string) {
	w.Helper()
	w.run(client, "sudo systemd-run --quiet systemd-socket-activate --inetd --accept --listen="+port+" /bin/cat && until ss -ltn | grep -q :"+port+"; do sleep 0.1; done")
}
