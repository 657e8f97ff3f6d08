package e2e

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	front "mctl/test/cloud/google"
)

// identity is what tells a machine from others.
type identity struct {
	UID    string `json:"uid"`
	Status struct {
		ProviderID string `json:"providerId"`
		Address    string `json:"address"`
	} `json:"status"`
}

func TestTwentyMachinesAreMadeAndRemovedAtOnce(t *testing.T) {
	t.Parallel()
	const many = 20
	l := newLab(t)
	r := newRunner(l, []string{"--driver", "fake", "--fake-delay=500"})
	at := func(do func(r *runner, name string)) {
		t.Helper()
		var all sync.WaitGroup
		for i := range many {
			all.Go(func() { do(r, nameOf(i)) })
		}
		all.Wait()
	}
	for range 2 { // the second time the names are those of machines that are gone
		at(func(r *runner, name string) {
			if made := r.createMachine(name); made.code != 0 || made.stderr != "" {
				t.Errorf("create: %s", made)
			}
		})
		if listed := r.list(); len(listed) != many {
			t.Errorf("there are %d: %q", len(listed), listed)
		}
		uids, ids, addresses := map[string]bool{}, map[string]bool{}, map[string]bool{}
		for i := range many {
			var m identity
			if err := json.Unmarshal([]byte(l.must("inspect", "--output", "json", nameOf(i))), &m); err != nil {
				t.Fatal(err)
			}
			uids[m.UID], ids[m.Status.ProviderID], addresses[m.Status.Address] = true, true, true
		}
		if len(uids) != many || len(ids) != many || len(addresses) != many {
			t.Errorf("of %d machines there are %d uids, %d hosts, %d addresses", many, len(uids), len(ids), len(addresses))
		}
		at(func(r *runner, name string) { r.ok("rm", "-f", name) })
		if listed := l.must("ls", "-q"); listed != "" || len(r.list()) > 0 {
			t.Errorf("left: %q, folders %q", listed, r.list())
		}
	}
	// Of many that want one name at once, one gets it.
	var all sync.WaitGroup
	var mu sync.Mutex
	codes := map[int]int{}
	for range many {
		all.Go(func() {
			made := r.createMachine("wanted")
			mu.Lock()
			defer mu.Unlock()
			codes[made.code]++
			if made.code != 0 && !strings.HasPrefix(made.stderr, `Docker machine "wanted" already exists`) {
				t.Errorf("the name is taken: %s", made)
			}
		})
	}
	all.Wait()
	if codes[0] != 1 || codes[1] != many-1 || !slices.Equal(r.list(), []string{"wanted"}) || !r.exist("wanted") {
		t.Errorf("exit codes %v, folders %q", codes, r.list())
	}
	r.ok("rm", "-y", "wanted")
}

// TestAKilledCreateLeavesWhatTheRunnerNeedsToRemoveIt kills the client, not the controller, at moments spread over a create.
func TestAKilledCreateLeavesWhatTheRunnerNeedsToRemoveIt(t *testing.T) {
	t.Parallel()
	g := newGoogle(t, false, front.Config{})
	l := newLab(t)
	r := newRunner(l, g.flags())
	l.must("ls", "-q") // the controller is there
	found := 0
	for i := range 12 {
		name := nameOf(i)
		command := exec.Command(r.program, append(append([]string{"--bugsnag-api-token=no-report", "create"}, r.create...), name)...)
		command.Env = l.environment(r.env...)
		if err := command.Start(); err != nil {
			t.Fatal(err)
		}
		if i%3 == 0 { // right after it was taken note of
			eventually(t, 20*time.Second, "the record", func() bool { return strings.Contains(l.must("ls", "-q"), name) })
		} else {
			pass(time.Duration(rand.IntN(400)) * time.Millisecond)
		}
		if err := command.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		_ = command.Wait()
		known := strings.Contains(l.must("ls", "-q"), name)
		if !known {
			if instances := g.cloud.Instances(t.Context()); len(instances) > 0 {
				t.Errorf("%d: nobody knows of %d instances", i, len(instances))
			}
			continue
		}
		found++
		if config := r.config(name); config.DriverName != "google" || config.Driver.Project != "lab-project" || config.Driver.MachineType != "e2-medium" {
			t.Errorf("%d: config.json has %+v", i, config)
		}
		if _, err := os.Stat(filepath.Join(l.state, "machines", name, "id_rsa")); err != nil {
			t.Errorf("%d: %v", i, err)
		}
		r.remove(name)
		g.nothingLeft(fmt.Sprint("after the removal of ", i))
	}
	if found < 4 {
		t.Errorf("of 12 creates that were killed %d had begun", found)
	}
	for _, name := range r.list() { // killed before they asked, or while they did
		if r.exist(name) {
			t.Errorf("%s is taken for a machine", name)
		}
		old := time.Now().Add(-2 * time.Minute)
		if err := os.Chtimes(filepath.Join(filepath.Dir(r.configPath(name)), ".mctl"), old, old); err != nil {
			t.Error(err)
		}
	}
	l.must("ls")
	if listed := r.list(); len(listed) > 0 {
		t.Errorf("when nobody can be making them any more: %q", listed)
	}
	// Those that were killed before their folder had a name are hidden, and swept after a day.
	hidden, _ := filepath.Glob(filepath.Join(l.state, "machines", ".runner-*"))
	for _, path := range hidden {
		old := time.Now().Add(-48 * time.Hour)
		if err := os.Chtimes(path, old, old); err != nil {
			t.Error(err)
		}
	}
	r.create = append(r.create, "--no-wait")
	r.ok(append(append([]string{"create"}, r.create...), nameOf(99))...)
	r.remove(nameOf(99))
}

// TestTheViewOfAMachineThatSomebodyElseRemovedGoes has two clients with folders of their own at one controller.
func TestTheViewOfAMachineThatSomebodyElseRemovedGoes(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	r := newRunner(l, []string{"--driver", "fake"})
	other := newRunner(l, nil)
	for i, look := range [][]string{{"ls"}, {"inspect", nameOf(1)}, {"config", nameOf(2)}, {"rm", "-y", nameOf(3)}, {"create", "--driver", "fake", nameOf(4)}} {
		name := nameOf(i)
		if made := r.createMachine(name); made.code != 0 {
			t.Fatalf("create: %s", made)
		}
		// The other client has no folder; what it removes leaves ours as it is.
		folder, aside := filepath.Dir(r.configPath(name)), filepath.Join(l.state, "aside")
		if err := os.Rename(folder, aside); err != nil {
			t.Fatal(err)
		}
		other.ok("rm", "-y", name)
		if err := os.Rename(aside, folder); err != nil {
			t.Fatal(err)
		}
		if !slices.Contains(r.list(), name) {
			t.Errorf("%d: nothing was left to look at", i)
		}
		answer := r.call(look...)
		if look[0] == "create" {
			if answer.code != 0 || !r.exist(name) {
				t.Errorf("%d: a machine of the name that is free: %s", i, answer)
			}
			r.remove(name)
			continue
		}
		if slices.Contains(r.list(), name) {
			t.Errorf("after %q the folder is there: %s", look, answer)
		}
	}
}
