//go:build linux

package nspawn

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"mctl/internal/controller/driver"
	"mctl/internal/fault"
)

func TestAHostIsAWholeSystemWithItsOwnIdentity(t *testing.T) {
	w := newWorld(t, "identity")
	began := time.Now()
	one := w.create(w.machine("one", nil))
	client := w.login(one)
	t.Logf("logged in %s after Create began", time.Since(began).Round(time.Millisecond))
	other := w.login(w.create(w.machine("other", nil)))
	if name := w.must(client, "hostname"); name != "one" {
		t.Errorf("the host's name is %q", name)
	}
	w.must(client, "test -n \"$(cat /etc/machine-id)\" && getent hosts one")
	if w.must(client, "cat /etc/machine-id") == w.must(other, "cat /etc/machine-id") {
		t.Error("two hosts have the same machine id")
	}
	if w.must(client, "cat /etc/ssh/*.pub") == w.must(other, "cat /etc/ssh/*.pub") {
		t.Error("two hosts have the same host keys")
	}
	if init := w.must(client, "systemctl is-system-running --wait || systemctl --failed"); init != "running" {
		t.Errorf("systemd says %s", init)
	}
	w.must(client, "pgrep -x systemd-network && openssl version && curl --version")
	if kind := w.must(client, "stat -f -c %T /var/lib/docker"); strings.Contains(kind, "overlay") {
		t.Error("/var/lib/docker is on an overlay")
	}
	w.must(client, "mkdir /sys/fs/cgroup/memory/probe 2>/dev/null || mkdir /sys/fs/cgroup/probe") // as container engines do
	if output, err := w.run(client, "sshd -T | grep -x 'passwordauthentication no'"); err != nil {
		t.Errorf("sshd takes passwords: %s", output)
	}
	// A host reaches its controller and its neighbours.
	w.must(client, "ssh-keyscan -T 5 "+gatewayOf(t, w)+" || true")
	w.must(client, fmt.Sprintf("timeout 5 bash -c '</dev/tcp/%s/22'", strings.Split(other.RemoteAddr().String(), ":")[0]))
}

func gatewayOf(t *testing.T, w *world) string {
	t.Helper()
	content, err := os.ReadFile(filepath.Join(w.config.StateDir, "hosts", "uid-one", "host0.network"))
	if err != nil {
		t.Fatal(err)
	}
	_, after, _ := strings.Cut(string(content), "Gateway=")
	gateway, _, _ := strings.Cut(after, "\n")
	return gateway
}

func TestAUserOtherThanRootMaySudo(t *testing.T) {
	w := newWorld(t, "sudo")
	instance := w.create(w.machine("web", map[string]string{flagUser: "ops"}))
	client := w.login(instance)
	if who := w.must(client, "id -un && sudo -n id -un && stat -c %U:%a . .ssh"); who != "ops\nroot\nops:755\nops:700" {
		t.Errorf("got %q", who)
	}
	w.must(client, "sudo -n getent shadow ops && sudo -n pwck -qr && sudo -n grpck -qr || test $? -eq 2")
}

func TestLimitsBite(t *testing.T) {
	w := newWorld(t, "limits")
	client := w.login(w.create(w.machine("small", map[string]string{flagMemory: "512"})))
	slow := w.login(w.create(w.machine("slow", map[string]string{flagCPUs: "0.5"})))
	if output, err := w.run(client, "head -c 600000000 /dev/zero | tail -c 600000000 | wc -c"); output == "600000000" {
		t.Errorf("600 MB were held in a host of 512 MB: %s %v", output, err)
	}
	if output, err := w.run(client, "head -c 100000000 /dev/zero | tail -c 100000000 | wc -c"); output != "100000000" {
		t.Errorf("100 MB could not be held: %s %v", output, err)
	}
	// Two busy processes for a second get half a second of CPU, not two.
	output := w.must(slow, `for i in 1 2; do timeout 1 sh -c 'while :; do :; done' & done; wait; cat /proc/uptime >/dev/null; times | tail -1`)
	fields := strings.FieldsFunc(output, func(r rune) bool { return r == ' ' || r == 'm' || r == 's' })
	minutes, _ := strconv.ParseFloat(fields[0], 64)
	seconds, err := strconv.ParseFloat(fields[1], 64)
	if err != nil || minutes*60+seconds > 1.2 {
		t.Errorf("two loops of a second took %q of CPU", output)
	}
}

