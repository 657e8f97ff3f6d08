package machine

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"mctl/internal/fault"
	"mctl/internal/mctl/cli"
	"mctl/internal/mctl/controllertest"
	controllerv1 "mctl/proto/mctl/controller/v1"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestFiltersKeepWhatTheyNamed(t *testing.T) {
	m := controllertest.Running("web-1", "10.0.0.1")
	m.Spec.Driver, m.Spec.Swarm = "Generic", &controllerv1.SwarmSpec{MasterName: "M1"}
	m.Spec.Engine = &controllerv1.EngineSpec{Labels: []string{"tier=web", "bare", "a=b=c"}}
	for filters, want := range map[string]bool{
		"":                                  true,
		"name=web":                          true,
		"name=^1":                           false,
		"name=^x name=1$":                   true,
		"NAME=web state=running":            true,
		"state=Stopped":                     false,
		"state=stopped state=RUNNING":       true,
		"driver=generic":                    true,
		"driver=generic state=stopped":      false,
		"label=tier=WEB":                    true,
		"label=Tier=web":                    false,
		"label=tier=":                       false,
		"label=bare":                        true,
		"label=a=b=c":                       true,
		"swarm=x":                           false,
		"swarm=x swarm=m1":                  true,
		"label=x=y label=tier=web driver=x": false,
	} {
		f, err := parseFilters(strings.Fields(filters))
		if err != nil || f.matches(m) != want {
			t.Errorf("%q: not %t, %v", filters, want, err)
		}
	}
}

func TestSinceIsATimeOrAgo(t *testing.T) {
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	for text, want := range map[string]time.Time{"10m": now.Add(-10 * time.Minute), "2026-01-01T00:00:00Z": time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)} {
		if got, err := parseSince(text, now); err != nil || !got.Equal(want) {
			t.Errorf("%s: %v, %v", text, got, err)
		}
	}
	if _, err := parseSince("yesterday", now); fault.ReasonOf(err) != fault.ReasonUsage {
		t.Errorf("%v", err)
	}
}

// run calls a command as the root does and returns what it printed.
func run(ctx context.Context, env *cli.Env, args ...string) (string, error) {
	for _, command := range Commands(env) {
		if command.Name() == args[0] {
			command.SetArgs(args[1:])
			command.SilenceErrors, command.SilenceUsage = true, true
			err := command.ExecuteContext(ctx)
			return env.Out.(*bytes.Buffer).String(), err
		}
	}
	return "", errors.New("no such command")
}

func TestListShowsEnginesErrorsAndNothingThatSteersATerminal(t *testing.T) {
	c := controllertest.New(t)
	m := controllertest.Running("web", "10.0.0.1")
	m.Status.Engine = &controllerv1.EngineStatus{Version: "29.1.0"}
	m.Status.Error = "disk\nis \x1b[31mfull"
	c.Put(m)
	got, err := run(t.Context(), c.Env(), "ls")
	want := "NAME   ACTIVE   DRIVER   STATE     URL                   SWARM   DOCKER    ERRORS\n" +
		"web    -        fake     Running   tcp://10.0.0.1:2376           v29.1.0   disk is [31mfull\n"
	if err != nil || got != want {
		t.Errorf("%q, %v", got, err)
	}
}

func TestRemovalIsOneOfEachAndAtOnce(t *testing.T) {
	c := controllertest.New(t)
	for i := range 5 {
		m := controllertest.Running(fmt.Sprint("m", i), "10.0.0.1")
		c.Put(m)
		if err := c.Dir().Machine(m.GetName()).Claim(m.GetUid()); err != nil {
			t.Fatal(err)
		}
	}
	c.Act = func(_ string, m *controllerv1.Machine) {
		if m.GetName() == "m3" {
			c.Change("m3", controllertest.Park(fault.Denied, "it may not go", "ask"))
			return
		}
		c.Remove(m.GetName())
	}
	got, err := run(t.Context(), c.Env(), "rm", "-y", "m0", "m1", "m2", "m3", "m1", "nosuch")
	if err == nil || !strings.Contains(err.Error(), `Error removing host "m3": it may not go`) || !strings.Contains(err.Error(), `Error removing host "nosuch": Docker machine "nosuch" does not exist`) {
		t.Errorf("%v", err)
	}
	if n := strings.Count(got, "Successfully removed"); n != 3 || !strings.HasPrefix(got, "About to remove m0, m1, m2, m3, nosuch\nWARNING: This action will delete both local reference and remote instance.\n") {
		t.Errorf("%q", got)
	}
	if names, _ := c.Dir().Folders(); !slices.Equal(names, []string{"m3", "m4"}) {
		t.Errorf("folders %q", names)
	}
}

