//go:build linux

package nspawn

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"mctl/internal/fault"
)

// nested is set where this package is tested on a host that it has made itself.
const nested = "NSPAWN_TEST_NESTED"

// TestHostsAreUnitsWhereSystemdIsProcess1 makes a host and tests on it, since most computers that tests run on have systemd
// for process 1, and the others shall not be without those tests.
func TestHostsAreUnitsWhereSystemdIsProcess1(t *testing.T) {
	if systemdIsProcess1() {
		t.Skip("it is, so the other tests show it")
	}
	w := newWorld(t, "outer")
	m := w.machine("outer", nil)
	client := w.login(w.create(m))
	w.must(client, "apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends systemd-container >/dev/null")
	h, err := w.driver().host(m)
	if err != nil {
		t.Fatal(err)
	}
	// A plain directory, which the host sees as /var/lib/docker: hosts cannot be kept on an overlay.
	shared := h.path("docker")
	cache := filepath.Join(shared, "cache")
	for _, dir := range []string{cache, filepath.Join(shared, "tmp")} {
		if err := os.Mkdir(dir, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	base, err := w.driver().cache.Image(t.Context(), "", func(line string) { t.Log(line) })
	if err != nil {
		t.Fatal(err)
	}
	for _, command := range [][]string{
		{"cp", "-a", "--reflink=auto", base, cache},
		{"go", "test", "-c", "-o", filepath.Join(shared, "nspawn.test"), "."},
	} {
		c := exec.CommandContext(t.Context(), command[0], command[1:]...)
		c.Env = append(os.Environ(), "CGO_ENABLED=0") // the host may have an older C library
		if output, err := c.CombinedOutput(); err != nil {
			t.Fatalf("%s: %v\n%s", strings.Join(command, " "), err, output)
		}
	}
	w.must(client, "mkdir -p /var/cache/mctl && ln -s /var/lib/docker/cache /var/cache/mctl/nspawn")
	output, err := w.run(client, "TMPDIR=/var/lib/docker/tmp "+nested+"=1 /var/lib/docker/nspawn.test -test.v -test.run "+
		"'TestContract|Reboots|KilledHalf|AnyPath|AnyMoment|Outlives|WholeSystem|DoesNotBite'")
	if err != nil || !strings.HasSuffix(output, "PASS") {
		t.Errorf("on the host: %v\n%s", err, output)
	}
	for _, test := range []string{"TestContract", "TestAHostOutlivesItsController", "TestALimitThatDoesNotBiteIsRefused"} {
		if !strings.Contains(output, "--- PASS: "+test) {
			t.Errorf("%s did not pass there", test)
		}
	}
}

func TestALimitThatDoesNotBiteIsRefused(t *testing.T) {
	if os.Getenv(nested) == "" {
		t.Skip("this computer's systemd has all controllers; see TestHostsAreUnitsWhereSystemdIsProcess1")
	}
	w := newWorld(t, "toothless")
	for _, options := range []map[string]string{{flagMemory: "512"}, {flagCPUs: "0.5"}} {
		m := w.machine("small", options)
		if _, err := w.driver().Create(t.Context(), m); !fault.Is(err, fault.Precondition) || !strings.Contains(err.Error(), "cannot limit") || fault.HintOf(err) == "" {
			t.Errorf("%v: %v", options, err)
		}
		if pids := w.inside(m); len(pids) > 0 {
			t.Errorf("%v: it runs all the same: %v", options, pids)
		}
	}
}