func TestAHostThatRebootsItselfComesBack(t *testing.T) {
	w := newWorld(t, "reboot")
	m := w.machine("web", nil)
	before := w.create(m)
	client := w.login(before)
	boot := w.must(client, "touch /root/kept; cat /proc/sys/kernel/random/uuid >/run/gone; echo up")
	_, _ = w.run(client, "systemctl reboot")
	_ = client.Wait()
	client = w.login(before)
	if boot != "up" || w.must(client, "ls /root/kept && ! test -e /run/gone && echo anew") != "/root/kept\nanew" {
		t.Error("it did not boot anew with what it had")
	}
	seen, err := w.driver().Inspect(t.Context(), m)
	if err != nil || seen.Power != driver.Running || seen.Addresses[0] != before.Addresses[0] {
		t.Errorf("%+v %v, was %+v", seen, err, before)
	}
	if _, err := w.driver().Stop(t.Context(), m, false); err != nil {
		t.Errorf("Stop: %v", err)
	}
	if pids := w.inside(m); len(pids) > 0 {
		t.Errorf("processes are left: %v", pids)
	}
}

func TestTwoControllersSideBySide(t *testing.T) {
	one, other := newWorld(t, "side-one"), newWorld(t, "side-other")
	mine, theirs := one.machine("web", nil), other.machine("web", nil)
	type made struct {
		instance driver.Instance
		err      error
	}
	results := make(chan made)
	for w, m := range map[*world]driver.Machine{one: mine, other: theirs} {
		go func() {
			instance, err := w.driver().Create(t.Context(), m)
			results <- made{instance, err}
		}()
	}
	a, b := <-results, <-results
	if a.err != nil || b.err != nil {
		t.Fatal(a.err, b.err)
	}
	if a.instance.Addresses[0] == b.instance.Addresses[0] || a.instance.ID == b.instance.ID {
		t.Fatalf("they got the same: %+v %+v", a, b)
	}
	if err := one.driver().Delete(t.Context(), mine); err != nil {
		t.Fatal(err)
	}
	if left, err := one.list(t.Context()); err != nil || len(left) > 0 {
		t.Errorf("the first controller left %v %v", left, err)
	}
	still, err := other.driver().Inspect(t.Context(), theirs)
	if err != nil || still.Power != driver.Running {
		t.Fatalf("the other's host: %+v %v", still, err)
	}
	other.must(other.login(still), "true")
}

func TestWhatSomebodyKilledHalfIsFoundAndEnded(t *testing.T) {
	w := newWorld(t, "orphan")
	m := w.machine("web", nil)
	w.must(w.login(w.create(m)), "true")
	programs := []string{"launch.sh", "systemd-nspawn"}
	if systemdIsProcess1() {
		programs = programs[1:] // the launcher has become nspawn there
	}
	for _, program := range programs {
		output, err := exec.Command("pgrep", "-f", program+".*"+hostID(m.ControllerID, m.UID)).Output()
		if err != nil {
			t.Fatalf("pgrep %s: %v", program, err)
		}
		for field := range strings.FieldsSeq(string(output)) {
			if pid, err := strconv.Atoi(field); err == nil {
				w.kill(pid)
			}
		}
	}
	// systemd ends what is left of a unit; nobody does so elsewhere.
	want := driver.Running
	if systemdIsProcess1() {
		want = driver.Stopped
	}
	w.until("the power of what was left is "+string(want), func() bool {
		seen, err := w.driver().Inspect(t.Context(), m)
		return err == nil && seen.Power == want
	})
	if _, err := w.driver().Stop(t.Context(), m, false); err != nil {
		t.Errorf("Stop: %v", err)
	}
	if pids := w.inside(m); len(pids) > 0 {
		t.Errorf("processes are left: %v", pids)
	}
	if again, err := w.driver().Start(t.Context(), m); err != nil || again.Power != driver.Running {
		t.Errorf("Start: %+v %v", again, err)
	}
}

