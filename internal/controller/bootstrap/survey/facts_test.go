package survey

import (
	"math"
	"os/exec"
	"runtime"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func ask(text string) Facts {
	var a Answer
	for line := range strings.Lines(text) {
		a.Line(strings.TrimSuffix(line, "\n"))
	}
	return a.Facts()
}

func TestAWholeAnswerIsRead(t *testing.T) {
	got := ask(`Welcome! Today's motto: x=y
probe=1
uid=0
arch=aarch64
os_PRETTY_NAME="Rocky Linux 9.4 (Blue Onyx)"
os_ID="rocky"
os_ID_LIKE="rhel centos fedora"
systemd=1
cloud_init=1
state=1
installed=1
agent_uid=0123
agent=abcdef
front_Listen=[::]:2376 (Stream)
docker=1
dockerd_socket=11
tcp=   0: 00000000:0016 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 10 1 0 100 0 0 10 0
tcp=   1: 0100007F:0947 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 11 1 0 100 0 0 10 0
tcp=   2: 00000000000000000000000000000000:01BB 00000000000000000000000000000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 12 1 0 100 0 0 10 0
tcp=   3: 0100007F:1234 0100007F:0016 01 00000000:00000000 00:00000000 00000000     0        0 13 1 0 100 0 0 10 0
ss=LISTEN 0      128          0.0.0.0:22        0.0.0.0:*    users:(("sshd",pid=5,fd=3))
ss=LISTEN 0      511             [::]:443          [::]:*
df=/dev/vda1 100 50 900000 50% /
df=tmpfs 100 50 400000 50% /var/lib
end=1
`)
	want := Facts{
		UID: "0", Machine: "aarch64", Arch: "arm64", OSIDs: []string{"rocky", "rhel", "centos", "fedora"}, OSName: "Rocky Linux 9.4 (Blue Onyx)",
		Systemd: true, CloudInit: true, StateDir: true, Installed: true, AgentDigest: "abcdef", AgentUID: "0123", FrontPorts: []uint16{2376},
		Docker:    true,
		Listeners: map[uint16]Listener{22: {Program: "sshd"}, 2375: {Dockerd: true}, 443: {}}, FreeKB: 400000,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestNonsenseIsNoFact(t *testing.T) {
	got := ask("arch=\x1b]0;x\nos_PRETTY_NAME=\ntcp=0: x:zzzz y 0A\ntcp=\nss=LISTEN\nss=LISTEN 0 1 *:99999 *:*\ndf=x\nfront_Listen=:99999 (Stream)\nno equals sign\n=\n")
	want := Facts{Machine: "]0;x", OSIDs: []string{}, Listeners: map[uint16]Listener{}, FreeKB: math.MaxUint64}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

// The script itself, in each shell that this machine has.
func TestTheScriptRunsInEveryShell(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("the script is for Linux hosts")
	}
	for _, shell := range [][]string{{"dash"}, {"bash", "--posix"}, {"busybox", "sh"}, {"sh"}} {
		t.Run(shell[0], func(t *testing.T) {
			path, err := exec.LookPath(shell[0])
			if err != nil {
				t.Skipf("this machine has no %s", shell[0])
			}
			command := exec.CommandContext(t.Context(), path, append(shell[1:], "-s")...)
			var complaints strings.Builder
			command.Stdin, command.Stderr = strings.NewReader(Script), &complaints
			output, err := command.Output()
			if err != nil || complaints.Len() > 0 {
				t.Fatalf("%v: %s", err, &complaints)
			}
			var a Answer
			for line := range strings.Lines(string(output)) {
				a.Line(strings.TrimSuffix(line, "\n"))
			}
			f := a.Facts()
			if !a.Begun() || !a.Whole() || f.Arch != runtime.GOARCH || f.UID == "" || f.FreeKB == 0 || f.FreeKB == math.MaxUint64 {
				t.Errorf("%+v of\n%s", f, output)
			}
		})
	}
}
