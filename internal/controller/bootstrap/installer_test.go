package bootstrap

import (
	"io"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"mctl/internal/controller/bootstrap/sshtest"
	"mctl/internal/controller/bootstrap/survey"
	"mctl/internal/fault"
)

func firstOf(script string) string {
	line, _, _ := strings.Cut(script, "\n")
	return line
}

func TestAHostGetsItsAgentOverOneConnection(t *testing.T) {
	w := newWorld(t)
	w.payload.Hostname = "web"
	result, err := w.install()
	if err != nil {
		t.Fatal(err)
	}
	if n := w.server.Connections(); n != 1 {
		t.Errorf("%d connections, want 1", n)
	}
	want := Result{
		HostKeys:  []string{sshtest.Line(w.server.Keys[0].PublicKey())},
		Endpoints: []string{"127.0.0.1:7443"}, OS: "Debian GNU/Linux 12 (bookworm)", Arch: "amd64",
	}
	if diff := cmp.Diff(want, result); diff != "" {
		t.Error(diff)
	}
	if string(w.host.uploaded) != agentBytes {
		t.Errorf("uploaded %q", w.host.uploaded)
	}
	ordered := []orders{{MachineUID: "uid-1", Ticket: "tickle-me-not", Endpoints: result.Endpoints, Hostname: "web", EnginePort: 2376, Adopted: true}}
	if diff := cmp.Diff(ordered, w.host.given); diff != "" {
		t.Error(diff)
	}
	if asked := []string{firstOf(survey.Script), uploadCommand, installNewCommand}; !slices.Equal(w.asked(), asked) {
		t.Errorf("asked %q", w.asked())
	}
	if !slices.Contains(w.told, "installing the agent") {
		t.Errorf("told %q", w.told)
	}
}

func TestARepeatedInstallUploadsNothingAndTheNewestTicketWins(t *testing.T) {
	w := newWorld(t)
	if _, err := w.install(); err != nil {
		t.Fatal(err)
	}
	w.host.uploaded = nil
	w.payload.Ticket, w.payload.Endpoints = "second", []string{"192.0.2.9:7443"}
	result, err := w.install()
	if err != nil || !slices.Equal(result.Endpoints, w.payload.Endpoints) {
		t.Fatalf("%+v, %v", result, err)
	}
	if w.host.uploaded != nil || w.asked()[len(w.asked())-1] != installPresentCommand {
		t.Errorf("asked %q", w.asked())
	}
	if last := w.host.given[len(w.host.given)-1]; last.Ticket != "second" || last.Endpoints[0] != "192.0.2.9:7443" {
		t.Errorf("given %+v", last)
	}
}

func TestTheAgentIsChosenByTheHostsArchitecture(t *testing.T) {
	w := newWorld(t)
	w.host.facts["arch"] = "aarch64"
	if result, err := w.install(); err != nil || result.Arch != "arm64" || string(w.host.uploaded) != "the agent for arm64" {
		t.Errorf("%+v, %v, uploaded %q", result, err, w.host.uploaded)
	}
}

func TestACheckChangesNothing(t *testing.T) {
	w := newWorld(t)
	if err := w.installer.Check(t.Context(), w.target); err != nil {
		t.Fatal(err)
	}
	if asked := []string{firstOf(survey.Script)}; !slices.Equal(w.asked(), asked) || w.server.Connections() != 1 {
		t.Errorf("asked %q over %d connections", w.asked(), w.server.Connections())
	}
}

func TestALentKeyOpensTheHost(t *testing.T) {
	w := newWorld(t)
	w.target.Key = nil
	if err := w.installer.Check(t.Context(), w.target); !fault.Is(err, fault.Denied) || !strings.Contains(fault.HintOf(err), "ssh-add") {
		t.Errorf("nothing lent: %v", err)
	}
	w.target.Machine = "lent"
	if err := w.installer.Check(t.Context(), w.target); err != nil {
		t.Error(err)
	}
}

func TestCloudInitIsWaitedForAndSaidSo(t *testing.T) {
	for name, c := range map[string]struct{ fact, told string }{
		"that ends":  {"1", "Waiting for cloud-init to finish..."},
		"that hangs": {"stuck", "cloud-init is still busy, going on beside it"},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.host.facts["cloud_init"] = c.fact
			if _, err := w.install(); err != nil || !slices.Contains(w.told, c.told) || w.host.installed != 1 {
				t.Errorf("%v, told %q", err, w.told)
			}
			if !slices.Contains(w.asked(), firstOf(cloudWaitScript)) {
				t.Errorf("asked %q", w.asked())
			}
		})
	}
}

