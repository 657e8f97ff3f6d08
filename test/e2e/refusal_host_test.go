package e2e

import (
	"path/filepath"
	"strings"
	"testing"
	"unicode"
)

// in is the host for a subtest, which fails alone.
func (h *bareHost) in(t *testing.T) *bareHost {
	inner := *h
	inner.t = t
	return &inner
}

// adopt is a create that takes the host.
func (h *bareHost) adopt(name string, args ...string) []string {
	return append(append([]string{"create", "--driver", "generic", "--generic-ip-address", h.address, "--generic-ssh-key", h.key}, args...), name)
}

// refused runs what must fail: with the code, one sentence that has the text, and a hint on the line below.
func (l *lab) refused(code int, says string, args ...string) result {
	l.t.Helper()
	r := l.run(args...)
	sentence, hint, _ := strings.Cut(strings.TrimSuffix(r.stderr, "\n"), "\nHint: ")
	if r.code != code || !strings.Contains(sentence, says) || hint == "" || strings.ContainsFunc(sentence+hint, unicode.IsControl) {
		l.t.Errorf("want exit %d, one sentence with %q and a hint: %s", code, says, r)
	}
	for _, word := range []string{"rpc error", "desc =", "goroutine"} {
		if strings.Contains(r.stderr, word) {
			l.t.Errorf("%q is not for people: %s", word, r)
		}
	}
	return r
}

// people makes users that may log in with the host's key: one whose sudo wants a password, one who may run a single program,
// one who has no shell.
const people = `
	for user in asked limited shellless; do
		useradd -m -s /bin/bash -p '*' $user && cp -r /root/.ssh /home/$user/ && chown -R $user: /home/$user/.ssh
	done
	usermod -aG sudo asked && usermod -s /usr/sbin/nologin shellless
	echo 'limited ALL=(root) NOPASSWD: /bin/true' >/etc/sudoers.d/limited`

func TestAHostThatCannotBeAdoptedIsLeftAlone(t *testing.T) {
	t.Parallel()
	l, h := newLab(t), newBareHost(t, "refuser", "")
	h.run(people)
	l.must("controller", "start")
	before := h.snapshot()
	for _, c := range []struct {
		name    string
		prepare string // on the host, as what undoes it
		restore string
		args    []string
		says    string
	}{
		{name: "nobody listens", args: []string{"--generic-ssh-port", "1"}, says: "connection refused"},
		{name: "wrong key", args: []string{"--generic-ssh-key", newKey(t)}, says: `does not let user "root" in with this key`},
		{name: "unknown user", args: []string{"--generic-ssh-user", "nobody-there"}, says: `does not let user "nobody-there" in with this key`},
		{name: "sudo wants a password", args: []string{"--generic-ssh-user", "asked"}, says: `wants a password of user "asked"`},
		{name: "sudo for one program", args: []string{"--generic-ssh-user", "limited"}, says: `wants a password of user "limited"`},
		{name: "no sudo", prepare: "mv /usr/bin/sudo /usr/bin/sudo.gone", restore: "mv /usr/bin/sudo.gone /usr/bin/sudo", args: []string{"--generic-ssh-user", "asked"}, says: "sudo is not installed"},
		{name: "no shell", args: []string{"--generic-ssh-user", "shellless"}, says: "has no shell to work with"},
		{name: "no systemd", prepare: "mount -t tmpfs none /run/systemd", restore: "umount /run/systemd", says: "does not run systemd"},
		{
			name: "unknown distribution", prepare: `sed -i.keep 's/^ID=.*/ID=plan9/; /^ID_LIKE/d; s/^PRETTY_NAME=.*/PRETTY_NAME="Plan\x1b[31m 9 $(touch \/pwned)"/' /usr/lib/os-release`,
			restore: "mv /usr/lib/os-release.keep /usr/lib/os-release", says: "runs Plan [31m 9 $(touch /pwned), on which mctl does not know how to install Docker",
		},
		{name: "no room", prepare: "mount -t tmpfs -o size=100m none /usr/local", restore: "umount /usr/local", says: "has no room"},
		{
			name: "port 2376 taken", prepare: "systemd-run -q --unit stranger systemd-socket-activate -l 2376 sleep 1000 && until ss -Hltn | grep -q :2376; do sleep 0.05; done",
			restore: "systemctl stop stranger", says: "port 2376 on " + h.address + " is taken by systemd-socket",
		},
		{
			name: "another port taken", prepare: "systemd-run -q --unit stranger systemd-socket-activate -l 4000 sleep 1000 && until ss -Hltn | grep -q :4000; do sleep 0.05; done",
			restore: "systemctl stop stranger", args: []string{"--generic-engine-port", "4000"}, says: "port 4000",
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			l, h := l.within(t), h.in(t)
			if c.prepare != "" {
				h.run(c.prepare)
			}
			r := l.refused(3, c.says, h.adopt("refused", c.args...)...)
			if r.stdout != "Running pre-create checks...\n" || !strings.HasPrefix(r.stderr, `Error with pre-create check: "`) {
				t.Errorf("docker-machine's words are others: %s", r)
			}
			if c.restore != "" {
				h.run(c.restore)
			}
			if found := h.run("ls -d /var/lib/mctl /usr/local/bin/mctl-agent 2>/dev/null || true"); found != "" {
				t.Errorf("the host was touched: %s", found)
			}
			if listed := l.must("ls", "-q"); listed != "" {
				t.Errorf("a record is left: %q", listed)
			}
			if found, _ := filepath.Glob(filepath.Join(l.state, "machines")); len(found) > 0 {
				t.Errorf("a folder is left: %v", found)
			}
		})
	}
	for _, line := range differences(before, h.snapshot()) {
		t.Errorf("after all of them: %s", line)
	}
}

