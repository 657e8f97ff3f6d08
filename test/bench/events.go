package main

import (
	"encoding/json"
	"errors"
	"io"
	"os"
	"os/exec"
	"sync"
	"syscall"
	"time"
)

const (
	watchers = 100 // one of which is stalled
	deaths   = 50
)

// events is from the moment a container dies, as its host's dockerd dates it, to the line that a watcher prints. The host's
// clock is this computer's.
func (b *bench) events() error {
	state, stop := b.state("events")
	defer stop()
	if _, err := b.run(state, "create", "--driver", "nspawn", "events"); err != nil {
		return err
	}
	environment, err := b.dockerEnv(state, "events")
	if err != nil {
		return err
	}
	if err := b.importBusybox(environment); err != nil {
		return err
	}
	var mu sync.Mutex
	var late []float64
	var all sync.WaitGroup
	var following []*exec.Cmd
	defer func() {
		for _, watcher := range following {
			_ = watcher.Process.Kill()
		}
		all.Wait()
		for _, watcher := range following {
			_ = watcher.Wait()
		}
	}()
	for range watchers {
		watcher := exec.CommandContext(b.ctx, b.mctl, "--output", "json", "events", "--follow", "--type", "CONTAINER_DIED", "--since", "0s")
		watcher.Env = append(os.Environ(), "MCTL_HOME="+state)
		stdout, err := watcher.StdoutPipe()
		if err != nil {
			return err
		}
		if err := watcher.Start(); err != nil {
			return err
		}
		following = append(following, watcher)
		all.Go(func() {
			for lines := json.NewDecoder(stdout); ; {
				var event struct{ Time time.Time }
				if lines.Decode(&event) != nil {
					_, _ = io.Copy(io.Discard, stdout)
					return
				}
				mu.Lock()
				late = append(late, time.Since(event.Time).Seconds()*1000)
				mu.Unlock()
			}
		})
	}
	seen := func() int { mu.Lock(); defer mu.Unlock(); return len(late) }
	die := func() error {
		return b.docker(environment, "run", "--rm", "-d", "busybox", "/bin/busybox", "false")
	}
	// All are there once each has told of one death.
	if err := die(); err != nil {
		return err
	}
	if err := b.until(func() bool { return seen() >= watchers }); err != nil {
		return err
	}
	if err := following[0].Process.Signal(syscall.SIGSTOP); err != nil {
		return err
	}
	mu.Lock()
	late = nil
	mu.Unlock()
	for i := range deaths {
		if err := die(); err != nil {
			return err
		}
		if err := b.until(func() bool { return seen() >= (i+1)*(watchers-1) }); err != nil {
			return err
		}
	}
	mu.Lock()
	defer mu.Unlock()
	rank("event to screen, 100 watchers, one stalled: 99th percentile", "ms", "≤ 100 ms", 0.99, late)
	return nil
}

// until waits for what other processes do.
func (b *bench) until(met func() bool) error {
	ticker := time.NewTicker(time.Millisecond)
	defer ticker.Stop()
	limit := time.NewTimer(30 * time.Second)
	defer limit.Stop()
	for !met() {
		select {
		case <-ticker.C:
		case <-limit.C:
			return errors.New("not within 30 s")
		case <-b.ctx.Done():
			return b.ctx.Err()
		}
	}
	return nil
}
