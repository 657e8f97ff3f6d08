package login

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"errors"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	"go.uber.org/goleak"
	"golang.org/x/crypto/ssh"

	"mctl/internal/controller/bootstrap/sshtest"
	"mctl/internal/fault"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func ignore(string) {}

// pretend starts a host that echoes, and returns how to log in to it.
func pretend(t *testing.T, change ...func(*sshtest.Host)) (*sshtest.Host, Host) {
	t.Helper()
	user, _ := sshtest.NewKey(t)
	shown, _ := sshtest.NewKey(t)
	server := &sshtest.Host{User: "admin", Keys: []ssh.Signer{shown}, Allowed: user.PublicKey(), Shell: echo}
	for _, f := range change {
		f(server)
	}
	server.Start(t)
	return server, Host{Machine: "web", Address: "127.0.0.1", Port: server.Port(), User: "admin", Signers: []ssh.Signer{user}}
}

func echo(_ string, stdin io.Reader, stdout, _ io.Writer) int {
	_, _ = io.Copy(stdout, stdin)
	return 0
}

func connect(t *testing.T, host Host, limits Limits) (*Connection, error) {
	t.Helper()
	c, err := Connect(t.Context(), hclog.NewNullLogger(), host, limits, ignore)
	if err == nil {
		t.Cleanup(c.Close)
	}
	return c, err
}

func TestTheHostKeyIsPinnedAtFirstContactAndCheckedEverAfter(t *testing.T) {
	server, host := pretend(t)
	c, err := connect(t, host, Limits{})
	if err != nil {
		t.Fatal(err)
	}
	if len(c.HostKeys) != 1 || c.HostKeys[0] != sshtest.Line(server.Keys[0].PublicKey()) {
		t.Fatalf("pinned %v", c.HostKeys)
	}
	host.HostKeys = c.HostKeys
	if _, err := connect(t, host, Limits{}); err != nil {
		t.Fatalf("the same key: %v", err)
	}
	other, _ := sshtest.NewKey(t)
	host.HostKeys = []string{sshtest.Line(other.PublicKey())}
	host.Wait = time.Minute
	_, err = connect(t, host, Limits{})
	if !fault.Is(err, fault.Denied) || fault.HintOf(err) == "" || fault.SubjectOf(err) != "web" {
		t.Fatalf("a changed key: %v", err)
	}
	for _, key := range []ssh.PublicKey{server.Keys[0].PublicKey(), other.PublicKey()} {
		if !strings.Contains(err.Error(), ssh.FingerprintSHA256(key)) {
			t.Errorf("%q does not have %s", err, ssh.FingerprintSHA256(key))
		}
	}
}

func TestAPinnedKeyOfAnyTypeIsFoundAmongSeveral(t *testing.T) {
	edwards, _ := sshtest.NewKey(t)
	curve, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	number, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	keys := []ssh.Signer{edwards}
	for _, key := range []any{curve, number} {
		signer, err := ssh.NewSignerFromKey(key)
		if err != nil {
			t.Fatal(err)
		}
		keys = append(keys, signer)
	}
	_, host := pretend(t, func(h *sshtest.Host) { h.Keys = keys })
	for _, key := range keys {
		host.HostKeys = []string{sshtest.Line(key.PublicKey())}
		c, err := connect(t, host, Limits{})
		if err != nil {
			t.Errorf("%s: %v", key.PublicKey().Type(), err)
		} else if c.HostKeys[0] != host.HostKeys[0] {
			t.Errorf("%s: pinned %v then", key.PublicKey().Type(), c.HostKeys)
		}
	}
	// A host that has another type of key alone is a changed host, with its fingerprint.
	_, host = pretend(t)
	host.HostKeys = []string{sshtest.Line(keys[2].PublicKey())}
	if _, err := connect(t, host, Limits{}); !fault.Is(err, fault.Denied) || strings.Count(err.Error(), "SHA256:") != 2 {
		t.Errorf("another type: %v", err)
	}
}

