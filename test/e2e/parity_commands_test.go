package e2e

import (
	"path/filepath"
	"regexp"
	"slices"
	"strings"
)

// commandsWork is core/core-commands up to the stop.
func commandsWork(s subject) {
	s.no(`Docker machine "nosuch" does not exist. Use "docker-machine ls" to list machines. Use "docker-machine create" to add a new one.`, "inspect", "nosuch")
	for _, filter := range [][]string{{"--filter", "name=^" + s.name + "$"}, {"--filter", "state=Running", "--filter", "driver=" + s.driver}} {
		if listed := s.ok(append([]string{"ls", "-q"}, filter...)...); listed != s.name+"\n" {
			s.t.Errorf("ls -q %v: %q", filter, listed)
		}
	}
	// A shell that keeps both outputs in one sees the sentence first.
	again := s.sh(`"$0" create --driver ` + s.driver + ` "$1" 2>&1`)
	if first, _, _ := strings.Cut(again.stdout, "\n"); again.code != 1 || first != `Docker machine "`+s.name+`" already exists` {
		s.t.Errorf("create of what there is: %s", again)
	}
	if r := s.sh(`docker $("$0" config "$1") run --rm busybox echo hello world`); r.code != 0 || r.stdout != "hello world\n" {
		s.t.Errorf("docker with the flags of config: %s", r)
	}
	if r := s.sh(`eval $("$0" env "$1") && docker run --rm busybox echo hello world && "$0" active`); r.code != 0 || r.stdout != "hello world\n"+s.name+"\n" {
		s.t.Errorf("docker with the variables of env: %s", r)
	}
	address := strings.TrimSpace(s.ok("ip", s.name))
	if url := s.ok("url", s.name); url != "tcp://"+address+":2376\n" {
		s.t.Errorf("url %q with ip %q", url, address)
	}
	if listed := s.ok("ssh", s.name, "--", "ls", "-lah", "/"); !strings.HasPrefix(listed, "total") {
		s.t.Errorf("ssh -- ls: %q", listed)
	}
	if said := s.on("sudo docker run --rm busybox echo hello world"); said != "hello world" {
		s.t.Errorf("docker on the host: %q", said)
	}
	if version := strings.TrimSpace(s.ok("version", s.name)); version != strings.TrimSpace(s.mustDocker(s.name, nil, "version", "--format", "{{.Server.Version}}")) {
		s.t.Errorf("version %q", version)
	}
	if state := s.ok("status", s.name); state != "Running\n" {
		s.t.Errorf("status %q", state)
	}
	s.no(`Machine "`+s.name+`" is already running.`, "start", s.name)
	s.no("Improper number of arguments", "scp", "one")
	s.no("Improper number of arguments", "mount")
}

// row is the line of a machine in a plain ls.
func (s subject) row() string {
	s.t.Helper()
	lines := strings.Split(s.ok("ls", "--timeout", "20", "--filter", "name=^"+s.name+"$"), "\n")
	if len(lines) != 3 || !strings.HasPrefix(lines[0], "NAME ") {
		s.t.Fatalf("ls says %q", lines)
	}
	return lines[1]
}

