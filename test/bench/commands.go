package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"mctl/internal/mctl/dial"
	"mctl/internal/mctl/state"
	controllerv1 "mctl/proto/mctl/controller/v1"
)

const (
	// peersMost is how many machines peers are given: they run a process for each, and ten thousand would not fit into memory.
	peersMost = 1000
	// lsReach is how many machines the reaches of ls are said of.
	lsReach = 1000
)

// counts are the numbers of machines to measure ls at: MCTL_BENCH_MACHINES, or all that the page shows.
func counts() ([]int, error) {
	var all []int
	for _, text := range strings.Fields(os.Getenv("MCTL_BENCH_MACHINES")) {
		n, err := strconv.Atoi(text)
		if err != nil || n < 2 {
			return nil, fmt.Errorf("MCTL_BENCH_MACHINES: %q is no number of machines, two at least", text)
		}
		all = append(all, n)
	}
	if len(all) == 0 {
		all = []int{10, 100, 1000, 10000}
	}
	slices.Sort(all)
	return all, nil
}

// commands are those that scripts call most, over more and more records: every tenth failed, every tenth stopped.
func (b *bench) commands() error {
	all, err := counts()
	if err != nil {
		return err
	}
	root, stop := b.state("commands")
	defer stop()
	made := 0
	for _, n := range all {
		if err := b.populate(root, made, n); err != nil {
			return err
		}
		made = n
		if err := b.listOf(root, n); err != nil {
			return err
		}
	}
	for _, args := range [][]string{{"status", "machine1"}, {"ip", "machine1"}, {"inspect", "machine1"}, {"env", "--shell", "bash", "machine1"}} {
		ours, err := b.millis(root, args...)
		if err != nil {
			return err
		}
		what := fmt.Sprintf("%s NAME, %d records", args[0], made)
		median := row("mctl "+what, "ms", "", ours...)
		if args[0] != "env" { // theirs dials the engine, and there is none
			b.listByPeers(min(made, peersMost), args, what, median)
		}
	}
	return nil
}

// listOf measures ls with n records: its time, and what it takes of the computer.
func (b *bench) listOf(root string, n int) error {
	ours, err := b.millis(root, "ls")
	if err != nil {
		return err
	}
	reach := ""
	if n == lsReach {
		reach = "≤ 25 ms"
	}
	what := fmt.Sprintf("ls, %d records", n)
	median := row("mctl "+what, "ms", reach, ours...)
	processes, memory, err := b.tree(b.mctl, []string{"MCTL_HOME=" + root}, "ls")
	if err != nil {
		return err
	}
	row("mctl "+what+": processes", "", "1", float64(processes))
	row("mctl "+what+": peak memory", "MB", "≤ 25 MB", memory/1e6)
	if n > peersMost {
		return nil
	}
	b.listByPeers(n, []string{"ls"}, what, median)
	for _, p := range peers() {
		binary := os.Getenv(p.variable)
		if binary == "" {
			continue // which was said already
		}
		store, err := b.peerStore(p, binary, n)
		if err == nil {
			processes, memory, err = b.tree(binary, nil, "--storage-path", store, "ls")
		}
		if err != nil {
			absent(p.name+" "+what+": memory", lastLine(err))
			continue
		}
		row(p.name+" "+what+": processes", "", "", float64(processes))
		row(p.name+" "+what+": peak memory of all of them", "MB", "", memory/1e6)
	}
	return nil
}

func (b *bench) millis(root string, args ...string) ([]float64, error) {
	var all []float64
	for range 4 * runs {
		took, err := b.timed(root, args...)
		if err != nil {
			return nil, err
		}
		all = append(all, took*1000)
	}
	return all, nil
}

// populate makes the machines from one number up to another, and waits until nothing more happens to them.
func (b *bench) populate(root string, from, to int) error {
	if _, err := b.run(root, "ls", "-q"); err != nil { // has the controller start
		return err
	}
	client, err := dial.Local{Dir: state.Dir{Root: root}, Lookup: os.LookupEnv}.DialRunning(b.ctx)
	if err != nil {
		return err
	}
	defer client.Close()
	group, ctx := errgroup.WithContext(b.ctx)
	group.SetLimit(32)
	for i := from; i < to; i++ {
		group.Go(func() error {
			spec := &controllerv1.MachineSpec{Driver: "fake", Power: controllerv1.PowerState_POWER_STATE_RUNNING}
			if i%10 == 0 && i > 0 {
				spec.DriverOptions = []*controllerv1.DriverOption{{Name: "fake-fail", Values: []string{"create=denied"}}}
			}
			name := "machine" + strconv.Itoa(i)
			if _, err := client.Machines.CreateMachine(ctx, &controllerv1.CreateMachineRequest{Name: name, Spec: spec}); err != nil {
				return err
			}
			if i%10 != 5 {
				return nil
			}
			_, err := client.Machines.StopMachine(ctx, &controllerv1.StopMachineRequest{Name: name})
			return err
		})
	}
	if err := group.Wait(); err != nil {
		return err
	}
	return b.settled(client)
}

// settled waits until the controller has nothing to do.
func (b *bench) settled(client *dial.Client) error {
	ctx, cancel := context.WithTimeout(b.ctx, 5*time.Minute)
	defer cancel()
	look := time.NewTicker(200 * time.Millisecond)
	defer look.Stop()
	for {
		info, err := client.System.GetInfo(ctx, &controllerv1.GetInfoRequest{})
		if err != nil || info.GetBusy() == 0 {
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-look.C:
		}
	}
}

// tree runs a program and returns how many processes it was at most, itself included, and the most memory of all of them
// together, in bytes. It looks every millisecond; one process alone is measured by the kernel, which misses nothing.
func (b *bench) tree(program string, environment []string, args ...string) (processes int, memory float64, err error) {
	command := exec.CommandContext(b.ctx, program, args...)
	command.Env = append(os.Environ(), environment...)
	if err := command.Start(); err != nil {
		return 0, 0, err
	}
	done := make(chan error, 1)
	go func() { done <- command.Wait() }()
	look := time.NewTicker(time.Millisecond)
	defer look.Stop()
	for {
		select {
		case err := <-done:
			if err == nil && processes <= 1 {
				processes = 1
				memory, err = b.peakOf(program, environment, args...)
			}
			return processes, memory, err
		case <-look.C:
			pids := descendants(command.Process.Pid)
			processes = max(processes, len(pids))
			memory = max(memory, resident(pids))
		}
	}
}

// descendants are a process and all that it has started, as far as they live.
func descendants(pid int) []int {
	all := []int{pid}
	tasks, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", pid))
	for _, path := range tasks {
		text, _ := os.ReadFile(path)
		for field := range strings.FieldsSeq(string(text)) {
			if child, err := strconv.Atoi(field); err == nil {
				all = append(all, descendants(child)...)
			}
		}
	}
	return all
}

func resident(pids []int) float64 {
	var sum float64
	for _, pid := range pids {
		text, _ := os.ReadFile(fmt.Sprintf("/proc/%d/statm", pid))
		if fields := strings.Fields(string(text)); len(fields) > 1 {
			pages, _ := strconv.ParseFloat(fields[1], 64)
			sum += pages * float64(os.Getpagesize())
		}
	}
	return sum
}