func TestWhatGoesWrongOnTheWayIsSaid(t *testing.T) {
	for name, c := range map[string]struct {
		prepare    func(w *world)
		kind       fault.Kind
		says, hint string
	}{
		"disk full": {func(w *world) {
			w.host.upload = func(stdin io.Reader, _, stderr io.Writer) int {
				_, _ = io.Copy(io.Discard, stdin)
				_, _ = io.WriteString(stderr, "gzip: stdout: No space left on device\n")
				return 1
			}
		}, fault.Precondition, "disk of 127.0.0.1", "make room"},
		"no place to write": {func(w *world) {
			w.host.upload = func(_ io.Reader, _, stderr io.Writer) int {
				_, _ = io.WriteString(stderr, "mkdir: cannot create directory '/var/lib/mctl': Read-only file system\n")
				return 1
			}
		}, fault.Precondition, "Read-only file system", "/var/lib/mctl"},
		"digest mismatch": {func(w *world) {
			w.host.upload = func(stdin io.Reader, stdout, _ io.Writer) int {
				_, _ = io.Copy(io.Discard, stdin)
				_, _ = io.WriteString(stdout, digest("something else")+"  "+newAgent+"\n")
				return 0
			}
		}, fault.Unavailable, "damaged", "try again"},
		"no agent built": {func(w *world) { w.host.facts["arch"] = "aarch64"; w.installer.agents.dir = "/nowhere" }, fault.Precondition, "agent for linux/arm64", "make build"},
		"the agent refuses": {func(w *world) {
			w.host.answers = []string{`{"error":"the disk is slow\u001b[31m, and tickle-me-not","hint":"buy a new one","kind":"denied"}`}
			w.host.status = 1
		}, fault.Denied, "the disk is slow [31m, and (ticket)", "buy a new one"},
		"the agent refuses with a kind of its own": {func(w *world) { w.host.answers = []string{`{"error":"x","kind":"\u001b"}`} }, fault.Precondition, "x", ""},
		"the agent dies":        {func(w *world) { w.host.answers, w.host.status = nil, 137 }, fault.Precondition, "exit status 137", "journalctl"},
		"the agent says no end": {func(w *world) { w.host.answers = nil }, fault.Precondition, "did not install itself", ""},
		"the probe breaks off":  {func(w *world) { delete(w.host.facts, "end") }, fault.Unavailable, "did not finish answering", ""},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			c.prepare(w)
			result, err := w.install()
			if !fault.Is(err, c.kind) || !strings.Contains(err.Error(), c.says) || !strings.Contains(fault.HintOf(err), c.hint) || fault.SubjectOf(err) == "" {
				t.Errorf("%v (%s), hint %q", err, fault.KindOf(err), fault.HintOf(err))
			}
			if len(result.HostKeys) != 1 {
				t.Error("the host key that was seen is not pinned")
			}
			w.secretsAreKept(err)
		})
	}
}

func (w *world) secretsAreKept(err error) {
	w.t.Helper()
	said := w.log.String() + strings.Join(w.told, "\n")
	if err != nil {
		said += err.Error() + fault.HintOf(err)
	}
	for _, secret := range []string{w.payload.Ticket, "PRIVATE KEY"} {
		if strings.Contains(said, secret) {
			w.t.Errorf("%q is told:\n%s", secret, said)
		}
	}
	for _, c := range w.server.Commands() {
		if strings.Contains(c.Text, w.payload.Ticket) {
			w.t.Errorf("the ticket is in a command: %s", c.Text)
		}
	}
}

func TestAConnectionDroppedInTheMiddleIsMendedByRepeating(t *testing.T) {
	w := newWorld(t)
	w.host.upload = func(io.Reader, io.Writer, io.Writer) int { w.server.Drop(); return 0 }
	if _, err := w.install(); !fault.Is(err, fault.Unavailable) || !strings.Contains(err.Error(), "broke off") {
		t.Fatalf("dropped: %v", err)
	}
	w.host.mu.Lock()
	w.host.upload = nil
	w.host.mu.Unlock()
	if _, err := w.install(); err != nil || w.host.installed != 1 {
		t.Fatalf("repeated: %v", err)
	}
}