func TestOneConnectionIsMadeHoweverLateSSHDListens(t *testing.T) {
	probe, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := probe.Addr().String()
	probe.Close()
	user, _ := sshtest.NewKey(t)
	shown, _ := sshtest.NewKey(t)
	server := &sshtest.Host{User: "root", Keys: []ssh.Signer{shown}, Allowed: user.PublicKey(), Shell: echo}
	late := time.AfterFunc(700*time.Millisecond, func() { server.Listen(t, address); server.Start(t) })
	defer late.Stop()
	host := Host{
		Machine: "web", Address: "127.0.0.1", Port: uint16(probe.Addr().(*net.TCPAddr).Port), User: "root",
		Signers: []ssh.Signer{user}, Wait: 20 * time.Second,
	}
	if _, err := connect(t, host, Limits{}); err != nil {
		t.Fatal(err)
	}
	if n := server.Connections(); n != 1 {
		t.Errorf("%d connections, want 1", n)
	}
}

func TestWhoDoesNotAnswerIsUnavailable(t *testing.T) {
	closed, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	port := uint16(closed.Addr().(*net.TCPAddr).Port)
	closed.Close()
	silent, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	user, _ := sshtest.NewKey(t)
	for name, c := range map[string]struct {
		host Host
		says string
	}{
		"refused": {Host{Address: "127.0.0.1", Port: port}, "connection refused"},
		"waited":  {Host{Address: "127.0.0.1", Port: port, Wait: 300 * time.Millisecond}, "connection refused"},
		"no name": {Host{Address: "nowhere.invalid"}, "its name is not known"},
		"silent":  {Host{Address: "127.0.0.1", Port: uint16(silent.Addr().(*net.TCPAddr).Port)}, "no answer"},
	} {
		t.Run(name, func(t *testing.T) {
			c.host.Machine, c.host.User, c.host.Signers = "web", "root", []ssh.Signer{user}
			_, err := connect(t, c.host, Limits{Handshake: 300 * time.Millisecond})
			if !fault.Is(err, fault.Unavailable) || fault.HintOf(err) == "" || !strings.Contains(err.Error(), c.says) {
				t.Errorf("%v, hint %q", err, fault.HintOf(err))
			}
		})
	}
}

func TestAWaitEndsWithItsContext(t *testing.T) {
	user, _ := sshtest.NewKey(t)
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	began := time.Now()
	_, err := Connect(ctx, hclog.NewNullLogger(), Host{
		Machine: "web", Address: "127.0.0.1", Port: 1, User: "root", Signers: []ssh.Signer{user}, Wait: time.Hour,
	}, Limits{}, ignore)
	if err == nil || time.Since(began) > 10*time.Second {
		t.Errorf("%v after %s", err, time.Since(began))
	}
}

func TestWhatIsNoSSHServerIsSaid(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			_, _ = io.WriteString(conn, strings.Repeat("HTTP/1.1 400 Bad Request\r\n", 300))
			conn.Close()
		}
	}()
	user, _ := sshtest.NewKey(t)
	_, err = connect(t, Host{Machine: "web", Address: "127.0.0.1", Port: uint16(listener.Addr().(*net.TCPAddr).Port), User: "root", Signers: []ssh.Signer{user}}, Limits{})
	if err == nil || fault.HintOf(err) == "" {
		t.Fatal(err)
	}
	t.Log(err)
}

func TestARefusedKeyIsFinalUnlessTheHostIsStillLearning(t *testing.T) {
	server, host := pretend(t)
	host.Wait = time.Minute
	stranger, _ := sshtest.NewKey(t)
	wrong := host
	wrong.Signers = []ssh.Signer{stranger}
	if _, err := connect(t, wrong, Limits{}); !fault.Is(err, fault.Denied) || fault.HintOf(err) == "" {
		t.Errorf("wrong key: %v", err)
	}
	wrong = host
	wrong.User = "$(id)\n;"
	if _, err := connect(t, wrong, Limits{}); !fault.Is(err, fault.Denied) || strings.Contains(err.Error(), "\n") {
		t.Errorf("wrong user: %v", err)
	}
	if n := server.Connections(); n != 2 {
		t.Errorf("%d connections for two refused logins", n)
	}
	server.RefuseNext(1)
	host.Learning = true
	if _, err := connect(t, host, Limits{}); err != nil {
		t.Errorf("a host that learns: %v", err)
	}
}

