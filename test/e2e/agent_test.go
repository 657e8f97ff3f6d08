package e2e

import (
	"strings"
	"testing"
	"time"
)

func TestTheAgentKilledWhileDockerIsInstalled(t *testing.T) {
	l := newLab(t)
	l.must("create", "--driver", "nspawn", "--no-wait", "web")
	eventually(t, 2*time.Minute, "a login", func() bool { return l.run("ssh", "--via", "direct", "web", "true").code == 0 })
	l.ssh("web", "timeout 120 sh -c 'until pgrep -x dpkg >/dev/null; do sleep 0.05; done'; systemctl kill -s KILL --kill-who=main mctl-agent")
	l.must("wait", "web")
	l.mustDocker("web", nil, "version")
	if half := l.ssh("web", "dpkg --audit"); half != "" {
		t.Errorf("dpkg is left half done: %s", half)
	}
	if told := l.must("events", "--machine", "web"); strings.Contains(told, "interrupted installation") {
		t.Errorf("the package manager was cut short:\n%s", told)
	}
}

func TestAHostIsGivenBackThoughTheAgentIsKilledOnTheWay(t *testing.T) {
	l := newLab(t)
	l.must("create", "--driver", "nspawn", "web")
	// As an agent leaves it that was killed once its controller knew.
	l.ssh("web", `echo '{"Told":true}' >/var/lib/mctl/leaving.json; systemctl restart mctl-agent;`+
		` timeout 30 sh -c 'until pkill -KILL -f "^/usr/local/bin/mctl-agent uninstall"; do sleep 0.01; done'`)
	const ours = "ls -d /usr/local/bin/mctl-agent /var/lib/mctl /etc/systemd/system/mctl-agent* /etc/systemd/system/mctl-front* /etc/docker/*.pem 2>/dev/null; pgrep -x mctl-agent || true"
	eventually(t, time.Minute, "nothing of ours", func() bool { return l.ssh("web", ours) == "" })
	if state := l.ssh("web", "systemctl is-active docker"); state != "active" {
		t.Errorf("Docker is %s", state)
	}
}