func TestForceIsNeverAFailureAndForgetsFiles(t *testing.T) {
	c := controllertest.New(t)
	if err := c.Dir().Machine("gone").Claim("uid"); err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(c.Dir().Machine("foreign").Path, 0o700); err != nil {
		t.Fatal(err)
	}
	env := c.Env()
	if _, err := run(t.Context(), env, "rm", "-f", "gone", "foreign"); err != nil {
		t.Error(err)
	}
	if names, _ := c.Dir().Folders(); !slices.Equal(names, []string{"foreign"}) {
		t.Errorf("folders %q", names)
	}
	if out := env.Out.(*bytes.Buffer).String(); strings.Count(out, "does not exist, so there is nothing to remove\n") != 2 || env.Err.(*bytes.Buffer).Len() > 0 {
		t.Errorf("it says %q, %q", out, env.Err)
	}
}

func TestForceLeavesWhatDoesNotGoInTimeToTheController(t *testing.T) {
	c := controllertest.New(t)
	c.Put(controllertest.Running("web", "10.0.0.1"))
	if err := c.Dir().Machine("web").Claim("uid-web"); err != nil {
		t.Fatal(err)
	}
	c.Act = func(string, *controllerv1.Machine) {
		c.Change("web", func(m *controllerv1.Machine) { m.Status.Error = "it may not go" })
	}
	env := c.Env()
	out, err := run(t.Context(), env, "rm", "-f", "--wait-delete", "50ms", "web")
	if err != nil || !strings.HasSuffix(out, "\"web\" is not gone yet. Its removal is noted and goes on until it is; so far: it may not go\n") || env.Err.(*bytes.Buffer).Len() > 0 {
		t.Errorf("%q, %q, %v", out, env.Err, err)
	}
	if m, err := c.Env().Get(t.Context(), "web"); err != nil || !m.GetSpec().GetDeletion().GetPersist() || m.GetSpec().GetDeletion().GetForce() {
		t.Errorf("%v, %v", m, err)
	}
	if !c.Dir().Machine("web").Exists() {
		t.Error("the folder went before the machine")
	}
	// Without force, the same is a failure.
	_, err = run(t.Context(), c.Env(), "rm", "-y", "--wait-delete", "50ms", "web")
	if !fault.Is(err, fault.Unavailable) || !strings.Contains(err.Error(), "goes on until it is") || !strings.Contains(fault.HintOf(err), "--forget web") {
		t.Errorf("%v, %q", err, fault.HintOf(err))
	}
}

func TestForceFailsWhereNothingCouldBeNoted(t *testing.T) {
	c := controllertest.New(t)
	c.Put(controllertest.Running("web", "10.0.0.1"))
	c.Refuse = func(method string) error {
		if method == "DeleteMachine" {
			return fault.New("test", fault.Denied, "web", "you may not").WithHint("ask")
		}
		return nil
	}
	if _, err := run(t.Context(), c.Env(), "rm", "-f", "web"); !fault.Is(err, fault.Denied) {
		t.Errorf("%v", err)
	}
	for _, args := range [][]string{{"rm", "-f"}, {"rm", "--wait-delete", "-1s", "web"}, {"rm", "--wait-delete", "soon", "web"}} {
		if _, err := run(t.Context(), c.Env(), args...); err == nil {
			t.Errorf("%q is taken", args)
		}
	}
}

func TestNobodyThereToAnswerRemovesNothing(t *testing.T) {
	for _, answer := range []string{"", "n\n", "maybe\n", "\n"} {
		c := controllertest.New(t)
		c.Put(controllertest.Running("web", "10.0.0.1"))
		env := c.Env()
		env.In = strings.NewReader(answer)
		if _, err := run(t.Context(), env, "rm", "web"); err != nil || slices.Contains(c.Calls(), "DeleteMachine") {
			t.Errorf("answered %q: %v, %q", answer, err, c.Calls())
		}
	}
}

func TestRemovalThatIsInterruptedGoesOn(t *testing.T) {
	c := controllertest.New(t)
	c.Put(controllertest.Running("web", "10.0.0.1"))
	ctx, cancel := context.WithCancel(t.Context())
	c.Act = func(string, *controllerv1.Machine) { cancel() }
	_, err := run(ctx, c.Env(), "rm", "-y", "web")
	var exit cli.Exit
	if !errors.As(err, &exit) || exit.Code != cli.ExitInterrupted || !strings.Contains(exit.Hint, "`mctl wait --deleted web`") {
		t.Errorf("%#v", err)
	}
}

