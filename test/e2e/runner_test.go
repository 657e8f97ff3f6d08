package e2e

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"google.golang.org/api/compute/v1"

	front "mctl/test/cloud/google"
	cloud "mctl/test/cloud/lab"
)

// runner is a GitLab Runner with the docker+machine executor, as far as docker-machine sees it: the commands that it calls,
// and the files that it reads without asking anybody.
type runner struct {
	*lab
	program string   // mctl under its predecessor's name
	env     []string // of its service
	create  []string // the driver, and MachineOptions of its config.toml
}

func newRunner(l *lab, create []string, env ...string) *runner {
	l.t.Helper()
	program := filepath.Join(l.t.TempDir(), "docker-machine")
	if err := os.Symlink(filepath.Join(l.bin, "mctl"), program); err != nil {
		l.t.Fatal(err)
	}
	return &runner{lab: l, program: program, env: append(env, "MACHINE_STORAGE_PATH="+l.state), create: create}
}

// within is the Runner as a subtest sees it.
func (r *runner) within(t *testing.T) *runner {
	return &runner{lab: r.lab.within(t), program: r.program, env: r.env, create: r.create}
}

// nameOf is how the Runner calls a machine.
func nameOf(n int) string {
	return fmt.Sprintf("runner-abcd1234-docker-machine-1700000000-%08x", 0x0123abcd+n)
}

func (r *runner) call(args ...string) result {
	r.t.Helper()
	return r.execEnv(r.env, nil, r.program, append([]string{"--bugsnag-api-token=no-report"}, args...)...)
}

func (r *runner) ok(args ...string) string {
	r.t.Helper()
	answer := r.call(args...)
	if answer.code != 0 || answer.stderr != "" {
		r.t.Errorf("want success in silence: %s", answer)
	}
	return strings.TrimSpace(answer.stdout)
}

func (r *runner) createMachine(name string) result {
	r.t.Helper()
	return r.call(append(append([]string{"create"}, r.create...), name)...)
}

// list reads the directory of the store, as the Runner does in place of ls.
func (r *runner) list() []string {
	entries, err := os.ReadDir(filepath.Join(r.state, "machines"))
	if err != nil && !os.IsNotExist(err) {
		r.t.Error(err)
	}
	var names []string
	for _, entry := range entries {
		if entry.IsDir() && !strings.HasPrefix(entry.Name(), ".") {
			names = append(names, entry.Name())
		}
	}
	return names
}

func (r *runner) configPath(name string) string {
	return filepath.Join(r.state, "machines", name, "config.json")
}

// exist is the Runner's test: the file, then inspect.
func (r *runner) exist(name string) bool {
	r.t.Helper()
	if _, err := os.Stat(r.configPath(name)); err != nil {
		return false
	}
	return r.call("inspect", name).code == 0
}

// machineConfig is what the Runner reads of config.json.
type machineConfig struct {
	DriverName string
	Driver     struct{ Project, Zone, MachineType string }
}

func (r *runner) config(name string) machineConfig {
	r.t.Helper()
	var config machineConfig
	text, err := os.ReadFile(r.configPath(name))
	if err == nil {
		err = json.Unmarshal(text, &config)
	}
	if err != nil {
		r.t.Errorf("config.json of %s: %v", name, err)
	}
	return config
}

// job runs one, with the certificates where the Runner looks for them.
func (r *runner) job(name string) {
	r.t.Helper()
	r.ok("config", name) // is it up and reachable?
	url, certs := r.ok("url", name), r.ok("inspect", name, "-f", "{{.HostOptions.AuthOptions.StorePath}}")
	if ip := r.ok("ip", name); !strings.HasPrefix(url, "tcp://"+ip+":") {
		r.t.Errorf("ip is %q, url %q", ip, url)
	}
	docker := []string{"DOCKER_HOST=" + url, "DOCKER_TLS_VERIFY=1", "DOCKER_CERT_PATH=" + certs}
	for _, step := range []struct {
		stdin []byte
		args  []string
	}{{busybox(r.t), []string{"import", "-", "busybox:latest"}}, {nil, []string{"run", "--rm", "busybox", "echo", "job"}}} {
		if answer := r.execEnv(docker, step.stdin, "docker", step.args...); answer.code != 0 {
			r.t.Errorf("the job on %s: %s", name, answer)
		}
	}
}

