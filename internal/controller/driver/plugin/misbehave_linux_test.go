package plugin

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"mctl/internal/controller/driver"
	"mctl/internal/controller/driver/plugin/folder"
	"mctl/internal/controller/driver/plugin/memory"
	"mctl/internal/controller/driver/plugin/process"
	"mctl/internal/fault"
)

func TestWhatIsNoPluginIsSaidInASentenceAndLeavesNothing(t *testing.T) {
	w := newWorld(t)
	plugins := w.plugins()
	for name, says := range map[string]string{
		"quit":      "ended before it named its port (exit status 3)",
		"garbage":   "named no port of this computer",
		"endless":   "named no port of this computer",
		"elsewhere": "named no port of this computer",
		"web":       "did not answer the greeting",
		"other":     "does not speak docker-machine's plugin protocol",
		"version":   "another version of docker-machine's plugin protocol: 2 instead of 1",
		"collide":   "has a flag --plugin-poll, which mctl has itself",
		"twice":     "has the flag --stub-fast twice",
		"strange":   "a flag without a usable name",
	} {
		w.install(name)
		for range 2 { // what was refused is not remembered as good
			_, err := plugins.Find(name)
			if !fault.Is(err, fault.Precondition) || !strings.Contains(err.Error(), says) || fault.HintOf(err) == "" || fault.ReasonOf(err) != fault.ReasonPrecheck {
				t.Errorf("%s: %v, hint %q", name, err, fault.HintOf(err))
			}
		}
	}
	if left := children(); len(left) > 0 {
		t.Errorf("left: %v", left)
	}
	if left, _ := filepath.Glob(filepath.Join(w.state, "plugin", ".*")); len(left) > 0 {
		t.Errorf("left: %v", left)
	}
}

func TestAPluginThatSaysNothingIsGivenUp(t *testing.T) {
	if testing.Short() {
		t.Skip("it waits for the ten seconds that a plugin has")
	}
	w := newWorld(t)
	for _, name := range []string{"silent", "deaf"} {
		w.install(name)
		began := time.Now()
		_, err := w.plugins().Find(name)
		if took := time.Since(began); !fault.Is(err, fault.Precondition) || fault.HintOf(err) == "" || took < 9*time.Second || took > 20*time.Second {
			t.Errorf("%s: %v after %s", name, err, took)
		}
	}
}

func TestAQuestionAfterFlagsEndsWithTheController(t *testing.T) {
	w := newWorld(t)
	var stop context.CancelFunc
	w.life, stop = context.WithCancel(t.Context())
	path := w.install("mute")
	plugins := w.plugins()
	asked := make(chan error, 1)
	go func() { _, err := plugins.Find("mute"); asked <- err }()
	limit, ticker := time.After(10*time.Second), time.NewTicker(5*time.Millisecond)
	defer ticker.Stop()
	for len(children()) == 0 {
		select {
		case <-ticker.C:
		case <-limit:
			t.Fatalf("%s is not run", path)
		}
	}
	stop()
	began := time.Now()
	if err := <-asked; !errors.Is(err, context.Canceled) || time.Since(began) > 8*time.Second {
		t.Errorf("%v after %s", err, time.Since(began))
	}
	if left := children(); len(left) > 0 {
		t.Errorf("left: %v", left)
	}
}

func TestAPluginOfTheOldServiceNameIsSpokenTo(t *testing.T) {
	w := newWorld(t)
	w.install("old")
	c := controller{w.driver("old"), w}
	m := w.machine("web")
	if made, err := c.Create(t.Context(), m); err != nil || made.Power != driver.Running {
		t.Errorf("%+v %v", made, err)
	}
	if err := c.Delete(t.Context(), m); err != nil {
		t.Error(err)
	}
}

