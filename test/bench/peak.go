package main

import (
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
)

// peakPart has this program run another one and print its peak memory, in bytes.
const peakPart = "peak"

// peakOf is the most memory that one process has, in bytes, as the kernel counts it. The kernel also counts what the
// process was before it became the program: a copy of who started it. So a new process starts it, which has little, where
// this one has grown.
func (b *bench) peakOf(program string, environment []string, args ...string) (float64, error) {
	self, err := os.Executable()
	if err != nil {
		return 0, err
	}
	command := exec.CommandContext(b.ctx, self, append([]string{peakPart, program}, args...)...)
	command.Env = append(os.Environ(), environment...)
	command.Stderr = os.Stderr
	output, err := command.Output()
	if err != nil {
		return 0, err
	}
	return strconv.ParseFloat(strings.TrimSpace(string(output)), 64)
}

func peak(program string, args []string) (exit int) {
	command := exec.Command(program, args...)
	command.Stderr = os.Stderr
	if err := command.Run(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	usage, ok := command.ProcessState.SysUsage().(*syscall.Rusage)
	if !ok {
		return 1
	}
	fmt.Println(usage.Maxrss * 1024) //nolint:forbidigo // this is the answer
	return 0
}
