package e2e

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// familyBinaries are docker-machine and what came of it: they make stores, and serve their drivers over the plugin protocol.
func familyBinaries() map[string]string {
	return map[string]string{"docker-machine": os.Getenv("DOCKER_MACHINE_BIN"), "rancher-machine": os.Getenv("RANCHER_MACHINE_BIN")}
}

func TestAnUnmodifiedDriverOfDockerMachineMakesAndRemovesARealHost(t *testing.T) {
	for name, binary := range familyBinaries() {
		t.Run(name, func(t *testing.T) {
			if binary == "" {
				t.Skip("no " + name + " is given")
			}
			t.Parallel()
			l := newLab(t)
			image, err := dockerImage()
			if err != nil {
				t.Fatal(err)
			}
			h := newBareHost(t, "p-"+name[:3], image)
			create := []string{"create", "--driver", "generic", "--plugin-binary", binary, "--generic-ip-address", h.address}

			// What the plugin itself refuses leaves nothing.
			refused := l.run("create", "--driver", "generic", "--plugin-binary", binary, "web")
			if refused.code != 2 || !strings.Contains(refused.stderr, "generic driver requires the --generic-ip-address option") {
				t.Errorf("without an address: %s", refused)
			}
			if left := l.run("ls", "-q"); left.stdout != "" {
				t.Errorf("it left %s", left)
			}

			out := l.must(append(create, "--generic-ssh-key", h.key, "web")...)
			if !strings.Contains(out, "Docker is up and running!") {
				t.Errorf("create says: %s", out)
			}
			archive := exec.Command("ssh", h.sshArgs("docker import - busybox:latest")...)
			archive.Stdin = strings.NewReader(string(busybox(t)))
			if output, err := archive.CombinedOutput(); err != nil {
				t.Fatalf("import: %v\n%s", err, output)
			}
			if said := l.mustDocker("web", nil, "run", "--rm", "busybox", "echo", "hello"); said != "hello\n" {
				t.Errorf("docker run says %q", said)
			}
			// The caller has a key of its own, which first contact let in with the plugin's.
			if name := l.ssh("web", "hostname"); name != "web" {
				t.Errorf("the host is called %q", name)
			}
			if ip := strings.TrimSpace(l.must("ip", "web")); ip != h.address {
				t.Errorf("its address is %s, want %s", ip, h.address)
			}
			if row := l.must("ls", "--format", "{{.Name}} {{.DriverName}} {{.Error}}"); row != "web generic \n" && row != "web generic\n" {
				t.Errorf("ls says %q", row)
			}
			if state := strings.TrimSpace(l.must("status", "web")); state != "Running" {
				t.Errorf("its state is %s", state)
			}
			for _, verb := range []string{"stop", "kill"} {
				// docker-machine's driver says so itself, and the machine goes on.
				if r := l.run(verb, "web"); r.code == 0 || !strings.Contains(r.stderr, "generic driver does not support "+verb) {
					t.Errorf("%s", r)
				}
				l.must("start", "web")
			}
			secret, err := os.ReadFile(h.key)
			if err != nil {
				t.Fatal(err)
			}
			line := strings.Split(string(secret), "\n")[2]
			for _, file := range []string{"store.db", "controller.log"} {
				if text, err := os.ReadFile(filepath.Join(l.state, "mctl", file)); err != nil || strings.Contains(string(text), line) {
					t.Errorf("%s tells the SSH key, or: %v", file, err)
				}
			}
			l.must("rm", "-y", "web")
			if left, _ := filepath.Glob(filepath.Join(l.state, "mctl", "plugin", "*")); len(left) > 0 {
				t.Errorf("rm left %v", left)
			}
			for _, process := range running(binary) {
				t.Errorf("a plugin is left: %s", process)
			}
		})
	}
}

// running are the processes of a program that were started for this test's controllers.
func running(binary string) []string {
	var found []string
	links, _ := filepath.Glob("/proc/[0-9]*/exe")
	for _, link := range links {
		if path, err := os.Readlink(link); err == nil && path == binary {
			if environment, _ := os.ReadFile(filepath.Join(filepath.Dir(link), "environ")); strings.Contains(string(environment), "MACHINE_PLUGIN_TOKEN=42") {
				found = append(found, link)
			}
		}
	}
	return found
}

