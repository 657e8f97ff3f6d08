//go:build linux

package host_test

import (
	"bufio"
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/hashicorp/go-hclog"

	"mctl/test/cloud/host"
)

// ready is what a lab says that waits to be killed, after its traces.
const ready = "ready to be killed"

func TestWhatAKilledLabLeftIsSweptAway(t *testing.T) {
	if os.Getenv("MCTL_LAB_TO_KILL") != "" {
		w := newWorld(t)
		w.login(w.create(w.spec("web")).Public, "ops")
		if _, err := fmt.Printf("%s\n%s\n", strings.Join(traces(t, w.hosts), "\n"), ready); err != nil { //nolint:forbidigo // its parent reads it
			t.Fatal(err)
		}
		<-t.Context().Done()
		return
	}
	program, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	child := exec.CommandContext(t.Context(), program, "-test.run=^TestWhatAKilledLabLeftIsSweptAway$")
	child.Env = append(os.Environ(), "MCTL_LAB_TO_KILL=1")
	stdout, err := child.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := child.Start(); err != nil {
		t.Fatal(err)
	}
	said := bufio.NewScanner(stdout)
	var left []string
	for said.Scan() && said.Text() != ready {
		left = append(left, said.Text())
	}
	if err := child.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = child.Wait()
	dir := ""
	kinds := map[string]bool{}
	for _, trace := range left {
		kind, what, _ := strings.Cut(trace, " ")
		if kinds[kind] = true; kind == "directory" {
			dir = what
		}
	}
	for _, kind := range []string{"directory", "process", "link", "rule", "cgroup"} {
		if !kinds[kind] && (kind != "cgroup" || !managed()) {
			t.Fatalf("a lab with a host has no %s, so that this test shows nothing: %q", kind, left)
		}
	}
	running := func() []byte {
		output, err := exec.CommandContext(t.Context(), "sh", "-c", "ps -ww -eo args; ip -o link; iptables-save; cat /proc/mounts; ls "+filepath.Dir(dir)).Output()
		if err != nil {
			t.Fatal(err)
		}
		return output
	}
	if !bytes.Contains(running(), []byte(dir)) {
		t.Fatal("it left nothing")
	}
	hosts, err := host.New(t.Context(), hclog.NewNullLogger())
	if err != nil {
		t.Fatal(err)
	}
	if err := hosts.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	after := running()
	for _, trace := range left {
		kind, what, _ := strings.Cut(trace, " ")
		switch fields := strings.Fields(what); kind {
		case "link":
			what = strings.Split(fields[1], "@")[0]
		case "process":
			what = strings.Join(fields[1:], " ")
		case "directory":
			what = filepath.Base(dir)
		case "cgroup":
			if _, err := os.Stat(what); err == nil {
				t.Errorf("left behind: %s", trace)
			}
			continue
		}
		if bytes.Contains(after, []byte(what)) {
			t.Errorf("left behind: %s", trace)
		}
	}
}

// managed reports whether systemd keeps the hosts, in cgroups of its own choice.
func managed() bool {
	_, err := os.Stat("/run/systemd/system")
	return err == nil
}
