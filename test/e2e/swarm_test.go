package e2e

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

// swarm is a lab whose machines are a swarm.
type swarm struct{ *lab }

// docker runs the docker CLI as somebody does who has evaluated `mctl env --swarm`.
func (s swarm) docker(manager string, args ...string) string {
	s.t.Helper()
	var environment []string
	for line := range strings.Lines(s.must("env", "--swarm", "--shell", "bash", manager)) {
		if assignment, ok := strings.CutPrefix(strings.TrimSpace(line), "export "); ok {
			environment = append(environment, strings.ReplaceAll(assignment, `"`, ""))
		}
	}
	r := s.execEnv(environment, nil, "docker", args...)
	if r.code != 0 {
		s.t.Fatalf("want success: %s", r)
	}
	return strings.TrimSpace(r.stdout)
}

// nodes are the members as a manager sees them: hostname, status, availability and what kind of manager.
func (s swarm) nodes(manager string) map[string]string {
	s.t.Helper()
	nodes := map[string]string{}
	for line := range strings.Lines(s.docker(manager, "node", "ls", "--format", "{{.Hostname}} {{.Status}} {{.Availability}} {{.ManagerStatus}}")) {
		name, rest, _ := strings.Cut(strings.TrimSpace(line), " ")
		nodes[name] = strings.TrimSpace(rest)
	}
	return nodes
}

// tasks counts the service's running tasks by host.
func (s swarm) tasks(manager string) map[string]int {
	s.t.Helper()
	tasks := map[string]int{}
	for line := range strings.Lines(s.docker(manager, "service", "ps", "spread", "--filter", "desired-state=running", "--format", "{{.Node}} {{.CurrentState}}")) {
		if name, state, _ := strings.Cut(strings.TrimSpace(line), " "); strings.HasPrefix(state, "Running") {
			tasks[name]++
		}
	}
	return tasks
}

// spread waits until all replicas run, on these hosts and no others.
func (s swarm) spread(manager string, within time.Duration, hosts ...string) {
	s.t.Helper()
	var tasks map[string]int
	eventually(s.t, within, fmt.Sprintf("8 tasks run on %v", hosts), func() bool {
		tasks = s.tasks(manager)
		all := 0
		for _, host := range hosts {
			all += tasks[host]
		}
		return all == 8 && len(tasks) <= len(hosts)
	})
	s.t.Logf("tasks: %v", tasks)
}

// row is what ls shows in some columns.
func (s swarm) row(name, format string, environment ...string) string {
	s.t.Helper()
	r := s.execEnv(environment, nil, filepath.Join(s.bin, "mctl"), "ls", "--filter", "name=^"+name+"$", "--format", format)
	if r.code != 0 {
		s.t.Fatal(r)
	}
	return strings.TrimSpace(r.stdout)
}