func TestWhatIsNoPluginIsRefusedInASentence(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	readme := filepath.Join(t.TempDir(), "README")
	if err := os.WriteFile(readme, []byte("no program"), 0o755); err != nil {
		t.Fatal(err)
	}
	for file, says := range map[string]string{
		"/bin/true":   "ended before it named its port",
		"/bin/false":  "ended before it named its port (exit status 1)",
		"/bin/uname":  "no port of this computer",
		readme:        "exec format error",
		"/etc/passwd": "is no program that can be run",
		"/nosuch":     "does not exist",
	} {
		r := l.run("create", "--driver", "x", "--plugin-binary", file, "web")
		if r.code != 3 || !strings.Contains(r.stderr, says) || !strings.Contains(r.stderr, "Hint: ") || strings.Count(r.stderr, "\n") != 2 {
			t.Errorf("%s: %s", file, r)
		}
	}
	if r := l.run("create", "--driver", "nosuch", "web"); r.code != 2 || !strings.Contains(r.stderr, `plugin binary "docker-machine-driver-nosuch" accessible in your PATH?`) {
		t.Errorf("%s", r)
	}
}

// pluginStub installs the stub of the driver's own tests as a driver with a child in each of its processes, and returns the world
// of its hosts.
func (l *lab) pluginStub() (world string) {
	l.t.Helper()
	world = l.t.TempDir()
	stub := filepath.Join(world, "docker-machine-driver-stub")
	build := exec.Command("go", "test", "-c", "-o", stub, "mctl/internal/controller/driver/plugin")
	if output, err := build.CombinedOutput(); err != nil {
		l.t.Fatalf("%v\n%s", err, output)
	}
	drivers := filepath.Join(l.state, "mctl", "drivers")
	if err := os.MkdirAll(drivers, 0o700); err != nil {
		l.t.Fatal(err)
	}
	script := "#!/bin/sh\nsleep 6000 >/dev/null 2>&1 &\necho $$ $! >>" + world + "/processes\nexec " + stub + "\n"
	if err := os.WriteFile(filepath.Join(drivers, filepath.Base(stub)), []byte(script), 0o700); err != nil {
		l.t.Fatal(err)
	}
	return world
}

func TestAControllerKilledAmidstAPluginsCreateLeavesOneHostAndNoProcess(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	world := l.pluginStub()
	hosts := func() int { found, _ := filepath.Glob(filepath.Join(world, "host-*")); return len(found) }
	processes := func() (alive []string) {
		text, _ := os.ReadFile(filepath.Join(world, "processes"))
		for _, pid := range strings.Fields(string(text)) {
			if line, err := os.ReadFile("/proc/" + pid + "/cmdline"); err == nil && len(line) > 0 {
				alive = append(alive, pid)
			}
		}
		return alive
	}
	l.must("create", "--driver", "stub", "--stub-world", world, "--stub-delay", "8000", "--plugin-limit", "10s", "--plugin-poll", "50ms", "--no-wait", "web")
	eventually(t, time.Minute, "a host", func() bool { return hosts() == 1 })
	if len(processes()) < 2 {
		t.Errorf("the plugin and its child are %v", processes())
	}
	pass(time.Second) // it is asked what it has made meanwhile
	l.killController()
	before := processes() // the kernel ends the plugin, and not what that started
	l.must("controller", "start")
	eventually(t, 20*time.Second, "the end of what the killed controller left", func() bool {
		return !slices.ContainsFunc(before, func(pid string) bool { return slices.Contains(processes(), pid) })
	})
	// It does not know its address, so it is not whole, and another one is made in its place.
	eventually(t, time.Minute, "one host", func() bool {
		return hosts() == 1 && strings.TrimSpace(l.run("status", "web").stdout) == "Error" // it has no SSH
	})
	l.must("rm", "-y", "-f", "web")
	eventually(t, time.Minute, "nothing", func() bool { return hosts() == 0 && len(processes()) == 0 })
	if left, _ := filepath.Glob(filepath.Join(l.state, "mctl", "plugin*", "*")); len(left) > 0 {
		t.Errorf("rm left %v", left)
	}
}
