package footprint

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"mctl/internal/fault"
)

func TestInstallPutsTheAgentInPlaceAndStartsIt(t *testing.T) {
	h := newHost(t)
	told, err := h.install(nil)
	must(t, err)
	if !told[len(told)-1].Done {
		t.Errorf("told %+v", told)
	}
	for path, want := range map[string]string{
		Binary: program,
		configFile: `{"machine_uid":"uid-1","ticket":"mj1.secret","endpoints":["10.0.0.1:4000"],"hostname":"web","engine_port":2376,` +
			`"adopted":false}`,
		"/etc/hostname": "web\n",
		"/etc/hosts":    "127.0.0.1\tlocalhost\n127.0.1.1\tweb\n::1 localhost\n",
	} {
		if got := h.read(path); got != want {
			t.Errorf("%s holds %q", path, got)
		}
	}
	for path, mode := range map[string]os.FileMode{StateDir: 0o700, configFile: 0o600, Binary: 0o755, unitDir + agentUnit: 0o644} {
		if info, err := os.Stat(filepath.Join(h.root, path)); err != nil || info.Mode().Perm() != mode {
			t.Errorf("%s: %v, %v", path, info, err)
		}
	}
	if h.hostname != "web" {
		t.Errorf("the kernel calls itself %q", h.hostname)
	}
	want := []string{
		"systemctl --no-reload enable mctl-agent.service mctl-front.socket", "systemctl daemon-reload",
		"systemctl stop mctl-front.socket mctl-front.service", "systemctl start mctl-front.socket", "systemctl restart mctl-agent.service",
	}
	if got := h.asked(); !slices.Equal(got, want) {
		t.Errorf("asked %q", got)
	}
}

func TestInstallAgainDoesNoMoreThanIsNeeded(t *testing.T) {
	agentOnly := []string{"systemctl start mctl-front.socket", "systemctl restart mctl-agent.service"}
	for name, c := range map[string]struct {
		change func(h *world) func(*orders)
		want   []string
	}{
		"a new ticket": {func(*world) func(*orders) { return func(o *orders) { o.Ticket = "mj1.another" } }, agentOnly},
		"from its own place": {func(h *world) func(*orders) {
			h.config.Self = filepath.Join(h.root, Binary)
			return nil
		}, agentOnly},
		"a new program": {func(h *world) func(*orders) {
			h.put("/tmp/upload", "a newer program", 0o755)
			return nil
		}, append([]string{"systemctl try-restart mctl-front.service"}, agentOnly...)},
		"another port": {func(*world) func(*orders) { return func(o *orders) { o.EnginePort = 12376 } }, append([]string{
			"systemctl --no-reload enable mctl-agent.service mctl-front.socket", "systemctl daemon-reload",
			"systemctl stop mctl-front.socket mctl-front.service",
		}, agentOnly...)},
	} {
		t.Run(name, func(t *testing.T) {
			h := newHost(t)
			_, err := h.install(nil)
			must(t, err)
			change := c.change(h)
			h.asked()
			_, err = h.install(change)
			must(t, err)
			if got := h.asked(); !slices.Equal(got, c.want) {
				t.Errorf("asked %q", got)
			}
			if !strings.Contains(h.read(unitDir+frontSocket), "\nListenStream=") || strings.Contains(h.read(unitDir+frontSocket), "{{") {
				t.Errorf("the socket is %q", h.read(unitDir+frontSocket))
			}
		})
	}
}

