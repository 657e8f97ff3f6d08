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

// gigabyte is what is copied through the agent and by scp, in bytes.
const gigabyte = 1_000_000_000

// tunnels compares the way through the agent with the direct ones on one host, in turns.
func (b *bench) tunnels() error {
	state, stop := b.state("tunnels")
	defer stop()
	if _, err := b.run(state, "create", "--driver", "nspawn", "far"); err != nil {
		return err
	}
	ip, err := b.run(state, "ip", "far")
	if err != nil {
		return err
	}
	plain := plainSSH{b, filepath.Join(state, "machines", "far", "id_rsa"), "root@" + strings.TrimSpace(ip)}
	for _, part := range []func(state string, plain plainSSH) error{b.logins, b.copies, b.dockers} {
		if err := part(state, plain); err != nil {
			return err
		}
	}
	return nil
}

// plainSSH is OpenSSH itself, as mctl calls it.
type plainSSH struct {
	bench       *bench
	key, target string
}

func (p plainSSH) timed(program string, args ...string) (float64, error) {
	options := []string{"-F", "/dev/null", "-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null", "-o", "LogLevel=ERROR", "-o", "IdentitiesOnly=yes", "-i", p.key}
	start := time.Now()
	if output, err := exec.CommandContext(p.bench.ctx, program, append(options, args...)...).CombinedOutput(); err != nil {
		return 0, fmt.Errorf("%s: %w\n%s", program, err, output)
	}
	return time.Since(start).Seconds(), nil
}

// logins is how long a command that does nothing takes, by each way and each peer in turns.
func (b *bench) logins(state string, plain plainSSH) error {
	type way struct {
		what  string
		take  func() (float64, error)
		times []float64
	}
	ways := []*way{
		{what: "ssh HOST true", take: func() (float64, error) { return plain.timed("ssh", plain.target, "true") }},
		{what: "mctl ssh NAME true", take: func() (float64, error) { return b.timed(state, "ssh", "far", "true") }},
		{what: "mctl ssh --via direct NAME true", take: func() (float64, error) { return b.timed(state, "ssh", "--via", "direct", "far", "true") }},
	}
	own := len(ways)
	for _, p := range peers() {
		what := "ssh NAME true, " + p.name + " ÷ mctl"
		binary := os.Getenv(p.variable)
		if binary == "" {
			absent(what, p.variable+" names no program")
			continue
		}
		take, remove, err := b.peerLogin(p, binary)
		if err != nil {
			absent(what, p.name+" failed: "+lastLine(err))
			continue
		}
		defer remove()
		ways = append(ways, &way{what: what, take: take})
	}
	for range 2 * runs {
		for _, w := range ways {
			took, err := w.take()
			if err != nil {
				return err
			}
			w.times = append(w.times, 1000*took)
		}
	}
	for _, w := range ways[:own] {
		row(w.what, "ms", "", w.times...)
	}
	for _, w := range ways[own:] {
		for i := range w.times {
			w.times[i] /= ways[1].times[i]
		}
		row(w.what, "×", "≥ 3", w.times...)
	}
	return nil
}

// peerLogin returns what times one login by a peer, in seconds, on a host that its record alone knows: whether its Docker answers
// is nothing to a login.
func (b *bench) peerLogin(p peer, binary string) (take func() (float64, error), remove func(), err error) {
	address, key, remove, err := b.bareHost("login-" + p.name)
	if err != nil {
		return nil, nil, err
	}
	store := filepath.Join(b.folder, "login-"+p.name)
	create := exec.CommandContext(b.ctx, binary, "--storage-path", store, "create", "--driver", "generic",
		"--generic-ip-address", address, "--generic-ssh-key", key, "far")
	if output, err := create.CombinedOutput(); err != nil {
		if _, recorded := os.Stat(filepath.Join(store, "machines", "far", "config.json")); recorded != nil {
			remove()
			return nil, nil, fmt.Errorf("%w %s", err, output)
		}
	}
	return func() (float64, error) {
		start := time.Now()
		if output, err := exec.CommandContext(b.ctx, binary, "--storage-path", store, "ssh", "far", "true").CombinedOutput(); err != nil {
			return 0, fmt.Errorf("%w %s", err, output)
		}
		return time.Since(start).Seconds(), nil
	}, remove, nil
}

// copies compares copies of 1 GB in both directions.
func (b *bench) copies(state string, plain plainSSH) error {
	source := filepath.Join(b.folder, "gigabyte")
	if err := b.random(source, gigabyte); err != nil {
		return err
	}
	defer os.Remove(source)
	var there, back []float64
	for range runs {
		for ratios, ways := range map[*[]float64][2][2]string{
			&there: {{source, plain.target + ":/root/blob"}, {source, "far:blob"}},
			&back:  {{plain.target + ":/root/blob", source + ".back"}, {"far:blob", source + ".back"}},
		} {
			if ratios == &back && len(there) == 0 {
				if _, err := b.timed(state, "scp", "--via", "agent", source, "far:blob"); err != nil {
					return err
				}
			}
			byScp, err := plain.timed("scp", ways[0][0], ways[0][1])
			if err != nil {
				return err
			}
			byAgent, err := b.timed(state, "scp", "--via", "agent", ways[1][0], ways[1][1])
			if err != nil {
				return err
			}
			*ratios = append(*ratios, byScp/byAgent)
		}
	}
	_ = os.Remove(source + ".back")
	row("scp through the agent ÷ scp: 1 GB to the host", "×", "≥ 0.9", there...)
	row("scp through the agent ÷ scp: 1 GB from the host", "×", "≥ 0.9", back...)
	return nil
}

// dockers compares Docker through the agent with Docker over TCP.
func (b *bench) dockers(state string, _ plainSSH) error {
	direct, err := b.dockerEnv(state, "far")
	if err != nil {
		return err
	}
	agent, err := b.dockerEnv(state, "far", "--via", "agent")
	if err != nil {
		return err
	}
	if err := b.importBusybox(direct); err != nil {
		return err
	}
	if err := b.docker(direct, "create", "--name", "target", "busybox", "/bin/busybox", "true"); err != nil {
		return err
	}
	source := filepath.Join(b.folder, "docker-blob")
	if err := b.random(source, blob); err != nil {
		return err
	}
	defer os.Remove(source)
	var latency, throughput []float64
	for range runs {
		var small, large [2]float64
		for i, environment := range [][]string{direct, agent} {
			for what, args := range map[*float64][]string{&small[i]: {"ps"}, &large[i]: {"cp", "-q", source, "target:/blob"}} {
				start := time.Now()
				if err := b.docker(environment, args...); err != nil {
					return err
				}
				*what = time.Since(start).Seconds()
			}
		}
		latency, throughput = append(latency, small[1]/small[0]), append(throughput, large[0]/large[1])
	}
	row("docker ps through the agent ÷ direct: time", "×", "", latency...)
	row("docker cp of 500 MB through the agent ÷ direct: throughput", "×", "", throughput...)
	return nil
}

// random makes a file that nothing can make smaller.
func (b *bench) random(path string, size int) error {
	return exec.CommandContext(b.ctx, "dd", "if=/dev/urandom", "of="+path, "bs=1000000", "count="+strconv.Itoa(size/1_000_000), "status=none").Run()
}
