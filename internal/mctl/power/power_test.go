package power_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"

	"go.uber.org/goleak"
	"google.golang.org/protobuf/types/known/timestamppb"

	"mctl/internal/fault"
	"mctl/internal/mctl/cli"
	"mctl/internal/mctl/controllertest"
	"mctl/internal/mctl/power"
	controllerv1 "mctl/proto/mctl/controller/v1"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// run calls a command as the root does.
func run(ctx context.Context, env *cli.Env, args ...string) error {
	for _, command := range power.Commands(env) {
		if command.Name() == args[0] {
			command.SetArgs(args[1:])
			command.SilenceErrors, command.SilenceUsage = true, true
			return command.ExecuteContext(ctx)
		}
	}
	return errors.New("no such command")
}

// newWorld has machines, running ones and those whose names end in "off".
func newWorld(t *testing.T, names ...string) *controllertest.Controller {
	t.Helper()
	c := controllertest.New(t)
	for _, name := range names {
		m := controllertest.Running(name, "10.0.0.1")
		if strings.HasSuffix(name, "off") {
			m.Spec.Power = controllerv1.PowerState_POWER_STATE_STOPPED
			controllertest.Reach(m)
		}
		c.Put(m)
	}
	return c
}

func TestEachVerbAsksForItsActAndTellsItInDockerMachinesWords(t *testing.T) {
	newIP := "machines may have new IP addresses. You may need to re-run the `mctl env` command.\n"
	provision := "Copying certs to the local machine directory...\nCopying certs to the remote machine...\nSetting Docker configuration on the remote daemon...\n"
	for _, c := range []struct{ args, method, out string }{
		{"start off", "StartMachine", "Starting \"off\"...\nMachine \"off\" was started.\nStarted " + newIP},
		{"stop web", "StopMachine", "Stopping \"web\"...\nMachine \"web\" was stopped.\n"},
		{"kill web", "StopMachine", "Killing \"web\"...\nMachine \"web\" was killed.\n"},
		{"restart web", "RestartMachine", "Restarting \"web\"...\nRestarted " + newIP},
		{"provision web", "ProvisionMachine", provision},
		{"upgrade web", "UpgradeMachine", "Upgrading docker...\n"},
		{"upgrade off", "UpgradeMachine", "Starting machine so machine can be upgraded...\n(off) Starting the host...\nUpgrading docker...\n"},
		{"regenerate-certs -f web", "RegenerateCertificates", "Regenerating TLS certificates\n"},
		{"regenerate-certs -f --client-certs web", "RegenerateCertificates", "Regenerating TLS certificates\nRegenerating local certificates\n"},
	} {
		world := newWorld(t, "web", "off")
		world.Act = func(_ string, m *controllerv1.Machine) {
			if c.args == "upgrade off" {
				tell := func(kind, text string) {
					world.Emit(&controllerv1.Event{Machine: m.GetName(), MachineUid: m.GetUid(), Type: kind, Message: text, Time: timestamppb.Now()})
				}
				tell("PROGRESS", "Starting the host...")
				tell("PHASE_CHANGED", "Installing")
			}
			world.Change(m.GetName(), controllertest.Reach)
		}
		env := world.Env()
		if err := run(t.Context(), env, strings.Fields(c.args)...); err != nil {
			t.Errorf("%s: %v", c.args, err)
		}
		if got := env.Out.(*bytes.Buffer).String(); got != c.out || !slices.Contains(world.Calls(), c.method) {
			t.Errorf("%s: %q, calls %q", c.args, got, world.Calls())
		}
	}
}

func TestKillCutsThePower(t *testing.T) {
	for verb, want := range map[string]bool{"kill": true, "stop": false} {
		c := newWorld(t, "web")
		if err := run(t.Context(), c.Env(), verb, "web"); err != nil {
			t.Fatal(err)
		}
		if m, err := c.Env().Get(t.Context(), "web"); err != nil || m.GetSpec().GetForce() != want {
			t.Errorf("%s: force %v, %v", verb, m.GetSpec().GetForce(), err)
		}
	}
}

func TestUnknownNameStopsABatchBeforeItBegins(t *testing.T) {
	c := newWorld(t, "web", "db")
	env := c.Env()
	err := run(t.Context(), env, "stop", "web", "nosuch", "db")
	if !fault.Is(err, fault.NotFound) || env.Out.(*bytes.Buffer).Len() > 0 || slices.Contains(c.Calls(), "StopMachine") {
		t.Errorf("%v, %q, %q", err, env.Out, c.Calls())
	}
}