func TestAnyPathWillDoAsStateDirectory(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "a:b,c d$HOME${x}%n\\", strings.Repeat("long", 40))
	w := newWorldIn(t, "odd", dir)
	m := w.machine("web", nil)
	client := w.login(w.create(m))
	w.must(client, "touch /var/lib/docker/here /root/there")
	for _, path := range []string{"docker/here", "upper/root/there"} {
		if _, err := os.Stat(filepath.Join(dir, "hosts", m.UID, path)); err != nil {
			t.Error(err)
		}
	}
}

func TestAddressesGoRoundUnlessPinned(t *testing.T) {
	w := newWorld(t, "pinned")
	first := w.create(w.machine("first", nil))
	base := first.Addresses[0][:strings.LastIndexByte(first.Addresses[0], '.')]
	pinned := w.machine("pinned", map[string]string{flagIP: base + ".77"})
	for range 2 {
		if instance := w.create(pinned); instance.Addresses[0] != base+".77" {
			t.Errorf("pinned at %s.77, it has %s", base, instance.Addresses)
		}
		if _, err := w.driver().Stop(t.Context(), pinned, true); err != nil {
			t.Fatal(err)
		}
	}
	for name, options := range map[string]map[string]string{
		"taken":         {flagIP: base + ".77"},
		"elsewhere":     {flagIP: "10.250.250.9"},
		"other-network": {flagSubnet: "10.250.250.0/24"},
	} {
		m := w.machine(name, options)
		if err := w.driver().Preflight(t.Context(), m); !fault.Is(err, fault.Precondition) || fault.HintOf(err) == "" {
			t.Errorf("%s: Preflight says %v", name, err)
		}
		if _, err := w.driver().Create(t.Context(), m); !fault.Is(err, fault.Precondition) {
			t.Errorf("%s: Create says %v", name, err)
		}
	}
	if last := w.create(w.machine("last", nil)); last.Addresses[0] != base+".78" {
		t.Errorf("after .77 comes %s", last.Addresses[0])
	}
}

func TestAMemberOfASwarmKeepsItsAddress(t *testing.T) {
	w := newWorld(t, "member")
	m := w.machine("m1", nil)
	m.Swarm = driver.Swarm{Member: true, Manager: 3376}
	before := w.create(m).Addresses[0]
	if _, err := w.driver().Stop(t.Context(), m, true); err != nil {
		t.Fatal(err)
	}
	other := w.machine("other", map[string]string{flagIP: before})
	if err := w.driver().Preflight(t.Context(), other); !fault.Is(err, fault.Precondition) {
		t.Errorf("somebody else may have its address while it is off: %v", err)
	}
	started, err := w.driver().Start(t.Context(), m)
	if err != nil || started.Addresses[0] != before {
		t.Errorf("it was at %s, and is at %v: %v", before, started.Addresses, err)
	}
}

func TestAnImageOfOnesOwn(t *testing.T) {
	w := newWorld(t, "image")
	w.config.CacheDir = t.TempDir() // where there is no base image
	base, err := New(Config{}).cache.Image(t.Context(), "", func(line string) { t.Log(line) })
	if err != nil {
		t.Fatal(err)
	}
	w.must(w.login(w.create(w.machine("directory", map[string]string{flagImage: base}))), "true")
	empty := t.TempDir()
	m := w.machine("nothing", map[string]string{flagImage: empty})
	if err := w.driver().Preflight(t.Context(), m); !fault.Is(err, fault.Invalid) {
		t.Errorf("an empty image: %v", err)
	}
	if built, _ := filepath.Glob(filepath.Join(w.config.CacheDir, "*")); len(built) > 0 {
		t.Errorf("with a directory given, the cache got %v", built)
	}
	archive := filepath.Join(t.TempDir(), "image.tar")
	if output, err := exec.Command("tar", "-C", base, "-cf", archive, ".").CombinedOutput(); err != nil {
		t.Fatalf("tar: %v %s", err, output)
	}
	w.must(w.login(w.create(w.machine("archive", map[string]string{flagImage: archive}))), "test -u /usr/bin/sudo")
}
