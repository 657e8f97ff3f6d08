package bootstrap

import (
	"bytes"
	"compress/gzip"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"mctl/internal/fault"
	"mctl/internal/pki"
)

// server is a controller that gives agents away, under a certificate of its own authority.
type server struct {
	*httptest.Server
	authority []byte // PEM
	given     []byte
	asked     int
}

func newServer(t *testing.T) *server {
	t.Helper()
	key, errKey := pki.NewKey()
	own, errOwn := pki.NewKey()
	root, err := pki.NewAuthority("control", key, time.Now(), time.Hour)
	if err != nil || errKey != nil || errOwn != nil {
		t.Fatal(err, errKey, errOwn)
	}
	leaf, err := pki.Sign(pki.Leaf{
		CommonName: "controller", URI: pki.ControllerURI(), SANs: []string{pki.ControllerName}, Usage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		NotBefore: time.Now().Add(-time.Minute), NotAfter: time.Now().Add(time.Hour),
	}, own.Public(), root, key)
	if err != nil {
		t.Fatal(err)
	}
	s := &server{authority: pki.EncodeCertificates(root)}
	s.Server = httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.asked++
		if !strings.HasPrefix(r.URL.Path, "/agent/linux-") {
			http.NotFound(w, r)
			return
		}
		_, _ = w.Write(s.given)
	}))
	s.TLS = &tls.Config{MinVersion: tls.VersionTLS13, Certificates: []tls.Certificate{{Certificate: [][]byte{leaf.Raw, root.Raw}, PrivateKey: own}}}
	s.StartTLS()
	t.Cleanup(s.Close)
	return s
}

// joins runs the script as a host does, below a directory of the test's.
func joins(t *testing.T, dir, script string, values []byte) (string, error) {
	t.Helper()
	script = strings.ReplaceAll(script, "state=/var/lib/mctl", "state="+dir)
	script = strings.ReplaceAll(script, "-ge 100", "-ge 1") // it gives up at the first try
	command := exec.Command("sh", "-c", script+"\nmctl_join")
	command.Stdin = bytes.NewReader(values)
	output, err := command.CombinedOutput()
	return string(output), err
}

func TestAHostFetchesTheAgentAndHasItInstallItself(t *testing.T) {
	w, s, dir := newWorld(t), newServer(t), t.TempDir()
	const agent = "#!/bin/sh\necho \"$1\" >>\"$0.log\"; cat >\"$(dirname \"$(dirname \"$0\")\")/orders\"; cp \"$0.log\" \"$(dirname \"$(dirname \"$0\")\")/log.$$\"\n"
	w.build("amd64", agent)
	w.build("arm64", agent)
	var packed bytes.Buffer
	zip := gzip.NewWriter(&packed)
	_, _ = zip.Write([]byte(agent))
	_ = zip.Close()
	s.given = packed.Bytes()
	payload := Payload{MachineUID: "uid-1", Ticket: "mj1.a.b.c", Hostname: "web", Endpoints: []string{"127.0.0.1:1", s.Listener.Addr().String()}}
	data, err := w.installer.UserData(payload, 2377, s.authority)
	if err != nil {
		t.Fatal(err)
	}
	for range 2 { // it runs at each boot
		if output, err := joins(t, dir, data.Script, data.Values); err != nil {
			t.Fatalf("%v: %s", err, output)
		}
	}
	if logs, _ := filepath.Glob(dir + "/log.*"); len(logs) != 1 || s.asked != 1 {
		t.Errorf("installed %d times, fetched %d times", len(logs), s.asked)
	}
	var told orders
	text, err := os.ReadFile(filepath.Join(dir, "orders"))
	if err != nil || json.Unmarshal(text, &told) != nil || told.Ticket != payload.Ticket || told.EnginePort != 2377 || told.Hostname != "web" || told.Adopted {
		t.Errorf("%v: the agent was told %s", err, text)
	}
	// A fresh ticket is news.
	payload.Ticket = "mj1.d.e.f"
	if data, err = w.installer.UserData(payload, 2377, s.authority); err != nil {
		t.Fatal(err)
	}
	if output, err := joins(t, dir, data.Script, data.Values); err != nil || s.asked != 2 {
		t.Errorf("%v: %s", err, output)
	}
	if left, _ := filepath.Glob(dir + "/boot.*"); len(left) != 1 {
		t.Errorf("left are %v", left)
	}
}

func TestAHostTakesNoAgentFromAStrangerAndNoOtherProgram(t *testing.T) {
	w, s := newWorld(t), newServer(t)
	payload := Payload{MachineUID: "uid-1", Ticket: "mj1.a.b.c", Endpoints: []string{s.Listener.Addr().String()}}
	stranger, err := w.installer.UserData(payload, 2376, newServer(t).authority)
	if err != nil {
		t.Fatal(err)
	}
	if output, err := joins(t, t.TempDir(), stranger.Script, stranger.Values); err == nil || !strings.Contains(output, "could not be fetched") || s.asked != 0 {
		t.Errorf("a stranger: %v: %s", err, output)
	}
	var packed bytes.Buffer
	zip := gzip.NewWriter(&packed)
	_, _ = zip.Write([]byte("#!/bin/sh\ntouch /tmp/never\n"))
	_ = zip.Close()
	s.given = packed.Bytes()
	data, err := w.installer.UserData(payload, 2376, s.authority)
	if err != nil {
		t.Fatal(err)
	}
	if output, err := joins(t, t.TempDir(), data.Script, data.Values); err == nil || !strings.Contains(output, "not the agent") {
		t.Errorf("another program: %v: %s", err, output)
	}
}

func TestUserDataAreForOneMachineAndHideNothingInTheirScript(t *testing.T) {
	w := newWorld(t)
	payload := Payload{MachineUID: "uid-1", Ticket: "mj1.a.b.c", Endpoints: []string{"$(reboot):1", "`id`;:2"}}
	data, err := w.installer.UserData(payload, 2376, []byte("PEM"))
	if err != nil || data.Script != userDataScript {
		t.Fatalf("%v: the script depends on what it is for", err)
	}
	if output, err := joins(t, t.TempDir(), data.Script, data.Values); err == nil || strings.Contains(output, "uid=") {
		t.Errorf("values were run: %v: %s", err, output)
	}
	if shown := fmt.Sprintf("%v %+v %#v", data, data, data); strings.Contains(shown, "mj1") {
		t.Errorf("the ticket is shown: %s", shown)
	}
	for _, bad := range []string{"", "a b", "a\nagent-x86_64 amd64 0"} {
		payload.Endpoints = []string{bad}
		if _, err := w.installer.UserData(payload, 2376, nil); !fault.Is(err, fault.Precondition) {
			t.Errorf("the endpoint %q: %v", bad, err)
		}
	}
	empty := New(Config{Logger: w.installer.logger, AgentDir: t.TempDir()})
	payload.Endpoints = []string{"a:1"}
	if _, err := empty.UserData(payload, 2376, nil); !fault.Is(err, fault.Precondition) || fault.HintOf(err) == "" {
		t.Errorf("no agents: %v", err)
	}
}
