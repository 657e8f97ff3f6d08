package health

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// process is dockerd's main process, held by a descriptor that can't be mistaken for a later process of the same number.
type process struct {
	pid  int
	file *os.File // nil where the kernel has no such descriptors
	path string   // its folder in /proc
}

// find returns dockerd's main process, without asking dockerd or systemd; nil when there is none.
func (w *Watcher) find() *process {
	for _, pid := range w.candidates() {
		path := filepath.Join(w.config.Root, "/proc", strconv.Itoa(pid))
		if !isDockerd(path) {
			continue
		}
		p := &process{pid: pid, path: path}
		if fd, err := unix.PidfdOpen(pid, 0); err == nil {
			// epoll wants descriptors that do not block.
			_ = unix.SetNonblock(fd, true)
			p.file = os.NewFile(uintptr(fd), "pidfd")
			if !isDockerd(path) { // it was another's number by now
				p.close()
				continue
			}
		}
		return p
	}
	return nil
}

// candidates are the process in the pid file, and those in the unit's control group where dockerd writes its pid file
// elsewhere.
func (w *Watcher) candidates() []int {
	var pids []int
	for _, path := range []string{
		"/var/run/docker.pid", "/sys/fs/cgroup/system.slice/docker.service/cgroup.procs",
		"/sys/fs/cgroup/systemd/system.slice/docker.service/cgroup.procs",
	} {
		content, err := os.ReadFile(filepath.Join(w.config.Root, path))
		if err != nil {
			continue
		}
		for _, field := range strings.Fields(string(content)) {
			if pid, err := strconv.Atoi(field); err == nil && pid > 1 {
				pids = append(pids, pid)
			}
		}
	}
	return pids
}

func isDockerd(path string) bool {
	name, err := os.ReadFile(filepath.Join(path, "comm"))
	return err == nil && strings.TrimSpace(string(name)) == "dockerd"
}

// alive reports whether the process has not ended. One that waits for its parent to take notice has.
func (p *process) alive() bool {
	if p.file == nil {
		stat, err := os.ReadFile(filepath.Join(p.path, "stat"))
		return err == nil && isDockerd(p.path) && !strings.Contains(string(stat), ") Z ")
	}
	raw, err := p.file.SyscallConn()
	if err != nil {
		return false
	}
	ended := true
	err = raw.Control(func(fd uintptr) { ended = readable(fd) })
	return err == nil && !ended
}

// wait returns when the process has ended or the context has. With a descriptor it is told at once.
func (p *process) wait(ctx context.Context, recheck time.Duration) {
	if p.file != nil {
		stop := context.AfterFunc(ctx, func() { _ = p.file.SetReadDeadline(time.Unix(1, 0)) })
		defer stop()
		raw, err := p.file.SyscallConn()
		if err == nil {
			err = raw.Read(readable)
		}
		if err == nil || ctx.Err() != nil || errors.Is(err, os.ErrDeadlineExceeded) {
			return
		}
	}
	ticker := time.NewTicker(recheck)
	defer ticker.Stop()
	for p.alive() {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
	}
}

func (p *process) close() {
	if p.file != nil {
		p.file.Close()
	}
}

// readable reports whether a process's descriptor is: then the process has ended.
func readable(fd uintptr) bool {
	poll := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}} //nolint:gosec // descriptors are small
	n, err := unix.Poll(poll, 0)
	return err == nil && n == 1
}