func TestNamesAndFilesThatAreTakenAndRefused(t *testing.T) {
	w := newWorld(t)
	path := w.install("second")
	plugins := w.plugins()
	for name, asked := range map[string]string{"stub": "stub", "plugin:stub": "stub", "plugin:any@" + path: "any"} {
		d, err := plugins.Find(name)
		if err != nil || d.plugin.name != asked || d.Info().Name != name {
			t.Errorf("%s: %+v %v", name, d, err)
		}
	}
	for name, kind := range map[string]fault.Kind{
		"nosuch": fault.NotFound, "": fault.NotFound, "../x": fault.NotFound, "a b": fault.NotFound, "plugin:": fault.NotFound, "stub@" + path: fault.NotFound,
		"plugin:stub@": fault.Precondition, "plugin:stub@drivers": fault.Precondition, "plugin:stub@" + w.state: fault.Precondition,
		"plugin:stub@/etc/passwd": fault.Precondition, "plugin:stub@/nosuch": fault.Precondition, "plugin:stub@" + w.state + "/../x": fault.Precondition,
	} {
		if _, err := plugins.Find(name); !fault.Is(err, kind) {
			t.Errorf("%q: %v, want %s", name, err, kind)
		}
	}
	unusable := filepath.Join(w.state, "drivers", filePrefix+"third")
	if err := os.WriteFile(unusable, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := plugins.Find("third"); !fault.Is(err, fault.Precondition) || !strings.Contains(err.Error(), unusable+" is no program") || !strings.Contains(fault.HintOf(err), "chmod") {
		t.Errorf("one that nobody may run: %v, hint %q", err, fault.HintOf(err))
	}
	var names []string
	for _, d := range plugins.List() {
		names = append(names, d.Info().Name)
		if len(d.Flags()) > 0 {
			t.Errorf("%s was run without being asked for", d.Info().Name)
		}
	}
	if !slices.Equal(names, []string{"second", "stub"}) {
		t.Errorf("there are %v", names)
	}
}

// What goes wrong in the middle of a call.
func TestMisbehaviourIsAClearFaultAndLeavesNoProcess(t *testing.T) {
	for name, c := range map[string]struct {
		method, how string
		kind        fault.Kind
		says        string
	}{
		"a crash in Create":       {"Create", "crash", fault.Precondition, "broke at Create"},
		"a crash in the check":    {"PreCreateCheck", "crash", fault.Precondition, "broke at PreCreateCheck"},
		"a hang in Create":        {"Create", "hang", fault.Precondition, "no answer to Create within 1s"},
		"a hang in the check":     {"PreCreateCheck", "hang", fault.Precondition, "no answer to PreCreateCheck within 1s"},
		"a hang in the state":     {"GetState", "hang", fault.Precondition, "no answer to GetState within 1s"},
		"a hang in the address":   {"GetIP", "hang", fault.Precondition, "no answer to Get"},
		"a hang in the engine's":  {"GetURL", "hang", fault.Precondition, "no answer to GetURL within 1s"},
		"a flood":                 {"Create", "flood", fault.Precondition, "printed more than 64 MiB"},
		"a panic in the driver":   {"Create", "panic", fault.Precondition, "Panic in the driver: boom"},
		"a secret in its words":   {"Create", "token", fault.Denied, "403 for token (redacted)"},
		"a Close that hangs":      {"Close", "hang", "", ""},
		"a Close that breaks":     {"Close", "crash", "", ""},
		"a heartbeat that hangs":  {"Heartbeat", "hang", "", ""},
		"much on standard output": {"Create", "chatter", "", ""},
		"much on standard error":  {"Create", "shout", "", ""},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			limit := "1s"
			if c.how == "flood" {
				limit = "1m"
			}
			d, m := w.controller(), w.machine("web", flagLimit, limit, flagPoll, "0s")
			w.order(c.method, c.how, 1000)
			made, err := d.Create(t.Context(), m)
			if fault.KindOf(err) != c.kind || err != nil && (!strings.Contains(err.Error(), c.says) || strings.Contains(err.Error(), "goroutine")) {
				t.Errorf("%v (%s), want %s: %s", err, fault.KindOf(err), c.kind, c.says)
			}
			if c.kind == "" && made.Power != driver.Running {
				t.Errorf("%+v", made)
			}
			for _, secret := range []string{"hunter2hunter2"} {
				if strings.Contains(w.said(), secret) || err != nil && strings.Contains(err.Error()+fault.HintOf(err), secret) {
					t.Errorf("it tells %s", secret)
				}
			}
			if strings.Contains(w.said(), "\x1b") || len(w.said()) > 300_000 {
				t.Error("people are told what steers a terminal, or too much")
			}
			if left := children(); len(left) > 0 {
				t.Errorf("left: %v", left)
			}
			w.Heal()
			if err := d.Delete(t.Context(), m); err != nil || len(w.hosts()) > 0 {
				t.Errorf("Delete afterwards: %v, there is %v", err, w.hosts())
			}
		})
	}
}

