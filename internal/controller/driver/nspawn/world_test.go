//go:build linux

package nspawn

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	"golang.org/x/crypto/ssh"
	"golang.org/x/sys/unix"

	"mctl/internal/controller/driver"
)

// world is a controller's part of this computer.
type world struct {
	*testing.T
	config Config
	signer ssh.Signer
	ids    map[string]bool // of every host that was ever seen
}

// newWorld skips where there can be no hosts. At its end nothing may be left.
func newWorld(t *testing.T, controllerID string) *world {
	t.Helper()
	return newWorldIn(t, controllerID, t.TempDir())
}

func newWorldIn(t *testing.T, controllerID, dir string) *world {
	t.Helper()
	if testing.Short() {
		t.Skip("real hosts take seconds")
	}
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	signer, err := ssh.NewSignerFromKey(key)
	if err != nil {
		t.Fatal(err)
	}
	w := &world{T: t, signer: signer, ids: map[string]bool{}, config: Config{
		// Others may run the same test on this computer at the same time.
		StateDir: dir, ControllerID: controllerID + "-" + rand.Text(), Logger: hclog.New(&hclog.LoggerOptions{Output: t.Output(), Level: hclog.Debug}),
	}}
	if err := w.driver().equipped(settings{}); err != nil {
		t.Skipf("no real hosts here: %v", err)
	}
	t.Cleanup(func() {
		if left, err := w.list(context.WithoutCancel(t.Context())); err != nil || len(left) > 0 {
			t.Errorf("left behind: %v %v", left, err)
		}
	})
	return w
}

func (w *world) driver() *Driver { return New(w.config) }

// machine is one to make, and to delete when the test ends.
func (w *world) machine(name string, options map[string]string) driver.Machine {
	w.Helper()
	given := driver.Options{}
	for flag, value := range options {
		given[flag] = driver.Option{Values: []string{value}}
	}
	resolved, err := driver.Resolve("nspawn", w.driver().Flags(), given)
	if err != nil {
		w.Fatal(err)
	}
	m := driver.Machine{
		ControllerID: w.config.ControllerID, UID: "uid-" + name, Name: name, Options: resolved,
		PublicKeys: []string{string(ssh.MarshalAuthorizedKey(w.signer.PublicKey()))},
		Progress:   func(line string) { w.Log(line) },
	}
	w.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(w.Context()), time.Minute)
		defer cancel()
		if err := w.driver().Delete(ctx, m); err != nil {
			w.Errorf("Delete: %v", err)
		}
	})
	return m
}

func (w *world) create(m driver.Machine) driver.Instance {
	w.Helper()
	instance, err := w.driver().Create(w.Context(), m)
	if err != nil {
		w.Fatalf("Create: %v", err)
	}
	return instance
}

// list names whatever there is of the world on this computer: directories, processes, mounts, links, rules, cgroups.
func (w *world) list(ctx context.Context) ([]string, error) {
	var found []string
	hosts, err := filepath.Glob(filepath.Join(escapeGlob(w.config.StateDir), "hosts", "*"))
	if err != nil {
		return nil, err
	}
	for _, dir := range hosts {
		found = append(found, "host "+dir)
		w.ids[hostID(w.config.ControllerID, filepath.Base(dir))] = true
	}
	commands := map[string][]string{
		"process": {"ps", "-ww", "-eo", "pid,args"}, "mount": {"cat", "/proc/self/mountinfo"}, "link": {"ip", "-o", "link"},
		"rule": {"iptables-save"}, "cgroup": {"find", "/sys/fs/cgroup", "-maxdepth", "4", "-type", "d"},
		"directory": {"find", "/run/systemd/nspawn", "-maxdepth", "2"},
	}
	if systemdIsProcess1() {
		commands["unit"] = []string{"systemctl", "list-units", "--all", "--no-legend", "--plain"}
	}
	marks := []string{w.driver().network.Bridge(), w.config.StateDir}
	for id := range w.ids {
		marks = append(marks, id)
	}
	for what, command := range commands {
		output, err := exec.CommandContext(ctx, command[0], command[1:]...).Output()
		if exit := (*exec.ExitError)(nil); err != nil && !errors.As(err, &exit) { // find complains of what vanishes
			return nil, err
		}
		for line := range strings.Lines(string(output)) {
			for _, mark := range marks {
				if strings.Contains(line, mark) && !strings.Contains(line, "-test.") {
					found = append(found, what+" "+strings.TrimSpace(line))
					break
				}
			}
		}
	}
	return found, nil
}

