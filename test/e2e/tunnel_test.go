package e2e

import (
	"bufio"
	"encoding/json"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// closeHost has a host take no connection from elsewhere any more, and its agent begin anew like that.
func (l *lab) closeHost(name string) {
	l.t.Helper()
	before := l.agentSince(name)
	l.throughAgent(name, "iptables -I INPUT ! -i lo -p tcp --syn -j DROP")
	l.run("ssh", "--via", "agent", name, "systemctl restart --no-block mctl-agent") // which may end before it has said so
	eventually(l.t, time.Minute, "a new session", func() bool { since := l.agentSince(name); return since != "" && since != before })
}

// agentSince is since when a machine's agent is connected; empty while it is not.
func (l *lab) agentSince(name string) string {
	l.t.Helper()
	var m struct {
		Status struct {
			Link struct {
				Connected bool   `json:"connected"`
				Time      string `json:"time"`
			} `json:"link"`
		} `json:"status"`
	}
	if err := json.Unmarshal([]byte(l.must("--output", "json", "status", name)), &m); err != nil {
		l.t.Fatal(err)
	}
	if !m.Status.Link.Connected {
		return ""
	}
	return m.Status.Link.Time
}

// throughAgent runs a command on a host through its agent.
func (l *lab) throughAgent(name, command string) string {
	l.t.Helper()
	r := l.run("ssh", "--via", "agent", name, command)
	if r.code != 0 {
		l.t.Fatalf("want success: %s", r)
	}
	return strings.TrimSpace(r.stdout)
}

func TestAHostWithoutAnOpenPort(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	l.must("create", "--driver", "nspawn", "web")
	l.closeHost("web")
	if r := l.run("ssh", "--via", "direct", "-o", "ConnectTimeout=1", "-o", "ConnectionAttempts=1", "web", "true"); r.code == 0 {
		t.Fatal("the host is not closed")
	}
	l.via = "agent"
	t.Run("ssh", func(t *testing.T) {
		l := l.within(t)
		r := l.exec([]byte("some input"), filepath.Join(l.bin, "mctl"), "ssh", "web", "tr a-z A-Z; echo no good >&2; exit 7")
		if r.code != 7 || r.stdout != "SOME INPUT" || r.stderr != "no good\n" {
			t.Error(r)
		}
		if r := l.run("ssh", "--via", "agent", "web", "kill -TERM $$"); r.code != 128+int(syscall.SIGTERM) {
			t.Error(r)
		}
		terminal := l.exec([]byte("stty size; tty; exit 5\n"), "script", "-qec", filepath.Join(l.bin, "mctl")+" ssh --via agent web", "/dev/null")
		if terminal.code != 5 || !strings.Contains(terminal.stdout, "/dev/pts/") {
			t.Error(terminal)
		}
	})
	t.Run("scp", func(t *testing.T) { l.within(t).provesCopies() })
	t.Run("forward", func(t *testing.T) { l.within(t).provesForwards() })
	t.Run("logs", func(t *testing.T) {
		l := l.within(t)
		if lines := l.must("logs", "--unit", "docker", "-n", "3", "web"); strings.Count(lines, "\n") != 3 || !strings.Contains(lines, "dockerd[") {
			t.Errorf("got %q", lines)
		}
		if lines := l.must("logs", "--unit", "front", "--since", "10m", "web"); !strings.Contains(lines, "mctl-front") || strings.Contains(lines, "dockerd[") {
			t.Errorf("got %q", lines)
		}
	})
	t.Run("one process serves Docker, whatever asks for it", func(t *testing.T) { l.within(t).provesOneSocket() })
	t.Run("docker", func(t *testing.T) { l.within(t).provesDocker(t) })
	t.Run("nothing is left", func(t *testing.T) { l.within(t).provesEnds() })
}

func (l *lab) provesOneSocket() {
	var asking sync.WaitGroup
	for range 5 {
		asking.Go(func() {
			if r := l.run("env", "--via", "auto", "--shell", "bash", "web"); r.code != 0 || !strings.Contains(r.stdout, `DOCKER_HOST="unix://`) {
				l.t.Error(r)
			}
		})
	}
	asking.Wait()
	flag := strings.TrimSpace(l.must("config", "--via", "agent", "web"))
	config, mctl := []string{"DOCKER_CONFIG=" + l.t.TempDir()}, filepath.Join(l.bin, "mctl")
	for _, args := range [][]string{
		{mctl, "docker-context", "add", "--via", "agent", "web"}, {mctl, "docker-context", "sync"},
		{"docker", "--context", "web", "version"}, {"docker", flag, "version"},
	} {
		if r := l.execEnv(config, nil, args[0], args[1:]...); r.code != 0 {
			l.t.Error(r)
		}
	}
	processes, err := exec.Command("pgrep", "-fc", "^"+filepath.Join(l.bin, "mctl")+" --storage-path "+l.state+" .* forward --docker").Output()
	if err != nil || string(processes) != "1\n" {
		l.t.Errorf("%s processes, %v", processes, err)
	}
}

func (l *lab) provesCopies() {
	tree := filepath.Join(l.t.TempDir(), "tree")
	if err := os.MkdirAll(filepath.Join(tree, "closed"), 0o755); err != nil {
		l.t.Fatal(err)
	}
	random(l.t, filepath.Join(tree, "blob"), 20_000_000)
	if err := os.WriteFile(filepath.Join(tree, "closed", "run"), []byte("#!/bin/sh\n"), 0o750); err != nil {
		l.t.Fatal(err)
	}
	if err := os.Chmod(filepath.Join(tree, "closed"), 0o511); err != nil {
		l.t.Fatal(err)
	}
	back := filepath.Join(l.t.TempDir(), "back")
	l.must("scp", "-r", tree, "web:")
	l.must("scp", "-r", "--via", "agent", "web:tree", "web:/srv/again") // from host to host
	l.must("scp", "-r", "--via", "agent", "web:/srv/again", back)
	for name, want := range map[string]os.FileMode{"closed": 0o511 | os.ModeDir, "closed/run": 0o750, "blob": 0o644} {
		info, err := os.Stat(filepath.Join(back, name))
		if err != nil || info.Mode() != want {
			l.t.Errorf("%s: %v, %v", name, info, err)
		}
	}
	if digest(l.t, filepath.Join(tree, "blob")) != digest(l.t, filepath.Join(back, "blob")) {
		l.t.Error("what came back is something else")
	}
	for _, args := range [][]string{{"web:/no/such", back}, {filepath.Join(tree, "blob"), "web:/no/such/place"}, {"web:/srv/again", back}} {
		if r := l.run(append([]string{"scp", "--via", "agent"}, args...)...); r.code != 1 || !strings.HasPrefix(r.stderr, "web: /") || strings.Contains(r.stderr, "goroutine") {
			l.t.Error(r)
		}
	}
}

func (l *lab) provesForwards() {
	forward := exec.Command(filepath.Join(l.bin, "mctl"), "forward", "web", "0:22", "0:81")
	forward.Env = l.environment()
	said, err := forward.StdoutPipe()
	if err != nil {
		l.t.Fatal(err)
	}
	complaints, err := forward.StderrPipe()
	if err != nil {
		l.t.Fatal(err)
	}
	if err := forward.Start(); err != nil {
		l.t.Fatal(err)
	}
	lines := bufio.NewReader(said)
	var addresses []string
	for range 2 {
		line, err := lines.ReadString('\n')
		if err != nil {
			l.t.Fatal(err)
		}
		addresses = append(addresses, strings.Fields(line)[1])
	}
	served, err := net.Dial("tcp", addresses[0])
	if err != nil {
		l.t.Fatal(err)
	}
	if banner, err := bufio.NewReader(served).ReadString('\n'); err != nil || !strings.HasPrefix(banner, "SSH-2.0") {
		l.t.Errorf("sshd says %q, %v", banner, err)
	}
	served.Close()
	unserved, err := net.Dial("tcp", addresses[1])
	if err != nil {
		l.t.Fatal(err)
	}
	if n, err := unserved.Read(make([]byte, 1)); err == nil {
		l.t.Errorf("%d bytes from nobody", n)
	}
	unserved.Close()
	sentence, err := bufio.NewReader(complaints).ReadString('\n')
	if err != nil || sentence != "web: nobody listens on port 81 of the host\n" {
		l.t.Errorf("told %q, %v", sentence, err)
	}
	if err := forward.Process.Signal(os.Interrupt); err != nil {
		l.t.Fatal(err)
	}
	_ = forward.Wait()
	if status, ok := forward.ProcessState.Sys().(syscall.WaitStatus); !ok || status.Signal() != syscall.SIGINT {
		l.t.Errorf("it ended with %s", forward.ProcessState)
	}
}

// begin starts work on the host that ends with none of its own, and waits until it runs.
func (l *lab) begin(mark string) (*exec.Cmd, io.Reader) {
	l.t.Helper()
	command := exec.Command(filepath.Join(l.bin, "mctl"), "ssh", "--via", "agent", "web", "echo runs; sleep "+mark+" | sleep "+mark)
	command.Env = l.environment()
	stdout, err := command.StdoutPipe()
	if err != nil {
		l.t.Fatal(err)
	}
	complaints, err := command.StderrPipe()
	if err != nil {
		l.t.Fatal(err)
	}
	if err := command.Start(); err != nil {
		l.t.Fatal(err)
	}
	if line, err := bufio.NewReader(stdout).ReadString('\n'); err != nil || line != "runs\n" {
		l.t.Fatalf("said %q, %v", line, err)
	}
	return command, complaints
}

func (l *lab) provesEnds() {
	gone := func(mark string) {
		l.t.Helper()
		eventually(l.t, 20*time.Second, "nothing of "+mark, func() bool {
			return l.run("ssh", "--via", "agent", "web", "pgrep -f '^sleep "+mark+"'").code == 1
		})
	}
	killed, _ := l.begin("31001")
	_ = killed.Process.Kill()
	_ = killed.Wait()
	gone("31001")

	survivor, complaints := l.begin("31004")
	l.mustSignal(syscall.SIGKILL, agentLine)
	told, _ := io.ReadAll(complaints)
	if _ = survivor.Wait(); survivor.ProcessState.ExitCode() != 1 || strings.Count(string(told), "\n") != 2 {
		l.t.Errorf("exit %d, told %q", survivor.ProcessState.ExitCode(), told)
	}
	eventually(l.t, time.Minute, "a new agent", func() bool { return l.run("ssh", "--via", "agent", "web", "true").code == 0 })
	gone("31004")

	socket := l.dockerEnv("web")
	orphan, complaints := l.begin("31002")
	l.killController()
	told, _ = io.ReadAll(complaints)
	if _ = orphan.Wait(); orphan.ProcessState.ExitCode() != 1 || strings.Count(string(told), "\n") != 2 {
		l.t.Errorf("exit %d, told %q", orphan.ProcessState.ExitCode(), told)
	}
	// The socket outlives the controller, starts another and waits for the host to come back.
	if r := l.execEnv(socket, nil, "docker", "version", "--format", "{{.Server.Os}}"); r.code != 0 || r.stdout != "linux\n" {
		l.t.Error(r)
	}
	gone("31002")

	last, complaints := l.begin("31003")
	l.must("rm", "-y", "web")
	told, _ = io.ReadAll(complaints)
	if _ = last.Wait(); last.ProcessState.ExitCode() != 1 || strings.Count(string(told), "\n") != 2 {
		l.t.Errorf("exit %d, told %q", last.ProcessState.ExitCode(), told)
	}
	path := strings.TrimPrefix(socket[0], "DOCKER_HOST=unix://")
	eventually(l.t, 10*time.Second, "no socket", func() bool { _, err := os.Lstat(path); return os.IsNotExist(err) })
}