func TestOneThatFailsHoldsUpNoOther(t *testing.T) {
	c := newWorld(t, "a", "b", "c")
	c.Act = func(_ string, m *controllerv1.Machine) {
		if m.GetName() == "b" {
			c.Change("b", controllertest.Park(fault.Denied, "no", "ask"))
			return
		}
		c.Change(m.GetName(), controllertest.Reach)
	}
	env := c.Env()
	env.Global.Output = "json"
	err := run(t.Context(), env, "restart", "a", "b", "c")
	if err == nil || fault.HintOf(err) != "ask" {
		t.Errorf("%v", err)
	}
	env.Report("mctl restart", err)
	got := env.Out.(*bytes.Buffer).String()
	for _, want := range []string{`"message": "no"`, `"name": "a"`, `"name": "b"`, `"name": "c"`} {
		if !strings.Contains(got, want) {
			t.Errorf("the document lacks %s", want)
		}
	}
}

func TestManyAreDoneAtOnce(t *testing.T) {
	names := []string{"a", "b", "c", "d"}
	c := newWorld(t, names...)
	var mu sync.Mutex
	asked := 0
	c.Act = func(string, *controllerv1.Machine) {
		mu.Lock()
		defer mu.Unlock()
		if asked++; asked == len(names) { // none is done before all are asked for
			for _, name := range names {
				c.Change(name, controllertest.Reach)
			}
		}
	}
	if err := run(t.Context(), c.Env(), append([]string{"stop"}, names...)...); err != nil {
		t.Error(err)
	}
}

func TestNoMoreThanSixteenAreDoneAtOnceAndAllInTheEnd(t *testing.T) {
	const many, limit = 50, 16
	var names []string
	for i := range many {
		names = append(names, fmt.Sprintf("m%d", i))
	}
	c := newWorld(t, names...)
	var mu sync.Mutex
	var open []string
	most, asked, done := 0, 0, 0
	c.Act = func(_ string, m *controllerv1.Machine) {
		mu.Lock()
		defer mu.Unlock()
		open, asked = append(open, m.GetName()), asked+1
		most = max(most, len(open))
	}
	var ends sync.WaitGroup
	ends.Go(func() {
		for done < many {
			// Each is watched once it was asked for, which gives one too many the time to come.
			c.Wait("as many as may are under way", func() bool {
				mu.Lock()
				defer mu.Unlock()
				return len(open) >= min(limit, many-done) && count(c.Calls(), "WatchMachines") >= asked
			})
			mu.Lock()
			ended := open
			open, done = nil, done+len(ended)
			mu.Unlock()
			for _, name := range ended {
				c.Change(name, controllertest.Reach)
			}
		}
	})
	if err := run(t.Context(), c.Env(), append([]string{"stop"}, names...)...); err != nil {
		t.Error(err)
	}
	ends.Wait()
	if done != many || most != limit {
		t.Errorf("%d were done, %d at once", done, most)
	}
}

func count(all []string, one string) (n int) {
	for _, s := range all {
		if s == one {
			n++
		}
	}
	return n
}

func TestInterruptLeavesTheWorkAndSaysHowToPickItUp(t *testing.T) {
	c := newWorld(t, "web", "db")
	ctx, cancel := context.WithCancel(t.Context())
	c.Act = func(string, *controllerv1.Machine) { cancel() }
	err := run(ctx, c.Env(), "stop", "web", "db")
	var exit cli.Exit
	if !errors.As(err, &exit) || exit.Code != cli.ExitInterrupted || !strings.Contains(exit.Hint, "`mctl wait web db`") {
		t.Errorf("%#v", err)
	}
}

func TestAgentIsLentForAnAdoptedHostWithoutAKey(t *testing.T) {
	c := newWorld(t)
	m := controllertest.Running("adopted", "10.0.0.1")
	m.Spec.Driver = "generic"
	c.Put(m)
	// There is no agent here, which is no reason not to try: only if somebody must log in anew is one needed.
	if err := run(t.Context(), c.Env(), "provision", "adopted"); err != nil {
		t.Error(err)
	}
}