// remove is the Runner's way to part with a machine: stop, whose failure is only a warning, then rm.
func (r *runner) remove(name string) {
	r.t.Helper()
	if !r.exist(name) {
		r.t.Errorf("%s does not exist, so the Runner would not remove it", name)
	}
	if stopped := r.call("stop", name); stopped.code != 0 {
		r.t.Logf("stop: %s", stopped)
	}
	r.ok("rm", "-y", name)
	if r.exist(name) || slices.Contains(r.list(), name) {
		r.t.Errorf("%s is there after rm", name)
	}
}

func (r *runner) sequence(name string) {
	r.t.Helper()
	if made := r.createMachine(name); made.code != 0 || made.stderr != "" {
		r.t.Errorf("create: %s", made)
	}
	if !r.exist(name) || !slices.Contains(r.list(), name) {
		r.t.Errorf("%s does not exist, listed are %q", name, r.list())
	}
	r.ok("update-labels", "--label", "ci-job=1", "--label", "stage=test", name)
	r.ok("update-labels", "--label", "ci-job=2", name)
	r.job(name)
	r.ok("provision", name)
	r.job(name)
	r.remove(name)
}

func TestRunnerPlaysItsSequenceOnRealHosts(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	r := newRunner(l, withDocker(t))
	name := nameOf(0)
	r.sequence(name)
	l.nothingLeft("after the Runner's removal")

	// config tells a machine whose engine does not answer.
	if made := r.createMachine(name); made.code != 0 {
		t.Fatalf("create: %s", made)
	}
	l.ssh(name, "systemctl", "stop", "docker.socket", "docker.service")
	if up := r.call("config", name); up.code != 1 {
		t.Errorf("config of a machine without engine: %s", up)
	}
	r.ok("provision", name)
	r.job(name)
	r.ok("rm", "-f", name)
	l.nothingLeft("after rm -f")
}

func TestRunnerPlaysItsSequenceOnGoogle(t *testing.T) {
	t.Parallel()
	g := newGoogle(t, true, front.Config{})
	// MachineOptions give the project, the service's environment all else.
	r := newRunner(newLab(t), []string{"--driver", "google", "--google-project=lab-project"},
		"GOOGLE_COMPUTE_CUSTOM_ENDPOINT="+g.server.URL+front.BasePath, "GOOGLE_MACHINE_TYPE=e2-small")
	name := nameOf(0)
	// The Runner finds the machine from before the cloud is asked to make anything.
	var seen []machineConfig
	g.cloud.Fail(cloud.Fault{Call: "instances.insert", Do: func() { seen = append(seen, r.config(name)) }})
	var labels map[string]string
	g.cloud.Fail(cloud.Fault{Call: "instances.delete", Do: func() {
		for _, i := range g.cloud.Instances(t.Context()) {
			labels = i.Doc.(*compute.Instance).Labels
		}
	}})
	r.sequence(name)
	g.nothingLeft("after the Runner's removal")
	want := machineConfig{DriverName: "google"}
	want.Driver.Project, want.Driver.Zone, want.Driver.MachineType = "lab-project", "us-central1-a", "e2-small"
	if len(seen) != 1 || seen[0] != want {
		t.Errorf("when the instance was made, config.json had %+v, want %+v", seen, want)
	}
	if labels["ci-job"] != "2" || labels["stage"] != "test" || labels["mctl-machine"] == "" {
		t.Errorf("the instance had the labels %v", labels)
	}
}

