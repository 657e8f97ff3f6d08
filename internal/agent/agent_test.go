package agent

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/go-hclog"
	"go.uber.org/goleak"

	"mctl/internal/agent/front"
	"mctl/internal/agent/link"
	"mctl/internal/fault"
	"mctl/internal/host"
	"mctl/internal/pki"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// bench is a converger between a pretended engine and a pretended controller.
type bench struct {
	t      *testing.T
	dir    string
	worker *converger
	cancel context.CancelFunc
	done   chan error

	mu        sync.Mutex
	converges []host.Engine
	faults    []error // of the next Converge calls
	block     chan struct{}
	released  int
	keep      error    // what Release says
	awaits    string   // what the engine waits for
	shown     []string // what was done for the front
	answers   []host.Applied
	issued    int
	refuse    error
	clientCA  []byte
	root      *x509.Certificate
	sign      func(csr []byte, sans []string) ([][]byte, error)
}

const certificateLife = 10 * 24 * time.Hour

func newBench(t *testing.T) *bench {
	t.Helper()
	key, err := pki.NewKey()
	if err != nil {
		t.Fatal(err)
	}
	root, err := pki.NewAuthority("engine", key, time.Now(), 10*365*24*time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	b := &bench{t: t, dir: t.TempDir(), root: root, clientCA: pki.EncodeCertificates(root)}
	b.sign = func(csr []byte, sans []string) ([][]byte, error) {
		public, err := pki.RequestKey(csr)
		if err != nil {
			return nil, err
		}
		leaf, err := pki.Sign(pki.Leaf{
			CommonName: "web", SANs: sans, Usage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
			NotBefore: time.Now().Add(-pki.Backdate), NotAfter: time.Now().Add(certificateLife),
		}, public, root, key)
		if err != nil {
			return nil, err
		}
		return [][]byte{leaf.Raw}, nil
	}
	return b
}

func (b *bench) start() {
	b.worker = newConverger(convergerConfig{
		Logger: hclog.NewNullLogger(), Now: time.Now, Engine: b, Controller: b, FrontDir: filepath.Join(b.dir, "front"),
		OpenFront: func(context.Context) error { b.shown = append(b.shown, "open"); return nil },
		ServeSwarm: func(_ context.Context, port uint16) error {
			b.shown = append(b.shown, fmt.Sprintf("swarm %d", port))
			return nil
		},
		Export:     func() error { b.shown = append(b.shown, "export"); return nil },
		RecordFile: filepath.Join(b.dir, "applied.json"), LeavingFile: filepath.Join(b.dir, "leaving.json"),
	})
	ctx, cancel := context.WithCancel(b.t.Context())
	b.cancel, b.done = cancel, make(chan error, 1)
	go func() { b.done <- b.worker.run(ctx) }()
}

func (b *bench) stop() {
	b.cancel()
	if err := <-b.done; err != nil {
		b.t.Error(err)
	}
}

func (b *bench) Converge(_ context.Context, want host.Engine) (host.EngineFacts, error) {
	b.mu.Lock()
	b.converges = append(b.converges, want)
	block := b.block
	var err error
	if len(b.faults) > 0 {
		err, b.faults = b.faults[0], b.faults[1:]
	}
	b.mu.Unlock()
	if block != nil {
		<-block
	}
	return host.EngineFacts{Version: "29.0", AwaitsRestart: b.awaits}, err
}

func (b *bench) Release(context.Context) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.released++
	return b.keep
}

func (b *bench) Report(a host.Applied) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.answers = append(b.answers, a)
}

func (b *bench) IssueEngineCertificate(_ context.Context, csr []byte, _ string) ([][]byte, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.refuse != nil {
		return nil, b.refuse
	}
	b.issued++
	return b.sign(csr, b.worker.newest().Front.SANs)
}

func (b *bench) wish(generation uint64, change ...func(*host.Desired)) link.Wish {
	d := host.Desired{
		Generation: generation, Engine: host.Engine{Install: host.InstallDistro},
		Front: host.Front{Port: 2376, SANs: []string{"10.0.0.1", "web"}, ClientCA: b.clientCA},
	}
	for _, c := range change {
		c(&d)
	}
	return link.Wish{Desired: d, Digest: d.Digest()}
}

// ask leaves a wish and returns the last answer once all is quiet.
func (b *bench) ask(w link.Wish) host.Applied {
	b.t.Helper()
	b.worker.want(w)
	synctest.Wait()
	return b.last()
}

func (b *bench) last() host.Applied {
	b.t.Helper()
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.answers) == 0 {
		b.t.Fatal("no answer")
	}
	return b.answers[len(b.answers)-1]
}

