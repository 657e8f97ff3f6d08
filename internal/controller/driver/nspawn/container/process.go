//go:build linux

package container

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// process is one that runs, held by a pidfd, so that its number cannot come to mean another.
type process struct {
	pid int
	fd  *os.File
}

// identity tells a process from any other that ever had its number.
type identity struct {
	PID   int    `json:"pid"`
	Start uint64 `json:"start"` // clock ticks since boot
	Boot  string `json:"boot"`  // which boot
}

func identify(pid int) (identity, error) {
	boot, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return identity{}, err
	}
	start, _, err := startTime(pid)
	return identity{PID: pid, Start: start, Boot: strings.TrimSpace(string(boot))}, err
}

// startTime reads field 22 of /proc/PID/stat, and whether the process is a zombie.
func startTime(pid int) (start uint64, zombie bool, err error) {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0, false, err
	}
	// The name, in parentheses, may hold anything.
	fields := bytes.Fields(stat[bytes.LastIndexByte(stat, ')')+1:])
	if len(fields) < 20 {
		return 0, false, fmt.Errorf("/proc/%d/stat is short", pid)
	}
	start, err = strconv.ParseUint(string(fields[19]), 10, 64)
	return start, string(fields[0]) == "Z", err
}

// holds reports whether the identified process still runs.
func (id identity) holds() bool {
	now, err := identify(id.PID)
	_, zombie, _ := startTime(id.PID)
	return err == nil && now == id && !zombie
}

// hold takes hold of a process; nil when there is none.
func hold(pid int) (*process, error) {
	fd, err := unix.PidfdOpen(pid, unix.PIDFD_NONBLOCK)
	if errors.Is(err, unix.ESRCH) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("pidfd of %d: %w", pid, err)
	}
	return &process{pid: pid, fd: os.NewFile(uintptr(fd), "pidfd")}, nil
}

// holdSame takes hold of a process if it still is the one that was identified; nil when it has ended.
func holdSame(id identity) (*process, error) {
	p, err := hold(id.PID)
	if p == nil || err != nil {
		return nil, err
	}
	if !id.holds() {
		p.close()
		return nil, nil
	}
	return p, nil
}

func (p *process) close() {
	if p != nil {
		p.fd.Close()
	}
}

// signal sends to this very process. One that has ended is success.
func (p *process) signal(signal syscall.Signal) error {
	var failed error
	control, err := p.fd.SyscallConn()
	if err == nil {
		err = control.Control(func(fd uintptr) { failed = unix.PidfdSendSignal(int(fd), signal, nil, 0) })
	}
	if err = errors.Join(err, failed); err != nil && !errors.Is(err, unix.ESRCH) {
		return fmt.Errorf("signal %d: %w", p.pid, err)
	}
	return nil
}

// wait returns when the process has ended, or with the context's error.
func (p *process) wait(ctx context.Context) error {
	if err := p.fd.SetReadDeadline(time.Time{}); err != nil {
		return err
	}
	stop := context.AfterFunc(ctx, func() { _ = p.fd.SetReadDeadline(time.Unix(1, 0)) })
	defer stop()
	conn, err := p.fd.SyscallConn()
	if err != nil {
		return err
	}
	err = conn.Read(func(fd uintptr) bool {
		poll := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}
		n, _ := unix.Poll(poll, 0)
		return n > 0
	})
	if err != nil && ctx.Err() != nil {
		return ctx.Err()
	}
	return err
}

// takes reports whether the process has made arrangements for a signal. The kernel drops one for a PID 1 that has not.
func (p *process) takes(signal syscall.Signal) bool {
	for _, name := range []string{"SigBlk", "SigCgt"} {
		mask, err := strconv.ParseUint(status(p.pid, name), 16, 64)
		if err == nil && mask&(1<<(signal-1)) != 0 {
			return true
		}
	}
	return false
}

// status returns one field of /proc/PID/status.
func status(pid int, name string) string {
	content, _ := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	for line := range strings.Lines(string(content)) {
		if value, ok := strings.CutPrefix(line, name+":"); ok {
			return strings.TrimSpace(value)
		}
	}
	return ""
}

// isInit reports whether a process is PID 1 of a container that we started, not of one inside of it.
func isInit(pid int) bool {
	own, its := strings.Fields(status(os.Getpid(), "NSpid")), strings.Fields(status(pid, "NSpid"))
	return len(its) == len(own)+1 && its[len(its)-1] == "1"
}

// initBelow finds the PID 1 that a process's child or grandchild is; nil when there is none yet.
func initBelow(pid int) (*process, error) {
	for _, child := range children(pid) {
		for _, candidate := range append([]int{child}, children(child)...) {
			if isInit(candidate) {
				return hold(candidate)
			}
		}
	}
	return nil, nil
}

// children lists a process's children, whichever of its threads made them.
func children(pid int) []int {
	lists, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", pid))
	var found []int
	for _, list := range lists {
		content, _ := os.ReadFile(list)
		for field := range strings.FieldsSeq(string(content)) {
			if child, err := strconv.Atoi(field); err == nil {
				found = append(found, child)
			}
		}
	}
	return found
}
