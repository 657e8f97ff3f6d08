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

const secondPorts = `
mkdir -p /etc/systemd/system/docker.service.d
printf '[Service]\nExecStart=\nExecStart=/usr/sbin/dockerd -H fd:// --containerd=/run/containerd/containerd.sock -H tcp://0.0.0.0:2377 --tlsverify --tlscacert /etc/docker/ca.pem --tlscert /etc/docker/server.pem --tlskey /etc/docker/server-key.pem\n' >/etc/systemd/system/docker.service.d/99-bench.conf
printf '[Socket]\nListenStream=2378\n' >/etc/systemd/system/bench.socket
printf '[Service]\nExecStart=/lib/systemd/systemd-socket-proxyd 127.0.0.1:2377\n' >/etc/systemd/system/bench.service
systemctl daemon-reload
systemctl restart docker
systemctl start bench.socket`

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
	if err := b.importBusybox(environment); err != nil {
		return err
	}
	// dockerd serves TLS on a second port itself, with the same certificates. On a third, systemd's proxy passes bytes to it:
	// the least that a process in between costs.
	if _, err := b.run(state, "ssh", "front", secondPorts); err != nil {
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
	limit := append(environment[:len(environment):len(environment)], "DOCKER_HOST=tcp://"+strings.TrimSpace(ip)+":2378")
	ours, least := &ratios{}, &ratios{}
	for range runs {
		dockerd, err := b.through(state, own, source, strings.TrimSpace(ip)+":2377")
		if err != nil {
			return err
		}
		front, err := b.through(state, environment, source, strings.TrimSpace(ip)+":2376")
		if err != nil {
			return err
		}
		proxy, err := b.through(state, limit, source, strings.TrimSpace(ip)+":2378")
		if err != nil {
			return err
		}
		ours.add(front, dockerd)
		least.add(proxy, dockerd)
	}
	ours.rows("front", "≥ 0.95")
	least.rows("the limit, a proxy in between that does no TLS,", "")
	return nil
}

// way is what one way to dockerd costs: seconds and CPU seconds of a copy, small requests per second.
type way struct{ seconds, cpu, rate float64 }

func (b *bench) through(state string, environment []string, source, address string) (w way, err error) {
	if w.seconds, w.cpu, err = b.copied(state, environment, source); err != nil {
		return w, err
	}
	w.rate, err = b.pinged(state, address)
	return w, err
}

// ratios compare a way with dockerd's own TLS; more is better.
type ratios struct{ throughput, cpu, rate []float64 }

func (r *ratios) add(w, dockerd way) {
	r.throughput = append(r.throughput, dockerd.seconds/w.seconds)
	r.cpu = append(r.cpu, dockerd.cpu/w.cpu)
	r.rate = append(r.rate, w.rate/dockerd.rate)
}

func (r *ratios) rows(what, reach string) {
	row(what+" ÷ dockerd's own TLS: docker cp of 500 MB", "×", reach, r.throughput...)
	row(what+" ÷ dockerd's own TLS: CPU seconds per GB", "×", reach, r.cpu...)
	row(what+" ÷ dockerd's own TLS: small requests per second", "×", reach, r.rate...)
}

// importBusybox makes an image of the busybox that is installed here, since no registry is asked.
func (b *bench) importBusybox(environment []string) error {
	busybox := exec.CommandContext(b.ctx, "sh", "-c", `path=$(command -v busybox) && tar -C / -c --transform 's|.*|bin/busybox|' "${path#/}" | docker import - busybox:latest`)
	busybox.Env = environment
	if output, err := busybox.CombinedOutput(); err != nil {
		return fmt.Errorf("import: %w\n%s", err, output)
	}
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

// cpuSeconds is what the host's agent, front, dockerd and the proxy of the limit have used.
func (b *bench) cpuSeconds(state string) (float64, error) {
	output, err := b.run(state, "ssh", "front", "cat $(printf '/proc/%s/stat ' $(pgrep -x mctl-agent) $(pgrep -x dockerd) $(pgrep -x systemd-socket-)) | awk '{s += $14 + $15} END {print s / 100}'")
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