func TestWaitPicksUpWhereItWasLeft(t *testing.T) {
	c := controllertest.New(t)
	m := controllertest.Running("web", "127.0.0.1")
	m.Generation, m.Status.State, m.Status.Phase, m.Status.Progress = 2, "Starting", controllerv1.Phase_PHASE_INSTALLING, "installing Docker"
	c.Put(m)
	env := c.Env()
	type outcome struct {
		out string
		err error
	}
	done := make(chan outcome, 1)
	go func() { out, err := run(t.Context(), env, "wait", "web"); done <- outcome{out, err} }()
	c.Wait("it watches", func() bool { return slices.Contains(c.Calls(), "WatchMachines") })
	c.Change("web", controllertest.Reach)
	if o := <-done; o.err != nil || o.out != "(web) installing Docker\nThe host of \"web\" runs.\n" {
		t.Errorf("%q, %v", o.out, o.err)
	}
	c.Put(controllertest.Running("off", ""))
	c.Change("off", func(m *controllerv1.Machine) {
		m.Spec.Power = controllerv1.PowerState_POWER_STATE_STOPPED
		controllertest.Reach(m)
	})
	if out, err := run(t.Context(), c.Env(), "wait", "off"); err != nil || out != "Machine \"off\" is Stopped.\n" {
		t.Errorf("%q, %v", out, err)
	}
}

func TestWaitForWhatIsThereTellsNoOldStory(t *testing.T) {
	c := controllertest.New(t)
	c.Put(controllertest.Running("web", "127.0.0.1"))
	c.Emit(&controllerv1.Event{Machine: "web", MachineUid: "uid-web", Type: "PROGRESS", Message: "Copying...", Attributes: map[string]string{"generation": "1"}})
	if out, err := run(t.Context(), c.Env(), "wait", "web"); err != nil || out != "The host of \"web\" runs.\n" {
		t.Errorf("%q, %v", out, err)
	}
}

func TestWaitHasALimitAndAFailureIsTold(t *testing.T) {
	c := controllertest.New(t)
	m := controllertest.Running("web", "127.0.0.1")
	m.Generation = 2
	c.Put(m)
	_, err := run(t.Context(), c.Env(), "wait", "--timeout", "50ms", "web")
	if !fault.Is(err, fault.Unavailable) || !regexp.MustCompile(`^machine "web" did not get there in time$`).MatchString(err.Error()) {
		t.Errorf("%v", err)
	}
	c.Change("web", controllertest.Park(fault.Quota, "no room", "remove one"))
	if _, err := run(t.Context(), c.Env(), "wait", "web"); err == nil || err.Error() != "no room" || fault.HintOf(err) != "remove one" {
		t.Errorf("%v", err)
	}
}

func TestWaitForWhatShallBeGoneWaitsForAllOfThem(t *testing.T) {
	c := controllertest.New(t)
	c.Put(controllertest.Running("web", "127.0.0.1"))
	if err := c.Dir().Machine("web").Claim("uid-web"); err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { _, err := run(t.Context(), c.Env(), "wait", "--deleted", "gone", "web"); done <- err }()
	c.Wait("it watches", func() bool { return slices.Contains(c.Calls(), "WatchMachines") })
	select {
	case err := <-done:
		t.Fatalf("it did not wait for the second: %v", err)
	default:
	}
	c.Remove("web")
	if err := <-done; err != nil || c.Dir().Machine("web").Exists() {
		t.Errorf("%v, the folder is there: %v", err, c.Dir().Machine("web").Exists())
	}
}

func TestRetryGoesOnAndFollows(t *testing.T) {
	c := controllertest.New(t)
	m := controllertest.Running("web", "127.0.0.1")
	controllertest.Park(fault.Denied, "no", "")(m)
	c.Put(m)
	if out, err := run(t.Context(), c.Env(), "retry", "web"); err != nil || !strings.HasSuffix(out, "The host of \"web\" runs.\n") {
		t.Errorf("%q, %v", out, err)
	}
	if !slices.Contains(c.Calls(), "RetryMachine") {
		t.Errorf("%q", c.Calls())
	}
}

func TestEventsEndWhenThereAreNoMoreOrNobodyWatches(t *testing.T) {
	c := controllertest.New(t)
	c.Emit(&controllerv1.Event{Machine: "web", Type: "AGENT_LOST", Message: "gone\x1b[2J away"})
	out, err := run(t.Context(), c.Env(), "events")
	if err != nil || !regexp.MustCompile(`^\S+Z  AGENT_LOST          web               gone \[2J away\n$`).MatchString(out) {
		t.Errorf("%q, %v", out, err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	reader, writer := io.Pipe()
	env := c.Env()
	env.Out = writer
	done := make(chan error, 1)
	go func() {
		command := newEvents(env)
		command.SetArgs([]string{"--follow"})
		done <- command.ExecuteContext(ctx)
	}()
	line := make([]byte, 1000)
	if n, err := reader.Read(line); err != nil || !strings.Contains(string(line[:n]), "AGENT_LOST") {
		t.Errorf("%q, %v", line[:n], err)
	}
	cancel()
	if err := <-done; err != nil {
		t.Errorf("it ends with %v", err)
	}
	c = controllertest.New(t)
	c.Refuse = func(string) error { return fault.New("test", fault.Denied, "", "no").WithHint("h") }
	if _, err := run(t.Context(), c.Env(), "events"); !fault.Is(err, fault.Denied) {
		t.Errorf("%v", err)
	}
}
