package e2e

import (
	"context"
	"os/exec"
	"strings"
	"testing"
	"time"
)

// cutPower ends everything on the host at once, as a power cut does, and lets it boot again.
func (h *machinesHost) cutPower() {
	h.t.Helper()
	const born = "cut -d ' ' -f 22 /proc/1/stat"
	boot := h.run(born)
	h.run("nohup sh -c 'sleep 0.1; systemctl reboot -ff' >/dev/null 2>&1 &")
	eventually(h.t, 2*time.Minute, "the host boots, and docker answers", func() bool {
		ctx, cancel := context.WithTimeout(h.t.Context(), 5*time.Second)
		defer cancel()
		output, err := exec.CommandContext(ctx, "ssh", h.sshArgs(born+" && docker start one two")...).Output()
		return err == nil && !strings.HasPrefix(string(output), boot+"\n")
	})
}

func TestAHostThatLosesItsPowerAmidstATakeoverIsTakenOverOrGivenBackAllTheSame(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	h := newMachinesHost(t, "power")
	h.cutPower()
	before := h.snapshot()
	random := newRandom(t)
	// insist cuts the power at a moment, and repeats until it is done.
	insist := func(moment time.Duration, first []string, again ...string) {
		ended := make(chan result, 1)
		go func() { ended <- l.run(first...) }()
		pass(moment)
		h.cutPower()
		r := <-ended
		for range 5 {
			if r.code == 0 || strings.Contains(r.stderr, "does not exist") {
				break
			}
			if r = l.run(again...); r.code != 0 && strings.Contains(r.stderr, "does not exist") && again[0] == "retry" {
				r = l.run(first...) // it was not even asked for
			}
		}
		if r.code != 0 && !strings.Contains(r.stderr, "does not exist") {
			t.Fatalf("power lost after %s: %s", moment, r)
		}
	}
	create := []string{"create", "--driver", "generic", "--generic-ip-address", h.address, "--generic-ssh-key", h.key, "adopted"}
	for _, moment := range spread(random, 2, 6*time.Second) {
		insist(moment, create, "retry", "adopted")
		eventually(t, 30*time.Second, "the front serves", func() bool { return l.docker("adopted", nil, "ps").code == 0 })
		h.ownListener("power lost while it was taken over, after "+moment.String(), false)
		h.cutPower()
		eventually(t, 30*time.Second, "the front serves after a boot", func() bool { return l.docker("adopted", nil, "ps").code == 0 })
		h.ownListener("booted", false)
		same := h.containers()
		insist(moment/2, []string{"rm", "-y", "adopted"}, "rm", "-y", "adopted")
		h.ownListener("power lost while it was given back, after "+(moment/2).String(), true)
		if now := h.containers(); now == same {
			t.Error("the host never lost its power")
		}
		for _, line := range differences(before, h.snapshot()) {
			if !strings.Contains(line, "port tcp 127.0.0.1:") { // containerd's, another one with each boot
				t.Errorf("after rm: %s", line)
			}
		}
	}
}