// systemdIsProcess1 tells which of the two ways hosts are kept in here.
func systemdIsProcess1() bool {
	_, err := os.Stat("/run/systemd/system")
	return err == nil
}

func escapeGlob(path string) string {
	return strings.NewReplacer(`\`, `\\`, `[`, `\[`, `*`, `\*`, `?`, `\?`).Replace(path)
}

// until waits for what has no event.
func (w *world) until(what string, met func() bool) {
	w.Helper()
	ctx, cancel := context.WithTimeout(w.Context(), 10*time.Second)
	defer cancel()
	ticker := time.NewTicker(20 * time.Millisecond)
	defer ticker.Stop()
	for !met() {
		select {
		case <-ticker.C:
		case <-ctx.Done():
			w.Fatalf("never: %s", what)
		}
	}
}

// inside lists the processes of a host.
func (w *world) inside(m driver.Machine) []int {
	w.Helper()
	entries, err := os.ReadDir("/proc")
	if err != nil {
		w.Fatal(err)
	}
	var found []int
	for _, entry := range entries {
		pid, err := strconv.Atoi(entry.Name())
		if err != nil {
			continue
		}
		status, _ := os.ReadFile(filepath.Join("/proc", entry.Name(), "status"))
		if bytes.Contains(status, []byte("State:\tZ")) {
			continue // ended; its parent has not taken note yet
		}
		groups, _ := os.ReadFile(filepath.Join("/proc", entry.Name(), "cgroup"))
		if bytes.Contains(groups, []byte("/"+hostID(m.ControllerID, m.UID))) {
			found = append(found, pid)
		}
	}
	return found
}

// kill kills processes and returns when they are gone.
func (w *world) kill(pids ...int) {
	w.Helper()
	for _, pid := range pids {
		fd, err := unix.PidfdOpen(pid, 0)
		if errors.Is(err, unix.ESRCH) {
			continue
		}
		if err == nil {
			err = unix.PidfdSendSignal(fd, unix.SIGKILL, nil, 0)
		}
		if err != nil && !errors.Is(err, unix.ESRCH) {
			w.Fatal(err)
		}
		if n, err := unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, 10_000); n != 1 {
			w.Fatalf("%d lives on: %v", pid, err)
		}
		_ = unix.Close(fd)
	}
}

// login logs in as soon as sshd answers, and trusts only the host keys that the driver told.
func (w *world) login(instance driver.Instance) *ssh.Client {
	w.Helper()
	var known []ssh.PublicKey
	for _, line := range instance.SSH.HostKeys {
		key, _, _, _, err := ssh.ParseAuthorizedKey([]byte(line))
		if err != nil {
			w.Fatal(err)
		}
		known = append(known, key)
	}
	config := &ssh.ClientConfig{
		User: instance.SSH.User, Auth: []ssh.AuthMethod{ssh.PublicKeys(w.signer)}, Timeout: time.Second,
		HostKeyCallback: func(_ string, _ net.Addr, key ssh.PublicKey) error {
			for _, k := range known {
				if bytes.Equal(k.Marshal(), key.Marshal()) {
					return nil
				}
			}
			return fmt.Errorf("unknown host key %s", ssh.FingerprintSHA256(key))
		},
	}
	address := net.JoinHostPort(instance.SSH.Address, strconv.Itoa(int(instance.SSH.Port)))
	ctx, cancel := context.WithTimeout(w.Context(), 30*time.Second)
	defer cancel()
	ticker := time.NewTicker(50 * time.Millisecond)
	defer ticker.Stop()
	for {
		client, err := ssh.Dial("tcp", address, config)
		if err == nil {
			w.Cleanup(func() { _ = client.Close() })
			return client
		}
		select {
		case <-ticker.C:
		case <-ctx.Done():
			w.Fatalf("log in to %s: %v", address, err)
		}
	}
}

// run runs a command on a host.
func (w *world) run(client *ssh.Client, command string) (string, error) {
	w.Helper()
	session, err := client.NewSession()
	if err != nil {
		return "", err
	}
	defer func() { _ = session.Close() }()
	output, err := session.CombinedOutput(command)
	return strings.TrimSpace(string(output)), err
}

func (w *world) must(client *ssh.Client, command string) string {
	w.Helper()
	output, err := w.run(client, command)
	if err != nil {
		w.Fatalf("%s: %v\n%s", command, err, output)
	}
	return output
}