func (b *bench) count() (converges, issued int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return len(b.converges), b.issued
}

func (b *bench) expect(what string, converges, issued int) {
	b.t.Helper()
	if c, i := b.count(); c != converges || i != issued {
		b.t.Errorf("%s: %d times converged and %d certificates, want %d and %d", what, c, i, converges, issued)
	}
}

func within(t *testing.T, run func(b *bench)) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		b.start()
		run(b)
		b.stop()
	})
}

func pass(d time.Duration) { <-time.After(d); synctest.Wait() }

func TestAWishIsFulfilledOnceAndOnlyItsChangesLater(t *testing.T) {
	within(t, func(b *bench) {
		first := b.ask(b.wish(1))
		if first.Failure != nil || first.Digest != b.wish(1).Digest || first.Engine.Version != "29.0" || first.Front.Port != 2376 || first.Front.CertificateSerial == "" {
			t.Fatalf("answered %+v", first)
		}
		b.expect("first", 1, 1)
		b.ask(b.wish(1))
		b.expect("the same again", 1, 1)
		if a := b.ask(b.wish(2)); a.Generation != 2 {
			t.Errorf("a new generation of the same was answered with %d", a.Generation)
		}
		b.expect("a new generation of the same", 1, 1)
		moved := func(d *host.Desired) { d.Front.SANs = []string{"10.0.0.2", "web"} }
		b.ask(b.wish(3, moved))
		b.expect("another address", 1, 2)
		b.ask(b.wish(4, moved, func(d *host.Desired) { d.Front.Rotation = 1 }))
		b.expect("a rotation", 1, 3)
		b.ask(b.wish(5, moved, func(d *host.Desired) { d.Front.Rotation, d.Engine.Labels = 1, []string{"a=b"} }))
		b.expect("a label", 2, 3)
	})
}

func TestTheFrontStaysShutWhileTheEngineHasItsPort(t *testing.T) {
	within(t, func(b *bench) {
		b.worker.turn() // before any wish
		synctest.Wait()
		b.awaits = "a restart"
		manager := b.wish(1, func(d *host.Desired) { d.Front.SwarmPort = 3376 })
		if a := b.ask(manager); a.Failure != nil || a.Digest != manager.Digest || a.Engine.AwaitsRestart != "a restart" {
			t.Errorf("answered %+v", a)
		}
		if len(b.shown) != 0 || b.converges[0].Port != 2376 {
			t.Errorf("done %q for the front, the engine was asked %+v", b.shown, b.converges[0])
		}
		b.worker.turn()
		synctest.Wait()
		b.expect("it restarted, and has the port still", 2, 1)
		b.awaits = ""
		b.worker.turn()
		synctest.Wait()
		if a := b.last(); a.Engine.AwaitsRestart != "" || !slices.Equal(b.shown, []string{"open", "swarm 3376", "export"}) {
			t.Errorf("answered %+v, done %q for the front", a, b.shown)
		}
		b.worker.turn()
		synctest.Wait()
		b.expect("it gave the port up", 3, 1)
	})
}

func TestAnAgentThatStartsAnewDoesNothingTwice(t *testing.T) {
	within(t, func(b *bench) {
		before := b.ask(b.wish(1))
		b.stop()
		b.answers = nil
		b.start()
		synctest.Wait()
		if after := b.last(); after.Digest != before.Digest || after.Front.CertificateSerial != before.Front.CertificateSerial {
			t.Errorf("it remembers %+v, not %+v", after, before)
		}
		b.ask(b.wish(1))
		b.expect("after a restart", 1, 1)
	})
}

func TestMaterialThatIsGoneIsMadeAnew(t *testing.T) {
	within(t, func(b *bench) {
		b.ask(b.wish(1))
		if err := os.RemoveAll(filepath.Join(b.dir, "front")); err != nil {
			t.Fatal(err)
		}
		b.ask(b.wish(1))
		b.expect("material gone", 1, 2)
	})
}

func TestTheCertificateIsReplacedAtHalfItsLifeWithoutAWish(t *testing.T) {
	within(t, func(b *bench) {
		first := b.ask(b.wish(1))
		pass(certificateLife * 3 / 10)
		b.expect("before half-life", 1, 1)
		pass(certificateLife * 4 / 10)
		b.expect("after half-life", 1, 2)
		if now := b.last(); now.Front.CertificateSerial == first.Front.CertificateSerial {
			t.Error("the controller was not told")
		}
		m, err := front.ReadMaterial(filepath.Join(b.dir, "front"))
		if err != nil || pki.Serial(m.Leaf) != b.last().Front.CertificateSerial {
			t.Errorf("the front serves something else: %v", err)
		}
	})
}

