package credential_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"mctl/internal/fault"
	"mctl/internal/mctl/controllertest"
	"mctl/internal/mctl/credential"
	"mctl/internal/mctl/state"
	controllerv1 "mctl/proto/mctl/controller/v1"
)

// keeper keeps credentials in an empty state directory and counts how often it had to ask.
func keeper(t *testing.T, a *controllertest.Authority) (credential.Docker, *atomic.Int32) {
	t.Helper()
	asked := new(atomic.Int32)
	return credential.Docker{
		Dir: state.Dir{Root: t.TempDir()}, Now: time.Now,
		Sign: func(_ context.Context, _ string, csr []byte) (*controllerv1.IssueClientCertificateResponse, error) {
			asked.Add(1)
			return a.Issue(csr)
		},
	}, asked
}

func TestMachinesOfOneAuthorityShareOneCertificate(t *testing.T) {
	docker, asked := keeper(t, controllertest.NewAuthority(t))
	for _, name := range []string{"web", "db", "web"} {
		folder, err := docker.Ensure(t.Context(), controllertest.Running(name, "10.0.0.1"), false)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := tls.LoadX509KeyPair(folder.File("cert.pem"), folder.File("key.pem")); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		for file, mode := range map[string]os.FileMode{"key.pem": 0o600, "cert.pem": 0o644, "ca.pem": 0o644} {
			if info, err := os.Stat(folder.File(file)); err != nil || info.Mode().Perm() != mode {
				t.Errorf("%s has mode %v, %v", file, info.Mode(), err)
			}
		}
	}
	if asked.Load() != 1 {
		t.Errorf("%d certificates were asked for", asked.Load())
	}
}

func TestCertificateIsRenewedAtHalfItsLifeOrByForce(t *testing.T) {
	docker, asked := keeper(t, controllertest.NewAuthority(t))
	m := controllertest.Running("web", "10.0.0.1")
	ensure := func(force bool) {
		t.Helper()
		if _, err := docker.Ensure(t.Context(), m, force); err != nil {
			t.Fatal(err)
		}
	}
	ensure(false)
	key, err := os.ReadFile(docker.Dir.Machine("web").File("key.pem"))
	if err != nil {
		t.Fatal(err)
	}
	ensure(true)
	docker.Now = func() time.Time { return time.Now().Add(40 * time.Minute) }
	ensure(false)
	if asked.Load() != 3 {
		t.Errorf("asked %d times, want 3", asked.Load())
	}
	if again, _ := os.ReadFile(docker.Dir.Machine("web").File("key.pem")); !bytes.Equal(key, again) {
		t.Error("the key was made anew")
	}
}

func TestBrokenFilesAreReplacedOrTold(t *testing.T) {
	docker, asked := keeper(t, controllertest.NewAuthority(t))
	m := controllertest.Running("web", "10.0.0.1")
	certs := filepath.Join(docker.Dir.Certs(), "default")
	if _, err := docker.Ensure(t.Context(), m, false); err != nil {
		t.Fatal(err)
	}
	for _, text := range []string{"", "no certificate"} {
		if err := os.WriteFile(filepath.Join(certs, "cert.pem"), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := docker.Ensure(t.Context(), m, false); err != nil {
			t.Errorf("certificate %q: %v", text, err)
		}
	}
	if err := os.Remove(filepath.Join(certs, "key.pem")); err != nil {
		t.Fatal(err)
	}
	if _, err := docker.Ensure(t.Context(), m, false); err != nil || asked.Load() != 4 {
		t.Errorf("a key that was lost: %v, asked %d times", err, asked.Load())
	}
	if err := os.WriteFile(filepath.Join(certs, "key.pem"), []byte("no key"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := docker.Ensure(t.Context(), m, false); !fault.Is(err, fault.Precondition) || fault.HintOf(err) == "" {
		t.Errorf("a key that can't be read: %v", err)
	}
}

func TestManyAtOnceMakeOneKey(t *testing.T) {
	docker, _ := keeper(t, controllertest.NewAuthority(t))
	var group sync.WaitGroup
	for i := range 20 {
		group.Go(func() {
			if _, err := docker.Ensure(t.Context(), controllertest.Running("host"+string(rune('a'+i)), "10.0.0.1"), false); err != nil {
				t.Error(err)
			}
		})
	}
	group.Wait()
	for i := range 20 {
		folder := docker.Dir.Machine("host" + string(rune('a'+i)))
		if _, err := tls.LoadX509KeyPair(folder.File("cert.pem"), folder.File("key.pem")); err != nil {
			t.Errorf("%s: %v", folder.Name, err)
		}
	}
	if entries, _ := os.ReadDir(filepath.Join(docker.Dir.Certs(), "default")); len(entries) != 3 {
		t.Errorf("left behind: %v", entries)
	}
}

func TestControllerHasNoSayInWhereFilesGo(t *testing.T) {
	for name, change := range map[string]func(*controllerv1.Machine){
		"an authority above":       func(m *controllerv1.Machine) { m.Status.Authority = ".." },
		"an authority elsewhere":   func(m *controllerv1.Machine) { m.Status.Authority = "../../x" },
		"an authority of no name":  func(m *controllerv1.Machine) { m.Status.Authority = "." },
		"no authority yet":         func(m *controllerv1.Machine) { m.Status.Authority = "" },
		"a machine's name outside": func(m *controllerv1.Machine) { m.Name = "../web" },
	} {
		docker, asked := keeper(t, controllertest.NewAuthority(t))
		m := controllertest.Running("web", "10.0.0.1")
		change(m)
		if _, err := docker.Ensure(t.Context(), m, false); err == nil || asked.Load() > 0 {
			t.Errorf("%s: %v, asked %d times", name, err, asked.Load())
		}
		if _, err := os.Stat(docker.Dir.Certs()); err == nil {
			t.Errorf("%s: something was written", name)
		}
	}
}

func TestForeignFolderStopsIt(t *testing.T) {
	docker, _ := keeper(t, controllertest.NewAuthority(t))
	foreign := docker.Dir.Machine("web")
	if err := os.MkdirAll(foreign.Path, 0o755); err != nil {
		t.Fatal(err)
	}
	if _, err := docker.Ensure(t.Context(), controllertest.Running("web", "10.0.0.1"), false); !fault.Is(err, fault.Exists) {
		t.Errorf("%v", err)
	}
	if entries, _ := os.ReadDir(foreign.Path); len(entries) > 0 {
		t.Errorf("it holds %v now", entries)
	}
}

func TestRefusalOfTheControllerIsPassedOn(t *testing.T) {
	docker, _ := keeper(t, controllertest.NewAuthority(t))
	refusal := errors.New("no")
	docker.Sign = func(context.Context, string, []byte) (*controllerv1.IssueClientCertificateResponse, error) {
		return nil, refusal
	}
	if _, err := docker.Ensure(t.Context(), controllertest.Running("web", "10.0.0.1"), false); !errors.Is(err, refusal) {
		t.Errorf("%v", err)
	}
}
