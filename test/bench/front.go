package main

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"
)

const (
	blob     = 500_000_000 // bytes of a copy
	requests = 4000
	clients  = 8
)

// front compares our front with dockerd's own TLS on one host, in turns.
func (b *bench) front() error {
	state, stop := b.state("front")
	defer stop()
	if _, err := b.run(state, "create", "--driver", "nspawn", "front"); err != nil {
		return err
	}
	if err := b.idle(state); err != nil {
		return err
	}
	environment, err := b.dockerEnv(state, "front")
	if err != nil {
		return err
	}
	busybox := exec.CommandContext(b.ctx, "sh", "-c", `path=$(command -v busybox) && tar -C / -c --transform 's|.*|bin/busybox|' "${path#/}" | docker import - busybox:latest`)
	busybox.Env = environment
	if output, err := busybox.CombinedOutput(); err != nil {
		return fmt.Errorf("import: %w\n%s", err, output)
	}
	// dockerd serves TLS on a second port itself, with the same certificates.
	dropIn := "mkdir -p /etc/systemd/system/docker.service.d && printf '[Service]\\nExecStart=\\nExecStart=/usr/sbin/dockerd -H fd:// --containerd=/run/containerd/containerd.sock -H tcp://0.0.0.0:2377 --tlsverify --tlscacert /etc/docker/ca.pem --tlscert /etc/docker/server.pem --tlskey /etc/docker/server-key.pem\\n' > /etc/systemd/system/docker.service.d/99-bench.conf && systemctl daemon-reload && systemctl restart docker"
	if _, err := b.run(state, "ssh", "front", dropIn); err != nil {
		return err
	}
	ip, err := b.run(state, "ip", "front")
	if err != nil {
		return err
	}
	own := append(environment[:len(environment):len(environment)], "DOCKER_HOST=tcp://"+strings.TrimSpace(ip)+":2377")
	source := filepath.Join(b.folder, "blob")
	if err := exec.CommandContext(b.ctx, "dd", "if=/dev/urandom", "of="+source, "bs=1000000", "count="+strconv.Itoa(blob/1_000_000), "status=none").Run(); err != nil {
		return err
	}
	if err := b.docker(environment, "create", "--name", "target", "busybox", "/bin/busybox", "true"); err != nil {
		return err
	}
	var throughput, cpu, rate []float64
	for range runs {
		ours, oursCPU, err := b.copied(state, environment, source)
		if err != nil {
			return err
		}
		theirs, theirsCPU, err := b.copied(state, own, source)
		if err != nil {
			return err
		}
		throughput = append(throughput, theirs/ours)
		cpu = append(cpu, theirsCPU/oursCPU)
		oursRate, err := b.pinged(state, strings.TrimSpace(ip)+":2376")
		if err != nil {
			return err
		}
		theirsRate, err := b.pinged(state, strings.TrimSpace(ip)+":2377")
		if err != nil {
			return err
		}
		rate = append(rate, oursRate/theirsRate)
	}
	row("front against dockerd's own TLS: docker cp of 500 MB", "×", "≥ 0.95", throughput...)
	row("front against dockerd's own TLS: CPU seconds per GB", "×", "≥ 0.95", cpu...)
	row("front against dockerd's own TLS: small requests per second", "×", "≥ 0.95", rate...)
	return nil
}

// idle is the memory of agent and front together, in MB of PSS.
func (b *bench) idle(state string) error {
	output, err := b.run(state, "ssh", "front", "for p in $(pgrep -x mctl-agent); do cat /proc/$p/smaps_rollup; done | awk '/^Pss:/ {s += $2} END {print s * 1024}'")
	if err != nil {
		return err
	}
	bytes, err := strconv.ParseFloat(strings.TrimSpace(output), 64)
	if err != nil {
		return err
	}
	row("agent and front, memory idle together (PSS)", "MB", "≤ 25 MB", bytes/1e6)
	return nil
}

// cpuSeconds is what the host's agent, front and dockerd have used.
func (b *bench) cpuSeconds(state string) (float64, error) {
	output, err := b.run(state, "ssh", "front", "cat $(printf '/proc/%s/stat ' $(pgrep -x mctl-agent) $(pgrep -x dockerd)) | awk '{s += $14 + $15} END {print s / 100}'")
	if err != nil {
		return 0, err
	}
	return strconv.ParseFloat(strings.TrimSpace(output), 64)
}

// copied is how long one copy takes and what CPU the host spends on it, both in seconds.
func (b *bench) copied(state string, environment []string, source string) (seconds, cpu float64, err error) {
	before, err := b.cpuSeconds(state)
	if err != nil {
		return 0, 0, err
	}
	start := time.Now()
	if err := b.docker(environment, "cp", "-q", source, "target:/blob"); err != nil {
		return 0, 0, err
	}
	seconds = time.Since(start).Seconds()
	after, err := b.cpuSeconds(state)
	return seconds, after - before, err
}

// pinged is how many small requests a second an engine answers over connections that stay.
func (b *bench) pinged(state, address string) (float64, error) {
	folder := filepath.Join(state, "machines", "front")
	pair, err := tls.LoadX509KeyPair(filepath.Join(folder, "cert.pem"), filepath.Join(folder, "key.pem"))
	if err != nil {
		return 0, err
	}
	ca, err := os.ReadFile(filepath.Join(folder, "ca.pem"))
	if err != nil {
		return 0, err
	}
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(ca)
	client := &http.Client{Timeout: 30 * time.Second, Transport: &http.Transport{
		TLSClientConfig:     &tls.Config{Certificates: []tls.Certificate{pair}, RootCAs: pool, MinVersion: tls.VersionTLS12},
		MaxIdleConnsPerHost: clients,
	}}
	defer client.CloseIdleConnections()
	var all sync.WaitGroup
	failed := make(chan error, clients)
	start := time.Now()
	for range clients {
		all.Go(func() {
			for range requests / clients {
				response, err := client.Get("https://" + address + "/_ping")
				if err != nil {
					failed <- err
					return
				}
				_, _ = io.Copy(io.Discard, response.Body)
				response.Body.Close()
			}
		})
	}
	all.Wait()
	select {
	case err := <-failed:
		return 0, err
	default:
		return requests / time.Since(start).Seconds(), nil
	}
}