func TestWhatMayPassIsTriedAgainAndTheRestWaitsForSomebody(t *testing.T) {
	within(t, func(b *bench) {
		b.faults = []error{fault.New("e", fault.Unavailable, "", "apt is busy"), fault.New("e", fault.Unavailable, "", "apt is busy")}
		if a := b.ask(b.wish(1)); a.Failure == nil || a.Failure.Kind != "unavailable" {
			t.Fatalf("answered %+v", a)
		}
		pass(10 * time.Second)
		if a := b.last(); a.Failure != nil {
			t.Errorf("after a while: %+v", a.Failure)
		}
		b.expect("tried until it went", 3, 1)

		b.faults = []error{fault.New("e", fault.Precondition, "", "disk full").WithHint("make room")}
		change := func(d *host.Desired) { d.Engine.Labels = []string{"x=y"} }
		if a := b.ask(b.wish(2, change)); a.Failure == nil || a.Failure.Hint != "make room" || a.Engine.Version == "" {
			t.Fatalf("answered %+v", a)
		}
		pass(3 * time.Hour)
		b.ask(b.wish(2, change)) // as after a reconnect
		b.expect("parked", 4, 1)
		if a := b.ask(b.wish(3, change)); a.Failure != nil || a.Generation != 3 {
			t.Errorf("asked once more: %+v", a)
		}
		b.expect("asked once more", 5, 1)
	})
}

func TestARefusedCertificateIsAFailureAndTheEngineIsNotDoneTwice(t *testing.T) {
	within(t, func(b *bench) {
		b.refuse = fault.New("c", fault.Unavailable, "", "not now")
		if a := b.ask(b.wish(1)); a.Failure == nil {
			t.Fatal("no failure")
		}
		b.mu.Lock()
		b.refuse = nil
		b.mu.Unlock()
		pass(2 * time.Minute)
		b.expect("tried again", 1, 1)
		if a := b.last(); a.Failure != nil {
			t.Errorf("still %+v", a.Failure)
		}
	})
}

func TestANewerWishWaitsForTheOlderAndIsTheOneThatIsAnswered(t *testing.T) {
	within(t, func(b *bench) {
		b.block = make(chan struct{})
		b.worker.want(b.wish(1))
		synctest.Wait()
		for g := range uint64(5) {
			b.worker.want(b.wish(g+2, func(d *host.Desired) { d.Engine.Provision = g + 1 }))
		}
		synctest.Wait()
		if c, _ := b.count(); c != 1 {
			t.Errorf("%d at the same time", c)
		}
		close(b.block)
		synctest.Wait()
		if a := b.last(); a.Generation != 6 || len(b.answers) != 1 {
			t.Errorf("answered %+v", b.answers)
		}
		b.expect("the first and the newest", 2, 1)
	})
}

func TestAnEngineThatSomebodyElseUpgradedIsTold(t *testing.T) {
	within(t, func(b *bench) {
		b.worker.see("28.0") // an engine that was there before
		synctest.Wait()
		if len(b.answers) != 0 {
			t.Errorf("told before any wish: %+v", b.answers)
		}
		b.ask(b.wish(1))
		b.worker.see("29.0")
		b.worker.see("29.1")
		synctest.Wait()
		a := b.last()
		if a.Engine.Version != "29.1" || a.Digest != b.wish(1).Digest || a.Failure != nil || len(b.answers) != 2 {
			t.Errorf("told %+v", b.answers)
		}
		b.expect("nothing is done for it", 1, 1)
		b.stop()
		b.start()
		synctest.Wait()
		if a := b.last(); a.Engine.Version != "29.1" {
			t.Errorf("an agent that starts anew tells %+v", a)
		}
	})
}

func TestAReleaseIsTheLastAnswer(t *testing.T) {
	within(t, func(b *bench) {
		b.ask(b.wish(1))
		a := b.ask(b.wish(2, func(d *host.Desired) { d.Release = &host.Release{} }))
		if !a.Released || b.released != 1 {
			t.Errorf("answered %+v, %d times released", a, b.released)
		}
	})
}

func TestAnEngineThatCannotBeReleasedKeepsNoHost(t *testing.T) {
	within(t, func(b *bench) {
		b.keep = fault.New("e", fault.Precondition, "", "daemon.json is no JSON")
		if a := b.ask(b.wish(1, func(d *host.Desired) { d.Release = &host.Release{} })); !a.Released || a.Failure != nil {
			t.Errorf("answered %+v", a)
		}
	})
	within(t, func(b *bench) {
		b.keep = fault.New("e", fault.Unavailable, "", "not now")
		if a := b.ask(b.wish(1, func(d *host.Desired) { d.Release = &host.Release{} })); a.Released || a.Failure == nil {
			t.Errorf("answered %+v", a)
		}
	})
}