func TestAPluginThatBreaksAtAQuestionIsStartedAgainAndAskedNoMore(t *testing.T) {
	w := newWorld(t)
	d, m := w.controller(), w.machine("web", "stub-delay", "300")
	for _, order := range []string{"poll-crash", "late"} {
		if err := os.WriteFile(filepath.Join(w.dir, order), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	made, err := d.Create(t.Context(), m)
	if err != nil || made.Power != driver.Running || len(w.hosts()) != 1 {
		t.Fatalf("%+v %v, there is %v", made, err, w.hosts())
	}
	if known, _ := memory.Recall(made.State); !known.Fragile || !known.Made {
		t.Errorf("it is remembered as %+v", known)
	}
	if !strings.Contains(w.said(), "without asking") {
		t.Errorf("people were told %s", w.said())
	}
	if err := d.Delete(t.Context(), m); err != nil || len(w.hosts()) > 0 {
		t.Errorf("%v, there is %v", err, w.hosts())
	}
}

func TestACreateThatReachesItsLimitIsAskedWhatItMade(t *testing.T) {
	w := newWorld(t)
	d, m := w.controller(), w.machine("web", flagPoll, "1h", flagLimit, "1s")
	w.order("Made", "hang", 1)
	made, err := d.Create(t.Context(), m)
	if err == nil || !strings.Contains(err.Error(), "no answer to Create within 1s") || len(w.hosts()) != 1 {
		t.Fatalf("%v, there is %v", err, w.hosts())
	}
	if known, _ := memory.Recall(made.State); known.ID == "" {
		t.Errorf("it is remembered as %s", known.Config)
	}
	if err := d.Delete(t.Context(), m); err != nil || len(w.hosts()) > 0 {
		t.Errorf("%v, there is %v", err, w.hosts())
	}
}

func TestAQuestionThatIsLeftOpenHoldsNoCreateUp(t *testing.T) {
	w := newWorld(t)
	d, m := w.controller(), w.machine("web", "stub-delay", "200", flagLimit, "5s")
	if err := os.WriteFile(filepath.Join(w.dir, "poll-hang"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	made, err := d.Create(ctx, m)
	if err != nil || made.Power != driver.Running || len(w.hosts()) != 1 {
		t.Fatalf("%+v %v, there is %v", made, err, w.hosts())
	}
	if _, left := os.Stat(filepath.Join(w.dir, "poll-hang")); left == nil {
		t.Error("it was not asked during Create")
	}
	if err := d.Delete(t.Context(), m); err != nil || len(w.hosts()) > 0 {
		t.Errorf("%v, there is %v", err, w.hosts())
	}
}

func TestWhatIsBrokenOrShrunkenIsNotRemembered(t *testing.T) {
	for _, how := range []string{"broken", "shrunken"} {
		w := newWorld(t)
		d, m := w.controller(), w.machine("web", "stub-delay", "200")
		if err := os.WriteFile(filepath.Join(w.dir, "poll-"+how), nil, 0o600); err != nil {
			t.Fatal(err)
		}
		var kept [][]byte
		m = d.with(m)
		keep := m.Keep
		m.Keep = func(state []byte) error { kept = append(kept, bytes.Clone(state)); return keep(state) }
		made, err := d.Driver.Create(t.Context(), m)
		if err != nil {
			t.Fatal(err)
		}
		told := false
		for _, state := range append(kept, made.State) {
			known, err := memory.Recall(state)
			if err != nil || !json.Valid(known.Config) || strings.Contains(string(known.Config), "i-wrong") {
				t.Errorf("%s: kept %s %v", how, known.Config, err)
			}
			told = told || known.ID != "" && !known.Made
		}
		if _, left := os.Stat(filepath.Join(w.dir, "poll-"+how)); left == nil || !told {
			t.Errorf("%s: it was not asked during Create, or the id not kept", how)
		}
		w.keep(m.UID, made.State)
		if err := d.Delete(t.Context(), m); err != nil {
			t.Error(err)
		}
	}
}

func TestTheConfigTravelsByteForByte(t *testing.T) {
	w := newWorld(t)
	d, m := w.controller(), w.machine("web")
	made, err := d.Create(t.Context(), m)
	if err != nil {
		t.Fatal(err)
	}
	known, _ := memory.Recall(made.State)
	if !bytes.Contains(known.Config, []byte(`"Odd":18446744073709551615.0`)) || string(known.Key) != "key of web" {
		t.Errorf("%s, key %q", known.Config, known.Key)
	}
	// The folder is lost: the key comes back from the state.
	if err := os.RemoveAll(filepath.Join(w.state, "plugin")); err != nil {
		t.Fatal(err)
	}
	seen, err := d.Inspect(t.Context(), m)
	if err != nil || !bytes.Equal(seen.State, made.State) {
		t.Errorf("%v: %s, was %s", err, seen.State, made.State)
	}
	path := filepath.Join(w.state, "plugin", m.UID, "machines", "web", "id_rsa")
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the key: %v %v", info, err)
	}
	if key, err := d.Key(driver.Machine{State: seen.State}); err != nil || string(key) != "key of web" {
		t.Errorf("%s %v", key, err)
	}
	if seen.SSH.User != "stubby" || seen.SSH.Port != 2222 || seen.Port != 3376 {
		t.Errorf("%+v", seen)
	}
	if err := d.Delete(t.Context(), m); err != nil {
		t.Error(err)
	}
}

func TestACreateThatIsKilledIsTakenOver(t *testing.T) {
	for name, c := range map[string]struct {
		at    func(memory.Memory) bool // when the controller is killed
		whole bool                     // the host was, so it is not made anew
	}{
		"when the id is known": {func(known memory.Memory) bool { return known.ID != "" }, false},
		"when it was made":     {func(known memory.Memory) bool { return known.Made }, true},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			d, m := w.controller(), w.machine("web", "stub-delay", "300")
			ctx, kill := context.WithCancel(t.Context())
			defer kill()
			asked := d.with(m)
			keep := asked.Keep
			asked.Keep = func(state []byte) error {
				err := keep(state)
				if known, _ := memory.Recall(state); c.at(known) {
					kill()
				}
				return err
			}
			// What a killed controller would have returned is lost; what it kept is not.
			if _, err := d.Driver.Create(ctx, asked); !errors.Is(err, context.Canceled) {
				t.Fatalf("Create that is given up: %v", err)
			}
			first := w.hosts()
			if len(first) != 1 {
				t.Fatalf("there is %v", first)
			}
			made, err := d.Create(t.Context(), m)
			if err != nil || made.Power != driver.Running || len(w.hosts()) != 1 {
				t.Fatalf("%+v %v, there is %v", made, err, w.hosts())
			}
			if same := slices.Equal(first, w.hosts()); same != c.whole {
				t.Errorf("the same host: %t", same)
			}
			if !strings.Contains(w.said(), "Taking over") {
				t.Errorf("people were told %s", w.said())
			}
			if err := d.Delete(t.Context(), m); err != nil || len(w.hosts()) > 0 {
				t.Errorf("%v, there is %v", err, w.hosts())
			}
		})
	}
}

func TestWithoutAnIDPeopleAreToldToLook(t *testing.T) {
	w := newWorld(t)
	d, m := w.controller(), w.machine("web", flagPoll, "0")
	w.order("Made", "crash", 1)
	if _, err := d.Create(t.Context(), m); err == nil {
		t.Fatal("it did not break")
	}
	if _, err := d.Create(t.Context(), m); err != nil || !strings.Contains(w.said(), "of this name at the provider already, remove it") {
		t.Errorf("%v; people were told %s", err, w.said())
	}
}

func TestFlagsReachThePluginAsTheCallerGaveThem(t *testing.T) {
	w := newWorld(t)
	d := w.controller()
	kinds := map[string]driver.FlagKind{}
	for _, f := range d.Flags() {
		kinds[f.Name] = f.Kind
	}
	if kinds["stub-token"] != driver.Secret || kinds["stub-key-path"] != driver.Upload || kinds["stub-zone"] != driver.Value {
		t.Errorf("%v", kinds)
	}
	m := w.machine("web")
	m.Options["stub-key-path"] = driver.Option{Values: []string{"../../id; rm -rf"}, Content: []byte("a key")}
	m.Options["stub-tag"] = driver.Option{Values: []string{"x", "y"}}
	m.Options["stub-fast"] = driver.Option{Values: []string{"true"}}
	made, err := d.Create(t.Context(), m)
	if err != nil {
		t.Fatal(err)
	}
	known, _ := memory.Recall(made.State)
	var config stubConfig
	if err := json.Unmarshal(known.Config, &config); err != nil {
		t.Fatal(err)
	}
	content, err := os.ReadFile(config.KeyFile)
	if err != nil || string(content) != "a key" || !strings.HasPrefix(config.KeyFile, filepath.Join(w.state, "plugin", m.UID, "files")) {
		t.Errorf("%s has %q %v", config.KeyFile, content, err)
	}
	if config.Token != "hunter2hunter2" || !config.Fast || !slices.Equal(config.Tags, []string{"x", "y"}) || config.Delay != 40 {
		t.Errorf("%+v", config)
	}
	if err := d.Delete(t.Context(), m); err != nil {
		t.Error(err)
	}

	m.Options["stub-zone"] = driver.Option{Values: []string{"nowhere"}}
	if err := d.Preflight(t.Context(), m); !fault.Is(err, fault.Invalid) || fault.ReasonOf(err) != fault.ReasonUsage || err.Error() != "there is no zone nowhere" {
		t.Errorf("what the plugin refuses: %v", err)
	}
	delete(m.Options, "stub-zone")
	w.order("PreCreateCheck", "hang", 1)
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
	defer cancel()
	if err := d.Preflight(ctx, m); !fault.Is(err, fault.Unavailable) || !strings.Contains(err.Error(), "did not end its pre-create check in time") {
		t.Errorf("a check without end: %v", err)
	}
	for _, text := range []string{"-1s", "soon", "25h"} {
		m.Options[flagLimit] = driver.Option{Values: []string{text}}
		if err := d.Validate(m.Options); fault.ReasonOf(err) != fault.ReasonUsage || fault.SubjectOf(err) != flagLimit {
			t.Errorf("%s: %v", text, err)
		}
	}
}

func TestAnAddressThatIsNoneIsRefused(t *testing.T) {
	for text, want := range map[string]bool{
		"192.0.2.7": true, "2001:db8::1": true, "fe80::1%eth0": true, "web_1.example.com": true,
		"-oProxyCommand=id": false, "a b": false, "$(id)": false, "\x1b[31m": false, "fe80::1%$(id)": false, "a\nb": false, strings.Repeat("a", 300): false,
	} {
		if isAddress(text) != want {
			t.Errorf("%q is an address: %t", text, !want)
		}
	}
	w := newWorld(t)
	d, m := w.controller(), w.machine("web")
	for method, what := range map[string]string{"GetIP": "address", "GetSSHUsername": "user's name"} {
		w.order(method, "nonsense", 1000)
		made, err := d.Create(t.Context(), m)
		if !fault.Is(err, fault.Precondition) || !strings.Contains(err.Error(), "which is no "+what) || fault.HintOf(err) == "" || slices.Contains(made.Addresses, nonsense) || made.SSH.User == nonsense {
			t.Errorf("%s: %+v, %v", method, made, err)
		}
		w.Heal()
		if err := d.Delete(t.Context(), m); err != nil || len(w.hosts()) > 0 {
			t.Errorf("%v, there is %v", err, w.hosts())
		}
	}
}

func TestAHostThatDoesNotComeUpIsNoPluginThatHangs(t *testing.T) {
	w := newWorld(t)
	d, m := w.controller(), w.machine("web", flagLimit, "1s")
	if err := os.WriteFile(filepath.Join(w.dir, "mute-web"), nil, 0o600); err != nil { // it is starting for ever
		t.Fatal(err)
	}
	if _, err := d.Create(t.Context(), m); err == nil || !strings.Contains(err.Error(), "does not say within 1s that the host is running") || !strings.Contains(fault.HintOf(err), flagLimit) {
		t.Errorf("starting: %v, hint %q", err, fault.HintOf(err))
	}
	if err := d.Delete(t.Context(), m); err != nil {
		t.Error(err)
	}
	found := w.driver("stub")
	found.plugins.config.Locate = time.Hour
	slow := controller{found, w}
	m = w.machine("db", flagLimit, "1s")
	w.order("GetIP", "nonsense", 100000)
	if _, err := slow.Create(t.Context(), m); err == nil || !strings.Contains(err.Error(), "which is no address") {
		t.Errorf("without an address: %v", err)
	}
	w.Heal()
	if err := slow.Delete(t.Context(), m); err != nil || len(w.hosts()) > 0 {
		t.Errorf("%v, there is %v", err, w.hosts())
	}
}

func TestOnlyThePluginsOwnWordsOnItsFlagsAreAboutTheirUse(t *testing.T) {
	w := newWorld(t)
	d, m := w.controller(), w.machine("web")
	w.order("SetConfigFromFlags", "crash", 1)
	if err := d.Preflight(t.Context(), m); fault.ReasonOf(err) == fault.ReasonUsage || !strings.Contains(err.Error(), "broke at SetConfigFromFlags") {
		t.Errorf("%v, reason %q", err, fault.ReasonOf(err))
	}
}

func TestAHintNamesALimitWhereItWasReached(t *testing.T) {
	w := newWorld(t)
	d := w.driver("stub")
	for want, err := range map[bool]error{true: hangError{"Create", time.Minute, true}, false: hangError{"SetConfigRaw", quickLimit, false}} {
		if hint := fault.HintOf(d.trouble("x", "web", secrets{}, err, nil)); strings.Contains(hint, flagLimit) != want || hint == "" {
			t.Errorf("%v: %s", err, hint)
		}
	}
}

func TestAUserForPluginsThatIsMissingIsRefused(t *testing.T) {
	w := newWorld(t)
	plugins := New(t.Context(), Config{Dir: w.state, Logger: w.plugins().config.Logger, User: "no-such-user"})
	_, err := plugins.Find("stub")
	if !fault.Is(err, fault.Precondition) || !strings.Contains(err.Error(), `the user "no-such-user", whom the controller's computer does not have`) ||
		!strings.Contains(fault.HintOf(err), "useradd --system") || fault.ReasonOf(err) != fault.ReasonPrecheck {
		t.Errorf("%v, hint %q", err, fault.HintOf(err))
	}
}

func TestAPluginOfAnotherUserHasItsFolderAndNothingElse(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("only root can run programs as others")
	}
	w := newWorld(t)
	home, nobody := t.TempDir(), process.User{UID: 65534, GID: 65534}
	program := filepath.Join(home, filePrefix+"stub")
	self, err := os.ReadFile("/proc/self/exe")
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(os.WriteFile(program, self, 0o755), os.Chmod(filepath.Dir(home), 0o755), os.Chmod(home, 0o711), os.Chmod(w.dir, 0o777)); err != nil {
		t.Fatal(err)
	}
	found, err := w.plugins().Find("plugin:stub@" + program)
	if err != nil {
		t.Fatal(err)
	}
	found.account = &folder.Account{User: nobody, Name: "nobody", Home: home}
	d, m := controller{found, w}, w.machine("web")
	m.Options["stub-key-path"] = driver.Option{Values: []string{"id"}, Content: []byte("a key")}
	made, err := d.Create(t.Context(), m)
	if err != nil {
		t.Fatal(err)
	}
	owner := func(path string) uint32 {
		info, err := os.Lstat(path)
		if err != nil {
			t.Fatal(err)
		}
		return info.Sys().(*syscall.Stat_t).Uid
	}
	own := filepath.Join(home, "mctl", m.UID)
	for _, path := range []string{w.hosts()[0], own, filepath.Join(own, "machines", "web", "id_rsa"), filepath.Join(own, "files", "stub-key-path", "id")} {
		if uid := owner(path); uid != nobody.UID {
			t.Errorf("%s is of %d", path, uid)
		}
	}
	// A plugin that names a file of root's does not get it read.
	known, _ := memory.Recall(made.State)
	secret := filepath.Join(w.state, "secret")
	if err := os.WriteFile(secret, []byte("root's"), 0o600); err != nil {
		t.Fatal(err)
	}
	key := filepath.Join(own, "machines", "web", "id_rsa")
	for name, prepare := range map[string]func() error{
		"a path elsewhere": func() error {
			known.Config = bytes.ReplaceAll(known.Config, []byte(key), []byte(secret))
			return nil
		},
		"a link": func() error {
			known, _ = memory.Recall(made.State)
			return errors.Join(os.Remove(key), os.Symlink(secret, key))
		},
	} {
		if err := prepare(); err != nil {
			t.Fatal(err)
		}
		w.keep(m.UID, known.Encode())
		seen, err := d.Inspect(t.Context(), m)
		if err == nil || bytes.Contains(seen.State, []byte(base64.StdEncoding.EncodeToString([]byte("root's")))) {
			t.Errorf("%s: %+v %v", name, seen, err)
		}
	}
	if err := d.Delete(t.Context(), m); err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(own); err == nil || len(w.hosts()) > 0 {
		t.Errorf("%s is left, or %v", own, w.hosts())
	}
	if text, err := os.ReadFile(secret); err != nil || string(text) != "root's" {
		t.Errorf("root's file has %q %v", text, err)
	}
}