func TestAnInstallationThatWasKilledIsDoneWholeTheNextTime(t *testing.T) {
	whole := []string{
		"systemctl --no-reload enable mctl-agent.service mctl-front.socket", "systemctl daemon-reload",
		"systemctl stop mctl-front.socket mctl-front.service", "systemctl start mctl-front.socket", "systemctl restart mctl-agent.service",
	}
	for _, call := range whole {
		t.Run(call, func(t *testing.T) {
			h := newHost(t)
			h.failing[call] = "killed"
			if _, err := h.install(nil); err == nil {
				t.Fatal("no error")
			}
			h.put(filepath.Dir(Binary)+"/.mctl-agent123", "half", 0o600)
			clear(h.failing)
			h.asked()
			_, err := h.install(nil)
			must(t, err)
			if got := h.asked(); !slices.Equal(got, whole) {
				t.Errorf("asked %q", got)
			}
			if exists(h.config.at(resumeFile)) || exists(h.config.at(filepath.Dir(Binary)+"/.mctl-agent123")) {
				t.Error("something of the first time is left")
			}
		})
	}
}

func TestAHostThatWasLeavingStaysWhenItIsTakenAnew(t *testing.T) {
	h := newHost(t)
	h.put(filepath.Join(StateDir, LeavingFile), "{}", 0o600)
	_, err := h.install(nil)
	must(t, err)
	if exists(h.config.at(filepath.Join(StateDir, LeavingFile))) {
		t.Error("the new agent would leave at once")
	}
}

func TestAdoptedHostsKeepTheirNames(t *testing.T) {
	h := newHost(t)
	_, err := h.install(func(o *orders) { o.Adopted = true })
	must(t, err)
	if h.read("/etc/hostname") != "before\n" || h.hostname != "before" {
		t.Error("an adopted host was renamed")
	}
}

func TestOnAnAdoptedHostTheAgentOpensTheFrontsSocket(t *testing.T) {
	h := newHost(t)
	adopted := func(o *orders) { o.Adopted = true }
	_, err := h.install(adopted)
	must(t, err)
	touched := func(call string) bool {
		return strings.Contains(call, frontSocket) && !strings.Contains(call, "disable")
	}
	if calls := h.asked(); slices.ContainsFunc(calls, touched) {
		t.Errorf("the port may be another's still, asked %q", calls)
	}
	must(t, OpenFront(t.Context(), h.config))
	if got, want := h.asked(), []string{"systemctl start mctl-front.socket", "systemctl enable mctl-front.socket"}; !slices.Equal(got, want) {
		t.Errorf("asked %q", got)
	}
	h.put(frontWanted, "", 0o644) // what enabling does
	must(t, OpenFront(t.Context(), h.config))
	if got := h.asked(); len(got) != 0 {
		t.Errorf("opened again: %q", got)
	}
	h.put("/tmp/upload", "a newer program", 0o755)
	_, err = h.install(adopted)
	must(t, err)
	if !slices.ContainsFunc(h.asked(), touched) {
		t.Error("a front that is open goes on with its older program")
	}
	h.failing = map[string]string{"systemctl start mctl-front.socket": "failed"}
	h.answers = map[string]string{"journalctl": "Failed to create listening socket: Address already in use"}
	must(t, os.Remove(h.config.at(frontWanted)))
	if err := OpenFront(t.Context(), h.config); !fault.Is(err, fault.Precondition) || !strings.Contains(err.Error(), "port 2376 can't be opened: another program holds it") {
		t.Error(err)
	}
}

func TestTheUploadGoesWhenItsWorkIsDone(t *testing.T) {
	h := newHost(t)
	h.put(StateDir+"/agent.new", program, 0o755)
	h.config.Self = filepath.Join(h.root, StateDir, "agent.new")
	_, err := h.install(nil)
	must(t, err)
	if exists(h.config.Self) || h.read(Binary) != program {
		t.Error("the upload is still there, or nothing else")
	}
}