func TestAStuckUploadEndsByItsLimit(t *testing.T) {
	w := newWorld(t)
	w.installer.limits.Upload = 200 * time.Millisecond
	gone := make(chan struct{})
	w.host.upload = func(io.Reader, io.Writer, io.Writer) int { <-gone; return 0 }
	_, err := w.install()
	close(gone)
	if !fault.Is(err, fault.Unavailable) || !strings.Contains(err.Error(), "no end within 200ms") {
		t.Error(err)
	}
}

func TestAChangedHostKeyStopsEverything(t *testing.T) {
	w := newWorld(t)
	result, err := w.install()
	if err != nil {
		t.Fatal(err)
	}
	other := newWorld(t)
	w.target.HostKeys, w.target.SSH.Port = result.HostKeys, other.server.Port()
	w.target.Wait = time.Minute
	for name, act := range map[string]func() error{
		"check":   func() error { return w.installer.Check(t.Context(), w.target) },
		"install": func() error { _, err := w.install(); return err },
		"remove":  func() error { return w.installer.Remove(t.Context(), w.target, false, w.progress) },
	} {
		if err := act(); !fault.Is(err, fault.Denied) || strings.Count(err.Error(), "SHA256:") != 2 {
			t.Errorf("%s: %v", name, err)
		}
	}
	if len(other.server.Commands()) != 0 {
		t.Errorf("a stranger was sent %q", other.asked())
	}
	// What a provider tells counts where nothing was pinned yet.
	w.target.HostKeys, w.target.SSH.HostKeys = nil, result.HostKeys
	if err := w.installer.Check(t.Context(), w.target); !fault.Is(err, fault.Denied) {
		t.Errorf("told by the provider: %v", err)
	}
}

func TestTheHostThatWasCheckedIsTheOneThatIsTaken(t *testing.T) {
	w, other := newWorld(t), newWorld(t)
	if err := w.installer.Check(t.Context(), w.target); err != nil {
		t.Fatal(err)
	}
	port := w.target.SSH.Port
	w.target.SSH.Port = other.server.Port()
	if _, err := w.install(); !fault.Is(err, fault.Denied) || len(other.server.Commands()) != 0 {
		t.Errorf("another host: %v", err)
	}
	w.target.SSH.Port = port
	if _, err := w.install(); err != nil {
		t.Errorf("the same host: %v", err)
	}
	for n := range maxContacts + 1 {
		w.installer.checked.remember(strings.Repeat("x", n+1), nil)
	}
	if n := len(w.installer.checked.keys); n > maxContacts {
		t.Errorf("%d checks are kept", n)
	}
}

func TestAHostSaysWhetherItReachesUsWhereThatIsAsked(t *testing.T) {
	for name, c := range map[string]struct {
		answers   []string
		unreached bool
		want      bool
	}{
		"it does":     {[]string{`{"reached":true}`, `{"done":true}`}, false, true},
		"it does not": {[]string{`{"reached":false}`, `{"done":true}`}, false, false},
		"old agents":  {[]string{`{"done":true}`}, false, false},
		"not asked":   {[]string{`{"done":true}`}, true, false},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.host.answers = c.answers
			w.payload.Probe, w.payload.Unreached = !c.unreached, c.unreached
			result, err := w.install()
			if err != nil || result.Reached != c.want {
				t.Fatalf("%+v, %v", result, err)
			}
			given := w.host.given[0]
			if given.Probe == c.unreached || c.unreached != (len(given.Endpoints) == 0) || c.unreached != (len(result.Endpoints) == 0) {
				t.Errorf("given %+v, known %v", given, result.Endpoints)
			}
		})
	}
}

func TestOnlyAHostThatWasMetIsGoneToForItsAgent(t *testing.T) {
	w := newWorld(t)
	if _, err := w.installer.Dial(t.Context(), w.target); !fault.Is(err, fault.Denied) || w.server.Connections() != 0 {
		t.Errorf("a host whose key nobody pinned: %v", err)
	}
	w.target.HostKeys = []string{sshtest.Line(w.server.Keys[0].PublicKey())}
	c, err := w.installer.Dial(t.Context(), w.target)
	if err != nil {
		t.Fatal(err)
	}
	c.Close()
	w.target.HostKeys = nil
	w.target.SSH.HostKeys = []string{sshtest.Line(w.server.Keys[0].PublicKey())}
	if c, err = w.installer.Dial(t.Context(), w.target); err != nil {
		t.Fatalf("a key that the provider told: %v", err)
	}
	c.Close()
}
