package e2e

import (
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// Where a value stands for itself, it is neither run nor read by anything on its way: not by the caller's shell, not by the
// host's, not by systemd.
func TestWhatAUserWritesIsLiteralOnTheHost(t *testing.T) {
	t.Parallel()
	image, err := dockerImage()
	if err != nil {
		t.Fatal(err)
	}
	l, h := newLab(t), newBareHost(t, "literal", image)
	h.run("systemctl is-system-running --wait; systemctl is-active docker")
	before := h.snapshot()
	labels := []string{"a=$(touch /pwned)", "b=`touch /pwned`", `c=it's "quoted" \n %h %% ${HOME} $HOME`, "-d=--host=tcp://0.0.0.0:1", "e=; touch /pwned", "f=bücher"}
	variables := []string{"A=$(touch /pwned)", "B=`touch /pwned` %h %%n", `C=it's "quoted" \x41 $PATH ${PATH}`, "D=; touch /pwned"}
	args := []string{"--tls-san", "*.example.com", "--tls-san", "2001:db8::1", "--engine-opt", "log-opt=tag={{.Name}} $(touch /pwned)"}
	for _, label := range labels {
		args = append(args, "--engine-label", label)
	}
	for _, variable := range variables {
		args = append(args, "--engine-env", variable)
	}
	l.must(h.adopt("web.x-1", args...)...)

	var has []string
	if err := json.Unmarshal([]byte(l.mustDocker("web.x-1", nil, "info", "--format", "{{json .Labels}}")), &has); err != nil {
		t.Fatal(err)
	}
	environment := strings.Split(h.run(`tr '\0' '\n' <"/proc/$(pidof dockerd)/environ"`), "\n")
	for _, wanted := range []struct{ given, found []string }{{labels, has}, {variables, environment}} {
		for _, value := range wanted.given {
			if !slices.Contains(wanted.found, value) {
				t.Errorf("%q is not among %q", value, wanted.found)
			}
		}
	}
	if config := h.run("cat /etc/docker/daemon.json"); !strings.Contains(config, `"tag": "{{.Name}} $(touch /pwned)"`) {
		t.Errorf("daemon.json is %s", config)
	}
	if names := h.run("openssl x509 -noout -ext subjectAltName -in /etc/docker/server.pem"); !strings.Contains(names, "DNS:*.example.com") || !strings.Contains(names, "DNS:web.x-1") {
		t.Errorf("the certificate covers %s", names)
	}
	shown := l.must("inspect", "--format", "{{json .HostOptions.EngineOptions.Labels}}", "web.x-1")
	var listed []string
	if err := json.Unmarshal([]byte(shown), &listed); err != nil || !slices.Equal(listed, labels) {
		t.Errorf("inspect shows %s: %v", shown, err)
	}
	nothingRan := func() {
		t.Helper()
		if found := h.run("ls /pwned /root/pwned 2>/dev/null || true"); found != "" {
			t.Errorf("something was run on the host: %s", found)
		}
		for _, path := range []string{"/pwned", filepath.Join(l.state, "pwned"), "pwned"} {
			if _, err := os.Stat(path); err == nil {
				t.Errorf("something was run here: %s", path)
			}
		}
	}
	nothingRan()
	l.must("rm", "-y", "web.x-1")

	t.Run("what dockerd itself refuses is taken back", func(t *testing.T) {
		l, h := l.within(t), h.in(t)
		for option, says := range map[string]string{
			"log-level=$(touch /pwned)": "docker does not start: unable to parse logging level: $(touch /pwned)",
			"nosuchflag=`touch /pwned`": "unknown flag: --nosuchflag",
		} {
			l.refused(1, says, h.adopt("refused", "--engine-opt", option)...)
			l.parked("refused", says)
			if now := h.run("cat /etc/docker/daemon.json /etc/systemd/system/docker.service.d/* 2>/dev/null; systemctl is-active docker"); now != "active" {
				t.Errorf("%s: dockerd's configuration is %s", option, now)
			}
			l.must("rm", "-y", "refused")
		}
		nothingRan()
	})
	for _, line := range differences(before, h.snapshot()) {
		// Docker writes these when it starts.
		if !strings.Contains(line, "/etc/docker/key.json") && !strings.Contains(line, "/var/lib/docker") {
			t.Errorf("after rm: %s", line)
		}
	}
}