// The tools are hidden from the controller alone, by a mount namespace of its own.
func TestAToolThatIsMissingIsNamedBeforeAnythingIsMade(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	const hide = `mount --bind /dev/null "$(command -v systemd-nspawn)" && mount --bind /dev/null "$(command -v iptables)" && exec "$0" controller start`
	if r := l.exec(nil, "unshare", "--mount", "sh", "-c", hide, filepath.Join(l.bin, "mctl")); r.code != 0 {
		t.Fatal(r)
	}
	const says = "the nspawn driver needs systemd-nspawn, iptables"
	r := l.refused(3, `Error with pre-create check: "`+says+`"`, "create", "--driver", "nspawn", "web")
	if !strings.Contains(r.stderr, "Hint: apt-get install ") {
		t.Errorf("what to install is not said: %s", r)
	}
	l.refused(3, "no driver is named, and none can be used here without being named (nspawn: "+says, "create", "web")
	if drivers := l.must("drivers"); !strings.Contains(drivers, "no: "+says) {
		t.Errorf("drivers say: %s", drivers)
	}
	if found, _ := filepath.Glob(filepath.Join(l.state, "m*")); len(found) != 1 { // mctl alone, no machines
		t.Errorf("left: %v", found)
	}
	l.must("controller", "stop")
	l.refused(2, "--nspawn-memory: 1 MB of memory are too little", "create", "--driver", "nspawn", "--nspawn-memory", "1", "web")
	l.refused(3, "the host shall have 99999999 MB of memory", "create", "--driver", "nspawn", "--nspawn-memory", "99999999", "web")
	l.refused(2, `--nspawn-ssh-user: bad user name "$(id)"`, "create", "--driver", "nspawn", "--nspawn-ssh-user", "$(id)", "web")
	l.refused(2, "--nspawn-image: ", "create", "--driver", "nspawn", "--nspawn-image", "/nowhere", "web")
	l.refused(2, `--nspawn-subnet: bad network "1.2.3.4/33"`, "create", "--driver", "nspawn", "--nspawn-subnet", "1.2.3.4/33", "web")
	if listed := l.must("ls", "-q"); listed != "" {
		t.Errorf("a record is left: %q", listed)
	}
}