func TestTheIntentToLeaveOutlivesTheAgentAndCanBeTakenBack(t *testing.T) {
	within(t, func(b *bench) {
		path := filepath.Join(b.dir, "leaving.json")
		b.ask(b.wish(1, func(d *host.Desired) { d.Release = &host.Release{PurgeEngine: true} }))
		b.stop()
		if parting, err := readLeaving(path); err != nil || parting == nil || !parting.PurgeEngine || parting.Told {
			t.Errorf("on disk is %+v, %v", parting, err)
		}
		b.start()
		b.ask(b.wish(2))
		if parting, err := readLeaving(path); err != nil || parting != nil {
			t.Errorf("taken back, and on disk is %+v, %v", parting, err)
		}
	})
}

func TestAnAgentThatWasKilledWhileItLeftGoesOnUntilAllIsAway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		if err := (leaving{PurgeEngine: true, Told: true}).write(filepath.Join(dir, "leaving.json")); err != nil {
			t.Fatal(err)
		}
		calls := 0
		err := Run(t.Context(), Config{Dir: dir, Logger: hclog.NewNullLogger(), Release: func(_ context.Context, purge bool) error {
			if calls++; calls < 3 {
				return errors.New("the package manager is locked")
			}
			if !purge {
				t.Error("it forgot to purge")
			}
			return nil
		}})
		if err != nil || calls != 3 {
			t.Errorf("%v after %d calls", err, calls)
		}
	})
}

func TestAnAgentThatIsStoppedByItsRemovalDoesNotKeepItWaiting(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		if err := (leaving{Told: true}).write(filepath.Join(dir, "leaving.json")); err != nil {
			t.Fatal(err)
		}
		ctx, stop := context.WithCancel(t.Context())
		err := Run(ctx, Config{Dir: dir, Logger: hclog.NewNullLogger(), Release: func(ctx context.Context, _ bool) error {
			stop() // as systemd does with the agent's unit
			<-ctx.Done()
			return ctx.Err()
		}})
		if err != nil {
			t.Error(err)
		}
	})
}

func TestADamagedRecordMeansDoingAllOnceMore(t *testing.T) {
	within(t, func(b *bench) {
		b.ask(b.wish(1))
		b.stop()
		if err := os.WriteFile(filepath.Join(b.dir, "applied.json"), []byte("{"), 0o600); err != nil {
			t.Fatal(err)
		}
		b.start()
		if a := b.ask(b.wish(1)); a.Failure != nil {
			t.Errorf("answered %+v", a)
		}
		b.expect("done once more", 2, 2)
	})
}

func TestSettingsAreReadAndTheirErrorsKeepTheTicket(t *testing.T) {
	path := filepath.Join(t.TempDir(), "config.json")
	if _, err := readSettings(path); !fault.Is(err, fault.Precondition) {
		t.Errorf("missing: %v", err)
	}
	write := func(text string) {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write(`{"machine_uid":"u","ticket":"mj1.secret","endpoints":["a:1","b:2"],"engine_port":2376}`)
	s, err := readSettings(path)
	if err != nil || s.MachineUID != "u" || s.Ticket != "mj1.secret" || !slices.Equal(s.Endpoints, []string{"a:1", "b:2"}) {
		t.Errorf("read %+v, %v", s, err)
	}
	write(`{"ticket":"mj1.secret"`)
	if _, err := readSettings(path); !fault.Is(err, fault.Precondition) || errors.Is(err, os.ErrNotExist) {
		t.Errorf("damaged: %v", err)
	}
}

func TestFactsOfAHost(t *testing.T) {
	root := t.TempDir()
	for path, text := range map[string]string{
		"etc/os-release":                 "NAME=x\nPRETTY_NAME=\"Debian GNU/Linux 12\"\n",
		"proc/meminfo":                   "MemTotal:        2048 kB\nMemFree: 1 kB\n",
		"proc/sys/kernel/osrelease":      "6.1\n",
		"proc/sys/kernel/random/boot_id": "b\n",
	} {
		if err := os.MkdirAll(filepath.Dir(filepath.Join(root, path)), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(root, path), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	f := hostFacts(root)
	if f.OS != "Debian GNU/Linux 12" || f.MemoryBytes != 2048<<10 || f.Kernel != "6.1" || f.BootID != "b" || f.CPUs == 0 || f.Arch == "" {
		t.Errorf("found %+v", f)
	}
}