func TestARunHandsOverLinesAndTheExitStatus(t *testing.T) {
	_, host := pretend(t, func(h *sshtest.Host) {
		h.Shell = func(command string, stdin io.Reader, stdout, stderr io.Writer) int {
			_, _ = io.WriteString(stdout, command+"\n")
			_, _ = io.Copy(stdout, stdin)
			_, _ = io.WriteString(stderr, "\n\x1b[31mbad\x07\n"+strings.Repeat("x", 1<<20))
			return 3
		}
	})
	c, err := connect(t, host, Limits{})
	if err != nil {
		t.Fatal(err)
	}
	var lines []string
	out, err := c.Run(t.Context(), time.Minute, "act", strings.NewReader("one\ntwo"), func(l string) { lines = append(lines, l) })
	if err != nil || out.Status != 3 || strings.Join(lines, "|") != "act|one|two" {
		t.Fatalf("%v, %d, %q", err, out.Status, lines)
	}
	if out.Complaint() != "[31mbad" || len(out.Stderr) > maxComplaint {
		t.Errorf("complaint %q, %d bytes kept", out.Complaint(), len(out.Stderr))
	}
}

func TestAHostThatSaysTooMuchIsCutOff(t *testing.T) {
	for name, text := range map[string]string{"many lines": "x\n", "one line": "x"} {
		t.Run(name, func(t *testing.T) {
			_, host := pretend(t, func(h *sshtest.Host) {
				h.Shell = func(_ string, _ io.Reader, stdout, _ io.Writer) int {
					for block := strings.Repeat(text, 32<<10); ; {
						if _, err := io.WriteString(stdout, block); err != nil {
							return 1
						}
					}
				}
			})
			c, err := connect(t, host, Limits{})
			if err != nil {
				t.Fatal(err)
			}
			if _, err := c.Run(t.Context(), time.Minute, "act", nil, nil); !fault.Is(err, fault.Precondition) {
				t.Error(err)
			}
		})
	}
}

func TestEveryWaitOnAHostEnds(t *testing.T) {
	hang := func(_ string, stdin io.Reader, _, _ io.Writer) int {
		_, _ = io.Copy(io.Discard, stdin)
		_, _ = stdin.Read(make([]byte, 1))
		return 0
	}
	forever := func(h *sshtest.Host) {
		h.Shell = func(command string, stdin io.Reader, stdout, stderr io.Writer) int {
			hang(command, stdin, stdout, stderr)
			for {
				if _, err := io.WriteString(stderr, "."); err != nil {
					return 0
				}
			}
		}
	}
	t.Run("by the command's limit", func(t *testing.T) {
		_, host := pretend(t, forever)
		c, err := connect(t, host, Limits{})
		if err != nil {
			t.Fatal(err)
		}
		_, err = c.Run(t.Context(), 200*time.Millisecond, "act", nil, nil)
		if !fault.Is(err, fault.Unavailable) || !strings.Contains(err.Error(), "no end within 200ms") {
			t.Error(err)
		}
	})
	t.Run("by the caller", func(t *testing.T) {
		_, host := pretend(t, forever)
		c, err := connect(t, host, Limits{})
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancelCause(t.Context())
		enough := errors.New("enough")
		time.AfterFunc(100*time.Millisecond, func() { cancel(enough) })
		if _, err = c.Run(ctx, time.Minute, "act", nil, nil); !errors.Is(err, enough) {
			t.Error(err)
		}
	})
	t.Run("by silence", func(t *testing.T) {
		_, host := pretend(t, func(h *sshtest.Host) { h.Mute = true })
		c, err := connect(t, host, Limits{KeepAlive: 100 * time.Millisecond})
		if err != nil {
			t.Fatal(err)
		}
		if _, err = c.Run(t.Context(), time.Minute, "act", nil, nil); !errors.Is(err, errSilent) {
			t.Error(err)
		}
	})
	t.Run("by a dropped connection", func(t *testing.T) {
		var server *sshtest.Host
		server, host := pretend(t, func(h *sshtest.Host) {
			h.Shell = func(string, io.Reader, io.Writer, io.Writer) int { server.Drop(); return 0 }
		})
		c, err := connect(t, host, Limits{})
		if err != nil {
			t.Fatal(err)
		}
		if _, err = c.Run(t.Context(), time.Minute, "act", nil, nil); !fault.Is(err, fault.Unavailable) || !strings.Contains(err.Error(), "broke off") {
			t.Error(err)
		}
	})
}

func TestCleanLeavesOneShortLine(t *testing.T) {
	for given, want := range map[string]string{
		"plain": "plain", " a\tb\r\n": "a b", "\x1b[31mred": "[31mred", "zero\x00": "zero", strings.Repeat("é", 500): strings.Repeat("é", maxTextLength) + "…",
	} {
		if got := Clean(given); got != want {
			t.Errorf("%q: %q, want %q", given, got, want)
		}
	}
}
