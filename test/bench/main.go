// Command bench measures the figures of docs/benchmarks.md on real hosts and prints them as a table.
package main

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/pem"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/hashicorp/go-hclog"
	"golang.org/x/crypto/ssh"

	"mctl/internal/controller/driver"
	"mctl/internal/controller/driver/nspawn"
)

// runs is how often each time is taken; the median counts.
const runs = 5

func main() {
	if len(os.Args) > 2 && os.Args[1] == peakPart {
		os.Exit(peak(os.Args[2], os.Args[3:]))
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	b, err := newBench(ctx)
	if err == nil {
		err = b.measure(os.Args[1:])
		b.close()
	}
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// bench is a folder with everything that is measured.
type bench struct {
	ctx    context.Context //nolint:containedctx // one run of one program
	folder string
	mctl   string
}

func newBench(ctx context.Context) (*bench, error) {
	folder, err := os.MkdirTemp("", "mctl-bench-")
	if err != nil {
		return nil, err
	}
	mctl, err := filepath.Abs("bin/mctl")
	return &bench{ctx: ctx, folder: folder, mctl: mctl}, err
}

func (b *bench) close() { os.RemoveAll(b.folder) }

// measure takes all figures, or those of the parts that are named.
func (b *bench) measure(named []string) error {
	fmt.Println("| what | figure | spread | reach |\n|---|---|---|---|") //nolint:forbidigo // this is the report
	for _, part := range []struct {
		name string
		take func() error
	}{{"sizes", b.sizes}, {"adopt", b.adopt}, {"create", b.create}, {"list", b.list}, {"commands", b.commands}, {"silent", b.silent}, {"front", b.front}, {"events", b.events}, {"tunnels", b.tunnels}, {"import", b.imports}} {
		if len(named) > 0 && !slices.Contains(named, part.name) {
			continue
		}
		if err := part.take(); err != nil {
			return err
		}
	}
	return nil
}

// row prints one figure and returns it: the median of several, with the least and the most.
func row(what, unit, reach string, values ...float64) float64 {
	slices.Sort(values)
	spread := fmt.Sprintf("%.3g to %.3g, %d runs", values[0], values[len(values)-1], len(values))
	fmt.Printf("| %s | %.3g %s | %s | %s |\n", what, values[len(values)/2], unit, spread, reach) //nolint:forbidigo // this is the report
	return values[len(values)/2]
}

// median is the middle of several values.
func median(values []float64) float64 {
	sorted := slices.Sorted(slices.Values(values))
	return sorted[len(sorted)/2]
}

// rank prints a percentile of many figures, with the least and the most.
func rank(what, unit, reach string, share float64, values []float64) {
	slices.Sort(values)
	at := values[min(int(share*float64(len(values))), len(values)-1)]
	fmt.Printf("| %s | %.3g %s | %.3g to %.3g, %d values | %s |\n", what, at, unit, values[0], values[len(values)-1], len(values), reach) //nolint:forbidigo // this is the report
}

// state makes a state directory; the returned function stops its controller.
func (b *bench) state(name string) (string, func()) {
	path := filepath.Join(b.folder, name)
	return path, func() {
		output, _ := b.run(path, "ls", "-q")
		if names := strings.Fields(output); len(names) > 0 && len(names) < 50 {
			_, _ = b.run(path, append([]string{"rm", "-f"}, names...)...)
		}
		_, _ = b.run(path, "controller", "stop")
	}
}

// run runs mctl in a state directory and returns its standard output.
func (b *bench) run(state string, args ...string) (string, error) {
	command := exec.CommandContext(b.ctx, b.mctl, args...)
	command.Env = append(os.Environ(), "MCTL_HOME="+state)
	var stderr bytes.Buffer
	command.Stderr = &stderr
	output, err := command.Output()
	if err != nil {
		return string(output), fmt.Errorf("mctl %s: %w\n%s", strings.Join(args, " "), err, stderr.String())
	}
	return string(output), nil
}

// timed is how long one command takes, in seconds.
func (b *bench) timed(state string, args ...string) (float64, error) {
	start := time.Now()
	_, err := b.run(state, args...)
	return time.Since(start).Seconds(), err
}

// dockerEnv is what mctl env exports.
func (b *bench) dockerEnv(state, name string, flags ...string) ([]string, error) {
	output, err := b.run(state, append([]string{"env", "--shell", "bash", name}, flags...)...)
	environment := os.Environ()
	for line := range strings.Lines(output) {
		if assignment, ok := strings.CutPrefix(strings.TrimSpace(line), "export "); ok {
			environment = append(environment, strings.ReplaceAll(assignment, `"`, ""))
		}
	}
	return environment, err
}

func (b *bench) docker(environment []string, args ...string) error {
	command := exec.CommandContext(b.ctx, "docker", args...)
	command.Env = environment
	if output, err := command.CombinedOutput(); err != nil {
		return fmt.Errorf("docker %s: %w\n%s", strings.Join(args, " "), err, output)
	}
	return nil
}

// bareHost boots a host of a name, which mctl does not know, with the Docker of its distribution.
func (b *bench) bareHost(name string) (address, key string, remove func(), err error) {
	public, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return "", "", nil, err
	}
	block, err := ssh.MarshalPrivateKey(private, "")
	if err != nil {
		return "", "", nil, err
	}
	line, err := ssh.NewPublicKey(public)
	if err != nil {
		return "", "", nil, err
	}
	key = filepath.Join(b.folder, "id-"+name)
	if err := os.WriteFile(key, pem.EncodeToMemory(block), 0o600); err != nil {
		return "", "", nil, err
	}
	d := nspawn.New(nspawn.Config{StateDir: filepath.Join(b.folder, "bare"), ControllerID: "bench", Logger: hclog.NewNullLogger()})
	options, err := driver.Resolve("nspawn", d.Flags(), nil)
	if err != nil {
		return "", "", nil, err
	}
	m := driver.Machine{
		ControllerID: "bench", UID: name, Name: name, Options: options,
		PublicKeys: []string{string(ssh.MarshalAuthorizedKey(line))}, Progress: func(string) {},
	}
	remove = func() { _ = d.Delete(context.WithoutCancel(b.ctx), m) }
	instance, err := d.Create(b.ctx, m)
	if err != nil {
		remove()
		return "", "", nil, err
	}
	address = instance.Addresses[0]
	install := "apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends docker.io"
	command := exec.CommandContext(b.ctx, "ssh", "-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null", "-o", "LogLevel=error",
		"-o", "ConnectionAttempts=30", "-i", key, "root@"+address, install)
	if output, err := command.CombinedOutput(); err != nil {
		remove()
		return "", "", nil, fmt.Errorf("install docker: %w\n%s", err, output)
	}
	return address, key, remove, nil
}