// TestRunnerRemovesWhatItsCreateLeft has creates fail in the middle.
func TestRunnerRemovesWhatItsCreateLeft(t *testing.T) {
	t.Parallel()
	g := newGoogle(t, true, front.Config{})
	r := newRunner(newLab(t), append(g.flags(), "--wait-ssh=5s", "--google-zone=us-central1-b"))
	for i, how := range []cloud.Fault{
		{Call: "instances.insert", Times: -1, Error: &cloud.Error{Kind: cloud.Denied, Text: "told to"}},
		{Call: "instances.insert", Times: -1, Late: &cloud.Error{Kind: cloud.Denied, Text: "told to"}},
		{Call: "instances.insert", Boot: cloud.NoSSH},
		{Call: "instances.insert", Boot: cloud.NeverBoots},
	} {
		name := nameOf(i)
		g.cloud.Fail(how)
		if made := r.createMachine(name); made.code != 1 {
			t.Errorf("%d: want exit 1: %s", i, made)
		}
		if config := r.config(name); config.DriverName != "google" || config.Driver.Zone != "us-central1-b" {
			t.Errorf("%d: config.json has %+v", i, config)
		}
		if up := r.call("config", name); up.code != 1 {
			t.Errorf("%d: config of what failed: %s", i, up)
		}
		if again := r.call("provision", name); again.code != 1 { // which the Runner tries before it gives up
			t.Errorf("%d: provision of what can't work: %s", i, again)
		}
		r.remove(name)
		g.nothingLeft(fmt.Sprint("after the removal of failure ", i))
		g.cloud.Heal()
	}
}

// TestRunnerIsLeftNothingByAProviderThatFails has the cloud refuse removals for a while.
func TestRunnerIsLeftNothingByAProviderThatFails(t *testing.T) {
	t.Parallel()
	g := newGoogle(t, false, front.Config{})
	l := newLab(t)
	r := newRunner(l, append(g.flags(), "--no-wait"))
	name := nameOf(0)
	r.ok(append(append([]string{"create"}, r.create...), name)...)
	eventually(t, 30*time.Second, "the instance", func() bool { return len(g.cloud.Instances(t.Context())) == 1 })
	g.cloud.Fail(cloud.Fault{Call: "*.delete", Times: -1, Error: &cloud.Error{Kind: cloud.Denied, Text: "told to"}})
	if refused := r.call("rm", "-y", name); refused.code != 1 || !r.exist(name) {
		t.Errorf("rm where the provider refuses: %s", refused)
	}
	if said := r.ok("rm", "-f", "--wait-delete", "2s", name); !strings.Contains(said, "is not gone yet. Its removal is noted and goes on until it is; so far: ") {
		t.Errorf("rm -f does not say that it is not done: %s", said)
	}
	if !r.exist(name) || len(g.cloud.Instances(t.Context())) != 1 {
		t.Error("the view went before the machine")
	}
	// The controller goes on, also one that was started anew, and nobody has to ask.
	l.must("controller", "stop")
	l.must("ls", "-q")
	g.cloud.Heal()
	eventually(t, 2*time.Minute, "the machine is gone", func() bool { return l.must("ls", "-q") == "" })
	g.nothingLeft("after the provider gave in")
	if r.exist(name) || len(r.list()) > 0 {
		t.Errorf("the Runner still sees %q", r.list())
	}
	r.ok("rm", "-f", name)
	if unknown := r.call("rm", "-y", name); unknown.code != 1 {
		t.Errorf("rm of an unknown name: %s", unknown)
	}
}

// TestRunnerPoolIsRefilledWhileOthersGo keeps a pool of two.
func TestRunnerPoolIsRefilledWhileOthersGo(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	r := newRunner(l, withDocker(t))
	const pool, rounds = 2, 3
	for round := range rounds {
		var all sync.WaitGroup
		for i := range pool {
			all.Go(func() {
				t.Run(fmt.Sprintf("create %d.%d", round, i), func(t *testing.T) {
					r := r.within(t)
					if made := r.createMachine(nameOf(round*pool + i)); made.code != 0 || made.stderr != "" {
						t.Errorf("create: %s", made)
					}
					r.job(nameOf(round*pool + i))
				})
			})
			if round > 0 {
				all.Go(func() {
					t.Run(fmt.Sprintf("remove %d.%d", round-1, i), func(t *testing.T) { r.within(t).remove(nameOf((round-1)*pool + i)) })
				})
			}
		}
		all.Wait()
		if listed := r.list(); len(listed) != pool {
			t.Fatalf("in round %d the pool is %q", round, listed)
		}
	}
	for i := range pool {
		r.remove(nameOf((rounds-1)*pool + i))
	}
	l.nothingLeft("after the last round")
}
