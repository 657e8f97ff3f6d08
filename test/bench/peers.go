package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// peer is a program of docker-machine's family, measured in the same run.
type peer struct{ name, variable string }

func peers() []peer {
	return []peer{{"docker-machine", "DOCKER_MACHINE_BIN"}, {"rancher-machine", "RANCHER_MACHINE_BIN"}}
}

// adoptByPeers has each peer adopt a bare host of its own, as adopt does; ours is the median of adopt, in seconds.
func (b *bench) adoptByPeers(ours float64) error {
	for _, p := range peers() {
		what := "adopt, " + p.name + " ÷ mctl"
		binary := os.Getenv(p.variable)
		if binary == "" {
			absent(what, p.variable+" names no program")
			continue
		}
		seconds, err := b.adoptedBy(p, binary)
		if err != nil {
			absent(what, p.name+" failed: "+lastLine(err))
			continue
		}
		row(what, "×", "> 1", seconds/ours)
	}
	return nil
}

func (b *bench) adoptedBy(p peer, binary string) (seconds float64, err error) {
	address, key, remove, err := b.bareHost(p.name)
	if err != nil {
		return 0, err
	}
	defer remove()
	store := filepath.Join(b.folder, p.name)
	start := time.Now()
	create := exec.CommandContext(b.ctx, binary, "--storage-path", store, "create", "--driver", "generic",
		"--generic-ip-address", address, "--generic-ssh-key", key, "adopted")
	if output, err := create.CombinedOutput(); err != nil {
		return 0, fmt.Errorf("%w %s", err, output)
	}
	config, err := exec.CommandContext(b.ctx, binary, "--storage-path", store, "config", "adopted").Output()
	if err != nil {
		return 0, err
	}
	ps := strings.Fields(strings.ReplaceAll(string(config), `"`, ""))
	if err := b.docker(os.Environ(), append(ps, "ps")...); err != nil {
		return 0, err
	}
	return time.Since(start).Seconds(), nil
}

// listByPeers has each peer run the same command over as many records of its own; ours is the median, in milliseconds.
func (b *bench) listByPeers(machines int, args []string, what string, ours float64) {
	for _, p := range peers() {
		what := p.name + " ÷ mctl, " + what
		binary := os.Getenv(p.variable)
		if binary == "" {
			absent(what, p.variable+" names no program")
			continue
		}
		store, err := b.peerStore(p, binary, machines)
		if err != nil {
			absent(what, p.name+" failed: "+lastLine(err))
			continue
		}
		var times []float64
		for range 3 {
			start := time.Now()
			command := exec.CommandContext(b.ctx, binary, append([]string{"--storage-path", store}, args...)...)
			if output, err := command.CombinedOutput(); err != nil {
				absent(what, p.name+" failed: "+lastLine(fmt.Errorf("%w %s", err, output)))
				return
			}
			times = append(times, float64(time.Since(start).Milliseconds())/ours)
		}
		row(what, "×", "> 1", times...)
	}
}

// peerStore is a store of machines that are addresses alone: one that the peer made, and copies of its record. It is made once for each number.
func (b *bench) peerStore(p peer, binary string, machines int) (string, error) {
	store := filepath.Join(b.folder, p.name+"-list-"+strconv.Itoa(machines))
	if _, err := os.Stat(store); err == nil {
		return store, nil
	}
	const first = "machine0"
	create := exec.CommandContext(b.ctx, binary, "--storage-path", store, "create", "--driver", "none", "--url", "tcp://127.0.0.1:1", first)
	if output, err := create.CombinedOutput(); err != nil {
		return "", fmt.Errorf("%w %s", err, output)
	}
	record, err := os.ReadFile(filepath.Join(store, "machines", first, "config.json"))
	if err != nil {
		return "", err
	}
	for i := range machines {
		name := "machine" + strconv.Itoa(i)
		folder := filepath.Join(store, "machines", name)
		if err := os.MkdirAll(folder, 0o700); err != nil {
			return "", err
		}
		copied := strings.ReplaceAll(string(record), first, name)
		if err := os.WriteFile(filepath.Join(folder, "config.json"), []byte(copied), 0o600); err != nil {
			return "", err
		}
	}
	return store, nil
}

// absent prints what was not measured, and why.
func absent(what, why string) {
	fmt.Printf("| %s | not measured | %s | |\n", what, why) //nolint:forbidigo // this is the report
}

// lastLine is where programs of that family say what was wrong.
func lastLine(err error) string {
	lines := strings.Split(strings.TrimSpace(err.Error()), "\n")
	return lines[len(lines)-1]
}
