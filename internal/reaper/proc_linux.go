package reaper

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
)

const hangUp, kill = syscall.SIGHUP, syscall.SIGKILL

// members sends a signal, zero for none, to the living of a session or group and counts them.
func members(leader int, signal syscall.Signal) (living int) {
	entries, _ := os.ReadDir("/proc")
	for _, entry := range entries {
		pid, err := strconv.Atoi(entry.Name())
		if err != nil {
			continue
		}
		if s, alive := statusOf(pid); !alive || s[group] != strconv.Itoa(leader) && s[session] != strconv.Itoa(leader) {
			continue
		}
		living++
		if signal != 0 {
			_ = syscall.Kill(pid, signal)
		}
	}
	return living
}

// Fields of a process's status, from its state on.
const (
	group   = 2
	session = 3
	start   = 19
)

// statusOf reads a process's status; false for one that is gone, or only waits to be reaped.
func statusOf(pid int) ([]string, bool) {
	text, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "stat"))
	if err != nil {
		return nil, false
	}
	// The name in parentheses may hold anything.
	fields := strings.Fields(string(text[strings.LastIndexByte(string(text), ')')+1:]))
	return fields, len(fields) > start && fields[0] != "Z" && fields[0] != "X"
}

// beginning is when a process began, in the kernel's ticks since it was booted.
func beginning(pid int) (string, bool) {
	s, alive := statusOf(pid)
	if !alive {
		return "", false
	}
	return s[start], true
}

// boot is the kernel's name for the time since it was booted.
func boot() string {
	text, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return "unknown"
	}
	return strings.TrimSpace(string(text))
}