func TestWhatIsRefusedChangesNothing(t *testing.T) {
	for name, c := range map[string]struct {
		text   string
		change func(h *world)
		kind   fault.Kind
		says   string
	}{
		"no JSON":             {text: "mj1.secret", kind: fault.Invalid, says: "no JSON"},
		"no machine":          {text: `{"ticket":"mj1.secret"}`, kind: fault.Invalid, says: "no machine"},
		"no port":             {text: `{"machine_uid":"u","engine_port":0}`, kind: fault.Invalid, says: "no port"},
		"a name with a shell": {text: `{"machine_uid":"u","hostname":"a;reboot"}`, kind: fault.Invalid, says: "no host name"},
		"a name of two lines": {text: `{"machine_uid":"u","hostname":"a\nb"}`, kind: fault.Invalid, says: "no host name"},
		"no systemd": {text: `{"machine_uid":"u"}`, kind: fault.Precondition, says: "systemd", change: func(h *world) {
			must(h.t, os.RemoveAll(filepath.Join(h.root, "/run/systemd")))
		}},
	} {
		t.Run(name, func(t *testing.T) {
			h := newHost(t)
			if c.change != nil {
				c.change(h)
			}
			before := h.snapshot()
			var output bytes.Buffer
			err := Install(t.Context(), strings.NewReader(c.text), &output, h.config)
			told := h.lines(&output)
			if !fault.Is(err, c.kind) || !says(told, c.says) || told[len(told)-1].Kind != string(c.kind) {
				t.Errorf("error %v, told %+v", err, told)
			}
			if strings.Contains(output.String(), "secret") {
				t.Error("the ticket is told")
			}
			if len(h.asked()) > 0 || !slices.Equal(h.snapshot(), before) {
				t.Error("something was changed")
			}
		})
	}
}

func TestAPortInUseIsSaid(t *testing.T) {
	h := newHost(t)
	h.failing["systemctl start mctl-front.socket"] = "Job for mctl-front.socket failed."
	h.answers["journalctl"] = "mctl-front.socket: Failed to create listening socket ([::]:2376): Address already in use"
	told, err := h.install(nil)
	if !fault.Is(err, fault.Precondition) || !says(told, "port 2376 can't be opened: another program holds it") {
		t.Errorf("error %v, told %+v", err, told)
	}
}

func TestHostsKeepsTheRest(t *testing.T) {
	for before, want := range map[string]string{
		"":                                     "127.0.1.1\tweb\n",
		"127.0.0.1 localhost":                  "127.0.0.1 localhost\n127.0.1.1\tweb\n",
		"127.0.1.1 a\n# x\n127.0.1.1 b\n::1 c": "127.0.1.1\tweb\n# x\n::1 c",
		"127.0.1.11 a\n":                       "127.0.1.11 a\n127.0.1.1\tweb\n",
	} {
		if got := naming(before, "web"); got != want {
			t.Errorf("%q gives %q", before, got)
		}
	}
}

func TestWhetherTheControllerIsReachedIsSaidWhereThatIsAsked(t *testing.T) {
	for name, c := range map[string]struct {
		asked, reaches bool
		says           string
	}{
		"not asked":   {false, true, ""},
		"reached":     {true, true, `{"reached":true}`},
		"not reached": {true, false, `{"reached":false}`},
	} {
		t.Run(name, func(t *testing.T) {
			h := newHost(t)
			h.config.Reach = func(_ context.Context, ticket string, endpoints []string) bool {
				if ticket != "mj1.secret" || len(endpoints) != 1 {
					t.Errorf("asked of %q", endpoints)
				}
				return c.reaches
			}
			var output bytes.Buffer
			if err := Install(t.Context(), h.orders(func(o *orders) { o.Probe = c.asked }), &output, h.config); err != nil {
				t.Fatal(err)
			}
			if said := strings.Contains(output.String(), "reached"); said != c.asked || !strings.Contains(output.String(), c.says) {
				t.Errorf("it says %s", output.String())
			}
		})
	}
}

func TestTheUserWhomSudoWasRunByOwnsTheWayOverSSH(t *testing.T) {
	for text, want := range map[string]int{"": 0, "1000": 1000, "0": 0, "-1": 0, "root": 0, "4294967295": 0} {
		if got := loginUID(text); got != want {
			t.Errorf("%q is the user %d", text, got)
		}
	}
}
