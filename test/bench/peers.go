package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
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
			absent(what, p.name+" failed: "+firstLine(err))
			continue
		}
		row(what, "×", "> 1", seconds/ours)
	}
	return nil
}

func (b *bench) adoptedBy(p peer, binary string) (seconds float64, err error) {
	address, key, remove, err := b.bareHost()
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

// absent prints what was not measured, and why.
func absent(what, why string) {
	fmt.Printf("| %s | not measured | %s | |\n", what, why) //nolint:forbidigo // this is the report
}

func firstLine(err error) string {
	line, _, _ := strings.Cut(err.Error(), "\n")
	return line
}