func TestASwarmLivesOnFourHosts(t *testing.T) {
	t.Parallel()
	s := swarm{newLab(t)}
	create := append([]string{"create"}, withDocker(t)...)
	member := func(of string, args ...string) []string {
		return append(append(append([]string{}, create...), "--swarm", "--swarm-discovery", "mctl://"+of), args...)
	}
	// The members are there before there is a swarm to join.
	s.must(append(append([]string{}, create...), "--no-wait", "--swarm", "--swarm-master", "--engine-opt", "live-restore", "m1")...)
	var creates sync.WaitGroup
	results := make([]result, 3)
	for i, args := range [][]string{member("m1", "--swarm-opt", "manager", "m2"), member("m1", "w1"), member("m1", "w2")} {
		creates.Go(func() { results[i] = s.run(args...) })
	}
	creates.Wait()
	for _, r := range results {
		if r.code != 0 || r.stderr != "" {
			t.Fatal(r)
		}
	}
	s.must("wait", "m1")

	nodes := s.nodes("m1")
	if len(nodes) != 4 || nodes["m1"] != "Ready Active Leader" || nodes["m2"] != "Ready Active Reachable" || nodes["w1"] != "Ready Active" || nodes["w2"] != "Ready Active" {
		t.Fatalf("the swarm has %v", nodes)
	}
	if fmt.Sprint(s.nodes("m2")) != fmt.Sprint(nodes) {
		t.Error("the other manager says otherwise")
	}
	s.columns()
	s.refusals(member)

	for _, name := range []string{"m1", "m2", "w1", "w2"} {
		s.importBusybox(name)
	}
	s.docker("m1", "service", "create", "--quiet", "--detach", "--no-resolve-image", "--name", "spread", "--replicas", "8", "--stop-grace-period", "1s",
		"busybox:latest", "sleep", "1000000")
	s.spread("m1", time.Minute, "m1", "m2", "w1", "w2")
	if tasks := s.tasks("m1"); tasks["m1"] != 2 || tasks["m2"] != 2 || tasks["w1"] != 2 || tasks["w2"] != 2 {
		t.Errorf("8 tasks on 4 hosts: %v", tasks)
	}

	s.t.Log("a host dies")
	s.cutPowerOf("w1")
	s.spread("m1", time.Minute, "m1", "m2", "w2")
	eventually(t, time.Minute, "w1 is known to be off", func() bool { return s.must("status", "w1") == "Stopped\n" })
	s.must("start", "w1")
	eventually(t, time.Minute, "w1 is back", func() bool { return s.nodes("m1")["w1"] == "Ready Active" })

	s.t.Log("a host is stopped, while the controller is killed")
	stopped := make(chan result, 1)
	go func() { stopped <- s.run("stop", "w2") }()
	eventually(t, time.Minute, "w2 is drained", func() bool { return strings.Contains(s.nodes("m1")["w2"], "Drain") })
	s.killController()
	<-stopped // what it says of a controller that was killed is another test's
	eventually(t, time.Minute, "w2 is off", func() bool { return s.must("status", "w2") == "Stopped\n" })
	s.spread("m1", time.Minute, "m1", "m2", "w1")
	s.must("start", "w2")
	if now := s.nodes("m1")["w2"]; now != "Ready Active" {
		t.Errorf("w2 was started, and is %q", now)
	}

	s.t.Log("who was off takes tasks again, and is reached")
	s.docker("m1", "service", "update", "--quiet", "--detach", "--force", "--update-parallelism", "8", "spread")
	eventually(t, time.Minute, "each host has tasks", func() bool {
		tasks := s.tasks("m1")
		return tasks["m1"] == 2 && tasks["m2"] == 2 && tasks["w1"] == 2 && tasks["w2"] == 2
	})
	s.overlay("w1", "m1", "w2")

	s.t.Log("who drained a host by hand finds it so")
	s.docker("m1", "node", "update", "--availability", "drain", "w2")
	s.must("stop", "--drain-timeout", "30s", "w2")
	s.must("start", "w2")
	eventually(t, 30*time.Second, "w2 is back", func() bool { return s.nodes("m1")["w2"] == "Ready Drain" })

	s.t.Log("they go")
	s.must("rm", "-y", "w2")
	if nodes = s.nodes("m1"); len(nodes) != 3 || nodes["w2"] != "" {
		t.Errorf("without w2: %v", nodes)
	}
	s.must("rm", "-y", "m2")
	if nodes = s.nodes("m1"); len(nodes) != 2 || nodes["m2"] != "" || nodes["m1"] != "Ready Active Leader" {
		t.Errorf("without m2: %v", nodes)
	}
	s.spread("m1", time.Minute, "m1", "w1")
	s.refused(1, `"m1" is the last manager of its swarm`, "rm", "-y", "m1")
	if s.must("status", "m1") != "Running\n" {
		t.Error("it is hurt")
	}
	s.must("rm", "-f", "m1")
	s.must("rm", "-f", "w1")
}

// overlay has a container on each host reach those on the others, in a network of the swarm's own.
func (s swarm) overlay(hosts ...string) {
	s.t.Helper()
	s.docker("m1", "network", "create", "--driver", "overlay", "--attachable", "across")
	for _, name := range hosts {
		s.mustDocker(name, nil, "run", "--detach", "--name", "on-"+name, "--network", "across", "busybox:latest", "sleep", "1000")
	}
	for _, from := range hosts {
		for _, to := range hosts {
			eventually(s.t, 20*time.Second, from+" reaches "+to, func() bool {
				return s.lab.docker(from, nil, "exec", "on-"+from, "ping", "-c", "1", "-W", "1", "on-"+to).code == 0
			})
		}
	}
	for _, name := range hosts {
		s.mustDocker(name, nil, "rm", "--force", "on-"+name)
	}
}

