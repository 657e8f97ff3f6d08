package e2e

import (
	"context"
	"encoding/json"
	"os/exec"
	"path/filepath"
	"time"
)

// soon is how late an event may be with somebody who follows.
const soon = 2 * time.Second

// containerEvents proves that what befalls containers is told at once. The host's clock, which dates events, is ours.
func containerEvents(l *lab, name string) {
	ctx, cancel := context.WithTimeout(l.t.Context(), limit)
	defer cancel()
	follow := exec.CommandContext(ctx, filepath.Join(l.bin, "mctl"), "--output", "json", "events", "--follow", "--machine", name,
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
	type told struct {
		Type       string
		Time       time.Time
		Attributes map[string]string
		late       time.Duration
	}
	events := make(chan told, 100)
	go func() { // beside the commands below, which return when they like
		defer close(events)
		for lines := json.NewDecoder(stdout); ; {
			var e told
			if lines.Decode(&e) != nil {
				return
			}
			e.late = time.Since(e.Time)
			events <- e
		}
	}()
	awaits := func(kind, container string) {
		l.t.Helper()
		for e := range events {
			if e.Type != kind || e.Attributes["name"] != container {
				continue
			}
			if e.late > soon {
				l.t.Errorf("%s came after %s", kind, e.late)
			}
			return
		}
		l.t.Fatalf("no %s of %s", kind, container)
	}
	l.mustDocker(name, nil, "run", "-d", "--name", "mortal", "busybox", "sh", "-c", "exit 3")
	awaits("CONTAINER_DIED", "mortal")
	l.mustDocker(name, nil, "run", "-d", "--name", "greedy", "-m", "16m", "busybox", "sh", "-c", "x=x; while :; do x=$x$x; done")
	awaits("CONTAINER_OOM", "greedy")
	l.mustDocker(name, nil, "run", "-d", "--name", "sick", "--health-cmd", "false", "--health-interval", "100ms", "--health-retries", "1", "busybox", "sleep", "1000")
	awaits("CONTAINER_UNHEALTHY", "sick")
}
