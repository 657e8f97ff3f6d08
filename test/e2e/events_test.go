package e2e

import (
	"encoding/json"
	"os/exec"
	"path/filepath"
	"time"
)

// soon is how late an event may be with somebody who follows.
const soon = 2 * time.Second

// containerEvents proves that what befalls containers is told at once. The host's clock, which dates events, is ours.
func containerEvents(l *lab, name string) {
	follow := exec.CommandContext(l.t.Context(), filepath.Join(l.bin, "mctl"), "--output", "json", "events", "--follow", "--machine", name,
		"--type", "CONTAINER_DIED", "--type", "CONTAINER_OOM", "--type", "CONTAINER_UNHEALTHY", "--since", "0s")
	follow.Env = l.environment()
	stdout, err := follow.StdoutPipe()
	if err != nil {
		l.t.Fatal(err)
	}
	if err := follow.Start(); err != nil {
		l.t.Fatal(err)
	}
	defer func() { _ = follow.Process.Kill(); _ = follow.Wait() }()
	events := json.NewDecoder(stdout)
	awaits := func(kind, container string) {
		l.t.Helper()
		for {
			var e struct {
				Type       string
				Time       time.Time
				Attributes map[string]string
			}
			if err := events.Decode(&e); err != nil {
				l.t.Fatalf("no %s of %s: %v", kind, container, err)
			}
			if e.Type != kind || e.Attributes["name"] != container {
				continue
			}
			if late := time.Since(e.Time); late > soon {
				l.t.Errorf("%s came after %s", kind, late)
			}
			return
		}
	}
	l.mustDocker(name, nil, "run", "-d", "--name", "mortal", "busybox", "sh", "-c", "exit 3")
	awaits("CONTAINER_DIED", "mortal")
	l.mustDocker(name, nil, "run", "-d", "--name", "greedy", "-m", "16m", "busybox", "sh", "-c", "x=x; while :; do x=$x$x; done")
	awaits("CONTAINER_OOM", "greedy")
	l.mustDocker(name, nil, "run", "-d", "--name", "sick", "--health-cmd", "false", "--health-interval", "100ms", "--health-retries", "1", "busybox", "sleep", "1000")
	awaits("CONTAINER_UNHEALTHY", "sick")
}