// powerWorks is core/core-commands from the stop on. Each command says what docker-machine said, in its order.
func powerWorks(s subject) {
	const newIP = " machines may have new IP addresses. You may need to re-run the `docker-machine env` command."
	says := func(verb string, lines ...string) {
		s.t.Helper()
		said := strings.Split(strings.TrimSpace(s.ok(verb, s.name)), "\n")
		said = slices.DeleteFunc(said, func(line string) bool { return strings.HasPrefix(line, "("+s.name+") ") })
		if !slices.Equal(said, lines) {
			s.t.Errorf("%s says %q", verb, said)
		}
	}
	is := func(state string) {
		s.t.Helper()
		if got, row := s.ok("status", s.name), s.row(); got != state+"\n" || !slices.Contains(strings.Fields(row), state) {
			s.t.Errorf("status %q and ls %q, want %s", got, row, state)
		}
	}
	const back, provisioner = "Waiting for SSH to be available...", "Detecting the provisioner..."
	says("stop", `Stopping "near"...`, `Machine "near" was stopped.`)
	is("Stopped")
	s.no("Host is not running", "url", s.name)
	s.no("Error checking TLS connection: Host is not running", "env", s.name)
	s.no("Unable to query docker version: Host is not running", "version", s.name)
	s.no("Error getting IP address: Host is not running", "ip", s.name)
	const noSSH = `Error: Cannot run SSH command: Host "near" is not running`
	s.no(noSSH, "ssh", s.name, "true")
	s.no(noSSH, "--native-ssh", "ssh", s.name, "true")
	s.no(noSSH, "scp", s.name+":/etc/hostname", filepath.Join(s.t.TempDir(), "x"))
	s.no("Host is not running", "regenerate-certs", "-f", s.name)
	s.no("Host is not running", "provision", s.name)
	for _, verb := range []string{"stop", "kill"} {
		s.no(`Machine "near" is already stopped.`, verb, s.name)
	}
	if said := s.ok("upgrade", s.name); !strings.HasPrefix(said, "Starting machine so machine can be upgraded...\n") ||
		strings.Index(said, "Upgrading docker...") < strings.Index(said, "Starting the host...") {
		s.t.Errorf("upgrade says %q", said)
	}
	s.no(`Machine "near" is already running.`, "start", s.name)
	is("Running")
	says("kill", `Killing "near"...`, `Machine "near" was killed.`)
	is("Stopped")
	says("restart", `Restarting "near"...`, back, provisioner, "Restarted"+newIP)
	is("Running")
	boot := s.on("systemctl show -P UserspaceTimestampMonotonic")
	says("restart", `Restarting "near"...`, back, provisioner, "Restarted"+newIP)
	if now := s.on("systemctl show -P UserspaceTimestampMonotonic"); now == boot {
		s.t.Errorf("restart of a running host did not boot it: %s", now)
	}
	s.ok("stop", s.name)
	says("start", `Starting "near"...`, back, provisioner, `Machine "near" was started.`, "Started"+newIP)
	is("Running")
	s.mustDocker(s.name, nil, "version")
	if said := s.ok("provision", s.name); !strings.HasPrefix(said, "Copying certs to the local machine directory...\nCopying certs to the remote machine...\nSetting Docker configuration on the remote daemon...\n") {
		s.t.Errorf("provision says %q", said)
	}

	// One of a batch that fails undoes nothing of the others.
	r := s.try("stop", "far", s.name)
	if r.code != 1 || !strings.Contains(r.stdout, `Machine "near" was stopped.`) || !strings.HasPrefix(r.stderr, "far: generic driver does not support stop\n") {
		s.t.Errorf("stop of two: %s", r)
	}
	r = s.try("start", "nosuch", s.name, "neither")
	if r.code != 1 || r.stdout != "" || !regexp.MustCompile(`(?s)"nosuch" does not exist.*"neither" does not exist`).MatchString(r.stderr) {
		s.t.Errorf("start of unknown ones: %s", r)
	}
	is("Stopped")
	s.ok("start", s.name)
}

// powerIsNotOurs is that of a host that mctl did not make: what needs none goes on, the rest is refused and changes nothing.
func powerIsNotOurs(s subject) {
	engine := func() string { return s.on("pgrep -x dockerd; cut -d' ' -f22 /proc/$(pgrep -x dockerd)/stat") }
	before := engine()
	for _, verb := range []string{"stop", "kill"} {
		s.no("generic driver does not support "+verb, verb, s.name)
	}
	s.no(`Machine "far" is already running.`, "start", s.name)
	s.ok("provision", s.name)
	if now := engine(); now != before {
		s.t.Errorf("dockerd was %s, is %s", before, now)
	}
	if said := s.ok("upgrade", s.name); !strings.HasPrefix(said, "Upgrading docker...\n") {
		s.t.Errorf("upgrade says %q", said)
	}
	booted := s.on("systemctl show -P UserspaceTimestampMonotonic")
	if said := s.ok("restart", s.name); !strings.HasPrefix(said, "Restarting \"far\"...\n(far) Restarting the host...\n") || !strings.Contains(said, "\nRestarted machines may have new IP addresses.") {
		s.t.Errorf("restart says %q", said)
	}
	if now := s.on("systemctl show -P UserspaceTimestampMonotonic"); now == booted {
		s.t.Errorf("restart did not boot it: %s", now)
	}
	s.mustDocker(s.name, nil, "version")
	if state := s.ok("status", s.name); state != "Running\n" {
		s.t.Errorf("status %q", state)
	}
}