// columns is what ls, active, config and inspect say of a swarm.
func (s swarm) columns() {
	s.t.Helper()
	for name, want := range map[string]string{"m1": "m1 (master)", "m2": "m1", "w1": "m1", "w2": "m1"} {
		if got := s.row(name, "{{.Swarm}}"); got != want {
			s.t.Errorf("SWARM of %s is %q, want %q", name, got, want)
		}
	}
	if got := s.must("ls", "-q", "--filter", "swarm=m1"); got != "m1\nm2\nw1\nw2\n" {
		s.t.Errorf("members of m1: %q", got)
	}
	if got := s.must("ls", "-q", "--filter", "swarm=m2"); got != "" {
		s.t.Errorf("members of m2: %q", got)
	}
	address := strings.TrimSpace(s.must("ip", "m1"))
	for host, want := range map[string]string{"tcp://" + address + ":2376": "*", "tcp://" + address + ":3376": "* (swarm)"} {
		if got := s.row("m1", "{{.Active}}", "DOCKER_HOST="+host); got != want {
			s.t.Errorf("%s: ACTIVE is %q, want %q", host, got, want)
		}
		if r := s.execEnv([]string{"DOCKER_HOST=" + host}, nil, filepath.Join(s.bin, "mctl"), "active"); r.stdout != "m1\n" {
			s.t.Errorf("active: %s", r)
		}
	}
	if got := s.must("config", "--swarm", "m2"); !strings.Contains(got, ":3376\n") {
		s.t.Errorf("config --swarm: %s", got)
	}
	var view struct {
		HostOptions struct {
			SwarmOptions struct {
				IsSwarm, Master bool
				Discovery       string
			}
		}
	}
	if err := json.Unmarshal([]byte(s.must("inspect", "w1")), &view); err != nil || !view.HostOptions.SwarmOptions.IsSwarm || view.HostOptions.SwarmOptions.Discovery != "mctl://m1" {
		s.t.Errorf("inspect: %+v, %v", view, err)
	}
	if got := s.ssh("m1", "cat", "/etc/docker/daemon.json"); !strings.Contains(got, `"live-restore": false`) {
		s.t.Errorf("a member has live-restore: %s", got)
	}
	log, err := os.ReadFile(filepath.Join(s.state, "mctl", "controller.log"))
	if err != nil || strings.Contains(string(log), "SWMTKN") {
		s.t.Errorf("a join token is in the log, or there is none: %v", err)
	}
}

// refusals are what a swarm does not take.
func (s swarm) refusals(member func(of string, args ...string) []string) {
	s.t.Helper()
	s.refused(1, `"w1" is not a swarm master. The --swarm flag is intended for use with swarm masters`, "env", "--swarm", "w1")
	s.refused(1, `"w1" is not a swarm master`, "config", "--swarm", "w1")
	s.refused(3, `"w1" is no manager of a swarm`, member("w1", "w3")...)
	s.refused(3, `there is no machine "w9" whose swarm could be joined`, member("w9", "w3")...)
	s.refused(1, "already exists", member("m1", "w1")...)
}

// cutPowerOf kills one host, as somebody who pulls its plug.
func (s swarm) cutPowerOf(name string) {
	s.t.Helper()
	output, err := exec.Command("pgrep", "-f", "systemd-nspawn.*"+s.state).Output()
	if err != nil {
		s.t.Fatal(err)
	}
	for outer := range strings.FieldsSeq(string(output)) {
		children, _ := os.ReadFile("/proc/" + outer + "/task/" + outer + "/children")
		for child := range strings.FieldsSeq(string(children)) {
			if hostname, _ := exec.Command("nsenter", "-t", child, "-u", "hostname").Output(); strings.TrimSpace(string(hostname)) == name {
				_ = exec.Command("kill", "-KILL", child).Run()
				return
			}
		}
	}
	s.t.Fatalf("there is no host %s", name)
}

func TestImportedAndAdoptedHostsShareASwarm(t *testing.T) {
	t.Parallel()
	// Its swarm was made by hand, long before it came along.
	manager := newLegacyHost(t, "im-swarm", t.TempDir())
	manager.run("docker swarm init --advertise-addr " + manager.address)
	worker := newMachinesHost(t, "ad-swarm")
	before, theirs := manager.containers(), worker.containers()
	worker.run("docker swarm init --advertise-addr " + worker.address)
	s := swarm{newLab(t)}
	s.must("import", manager.store.Dir)
	s.must("wait", "im-swarm")
	member := []string{"--swarm", "--swarm-discovery", "mctl://im-swarm"}
	s.refused(3, worker.address+" is a member of another swarm already", worker.bareHost.adopt("adopted", member...)...)
	worker.run("docker swarm leave --force")
	worker.mustAdopt(s.lab, "adopted", member...)
	s.create(append(member, "made")...)
	nodes := func() int { return len(strings.Fields(manager.run("docker node ls -q"))) }
	if n := nodes(); n != 3 {
		t.Errorf("%d nodes", n)
	}
	for _, name := range []string{"adopted", "made"} {
		if got := s.row(name, "{{.Swarm}}"); got != "im-swarm" {
			t.Errorf("SWARM of %s is %q", name, got)
		}
	}
	if manager.containers() != before || worker.containers() != theirs {
		t.Error("a container was lost")
	}
	s.must("rm", "-y", "adopted", "made")
	if n := nodes(); n != 1 {
		t.Errorf("%d nodes are left", n)
	}
	if state := worker.run("docker info --format '{{.Swarm.LocalNodeState}}'"); state != "inactive" || worker.containers() != theirs {
		t.Errorf("the host that was given back is %q in a swarm, its containers were %s and are %s", state, theirs, worker.containers())
	}
}
