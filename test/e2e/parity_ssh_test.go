package e2e

import (
	"fmt"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

// ways are a command's through the agent, by OpenSSH's program, and without that.
func ways(name string) [][]string {
	return [][]string{{"ssh", name}, {"ssh", "--via", "direct", name}, {"--native-ssh", "ssh", name}}
}

// sshPassesOn is core/ssh-backends: arguments go to the host as they are, its exit code comes back.
func sshPassesOn(s subject) {
	for _, way := range ways(s.name) {
		ssh := func(args ...string) result { return s.try(append(way, args...)...) }
		for _, asked := range []struct {
			args []string
			out  string
			code int
		}{
			{[]string{"echo", "foo"}, "foo\n", 0},
			{[]string{"--", "echo", "foo"}, "foo\n", 0},
			{[]string{"whoami"}, s.user + "\n", 0},
			{[]string{"exit", "7"}, "", 7},
			{[]string{`printf '%s|' "$(echo in)" 'a  b' \$x`}, "in|a  b|$x|", 0},
			{[]string{"kill -9 $$"}, "", 255},
		} {
			r := ssh(asked.args...)
			if asked.code == 255 && r.code == 128+9 { // the agent and the library have the signal, the program does not tell
				r.code = 255
			}
			if r.code != asked.code || r.stdout != asked.out || r.stderr != "" && asked.code == 0 {
				s.t.Errorf("%v %v: want %q, exit %d: %s", way, asked.args, asked.out, asked.code, r)
			}
		}
		if df := ssh("--", "df", "-h"); df.code != 0 || !strings.HasPrefix(df.stdout, "Filesystem") || df.stderr != "" {
			s.t.Errorf("%v: df: %s", way, df)
		}
		r := s.execEnv([]string{"MACHINE_STORAGE_PATH=" + s.state}, []byte("from here\n"), s.link, append(way, "cat; echo to the other >&2")...)
		if r.code != 0 || r.stdout != "from here\n" || r.stderr != "to the other\n" {
			s.t.Errorf("%v: what was fed: %s", way, r)
		}
	}
	// Arguments for ssh itself stand between the name and the command.
	for _, args := range [][]string{{"-C", "echo", "foo"}, {"-o", "LogLevel=ERROR", "-T", "--", "echo", "foo"}, {"-l", s.user, "echo", "foo"}} {
		if out := s.ok(append([]string{"ssh", s.name}, args...)...); out != "foo\n" {
			s.t.Errorf("ssh %v: %q", args, out)
		}
	}
	s.forwards()
}

// forwards has ssh forward a port, which no command runs beside.
func (s subject) forwards() {
	s.t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		s.t.Fatal(err)
	}
	address := listener.Addr().String()
	listener.Close()
	session := exec.Command(s.link, "ssh", s.name, "-N", "-L", address+":127.0.0.1:2376")
	session.Env = s.environment("MACHINE_STORAGE_PATH=" + s.state)
	if err := session.Start(); err != nil {
		s.t.Fatal(err)
	}
	defer func() {
		_ = session.Process.Signal(os.Interrupt)
		_ = session.Wait()
	}()
	eventually(s.t, 20*time.Second, "the port is forwarded", func() bool {
		conn, err := net.DialTimeout("tcp", address, time.Second)
		if err == nil {
			conn.Close()
		}
		return err == nil
	})
}

// hostile is a file's name that means more than itself to whoever lets it.
const hostile = "a  b 'c' \"d\" $(touch pwned) `touch pwned`; touch pwned #*\\"

// nothingRan looks where hostile would have left something.
func (s subject) nothingRan() {
	s.t.Helper()
	if found := s.on("ls /pwned ~/pwned /tmp/pwned 2>/dev/null || true"); found != "" {
		s.t.Errorf("%s: something was run: %s", s.name, found)
	}
	if _, err := os.Lstat("pwned"); err == nil {
		s.t.Error("something was run here")
	}
}

func (s subject) file(path, text string) string {
	s.t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		s.t.Fatal(err)
	}
	return path
}

func (s subject) has(path, want string) {
	s.t.Helper()
	if text, err := os.ReadFile(path); err != nil || string(text) != want {
		s.t.Errorf("%s has %q, %v; want %q", path, text, err, want)
	}
}

// copiesArrive is the first half of core/scp: between here and a host, by scp and by rsync.
func copiesArrive(s subject) {
	s.on("mkdir -p /tmp/copies && command -v rsync >/dev/null || sudo DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends rsync >/dev/null 2>&1; command -v rsync")
	folder := s.t.TempDir()
	s.on("echo from the host >/tmp/copies/there")
	s.ok("scp", s.name+":/tmp/copies/there", filepath.Join(folder, "here"))
	s.has(filepath.Join(folder, "here"), "from the host\n")
	s.ok("scp", "-q", s.file(filepath.Join(folder, "mine"), "from here\n"), s.name+":/tmp/copies/mine")
	if got := s.on("cat /tmp/copies/mine"); got != "from here" {
		s.t.Errorf("the host has %q", got)
	}
	if err := os.MkdirAll(filepath.Join(folder, "tree", "deep"), 0o755); err != nil {
		s.t.Fatal(err)
	}
	s.file(filepath.Join(folder, "tree", "deep", hostile), "deep down\n")
	for i, how := range [][]string{{"scp", "-r"}, {"scp", "-r", "-d", "-q"}, {"scp", "--recursive", "--delta"}} {
		there := fmt.Sprintf("%s:/tmp/copies/%d", s.name, i)
		s.ok(append(how, filepath.Join(folder, "tree"), there)...)
		back := filepath.Join(folder, fmt.Sprint("back", i))
		s.ok(append(how, there, back)...)
		var found []string
		_ = filepath.WalkDir(back, func(path string, entry fs.DirEntry, _ error) error {
			if entry != nil && !entry.IsDir() {
				found = append(found, path)
			}
			return nil
		})
		if len(found) != 1 || filepath.Base(found[0]) != hostile {
			s.t.Fatalf("%v brought %q", how, found)
		}
		s.has(found[0], "deep down\n")
	}
	// The path itself is literal on the host, too.
	literal := strings.NewReplacer("*", "", "\\", "").Replace(hostile)
	for i, how := range [][]string{{"scp"}, {"scp", "-d", "-q"}} {
		there := fmt.Sprintf("%s@%s:/tmp/copies/%d %s", s.user, s.name, i, literal)
		s.ok(append(how, filepath.Join(folder, "mine"), there)...)
		back := filepath.Join(folder, fmt.Sprint("again", i))
		s.ok(append(how, there, back)...)
		s.has(back, "from here\n")
	}
	s.nothingRan()
	// The code is the program's.
	if r := s.try("scp", s.name+":/nosuch", folder); r.code != 1 || !strings.Contains(r.stderr, "No such file") {
		s.t.Errorf("what is not there: %s", r)
	}
	if r := s.try("scp", filepath.Join(folder, "mine"), s.name+":/proc/nosuch/x"); r.code != 1 || r.stderr == "" {
		s.t.Errorf("where nothing can be written: %s", r)
	}
	s.no(`Error loading host: Error loading host: Docker machine "nosuch" does not exist. Use "docker-machine ls" to list machines. Use "docker-machine create" to add a new one.`, "scp", folder, "nosuch:/tmp")
}

// copiesBetween is the second half of core/scp. Each host has a port, a user and a key of its own, which the other knows
// nothing of.
func copiesBetween(near, far subject) {
	keys := map[string]bool{}
	for _, s := range []subject{near, far} {
		key, err := os.ReadFile(filepath.Join(s.state, "machines", s.name, "id_rsa"))
		if err != nil {
			s.t.Fatal(err)
		}
		keys[string(key)+s.ok("inspect", "-f", "{{.Driver.SSHPort}}", s.name)] = true
	}
	if ports := near.ok("inspect", "-f", "{{.Driver.SSHPort}}", "near") + far.ok("inspect", "-f", "{{.Driver.SSHPort}}", "far"); len(keys) != 2 || ports != "22\n"+farPort+"\n" {
		near.t.Fatalf("%d keys, ports %q", len(keys), ports)
	}
	for _, way := range [][2]subject{{near, far}, {far, near}} {
		from, to := way[0], way[1]
		from.on("mkdir -p /tmp/between/tree && echo of " + from.name + " | tee /tmp/between/plain >/tmp/between/tree/'a b'")
		from.ok("scp", from.name+":/tmp/between/plain", to.name+":/tmp/from-"+from.name)
		from.ok("scp", "-r", "-q", from.name+":/tmp/between/tree", to.user+"@"+to.name+":/tmp/tree of "+from.name)
		if got := to.on("cat /tmp/from-" + from.name + " '/tmp/tree of " + from.name + "/a b'"); got != "of "+from.name+"\nof "+from.name {
			to.t.Errorf("from %s came %q", from.name, got)
		}
		literal := strings.NewReplacer("*", "", "\\", "").Replace(hostile)
		from.ok("scp", from.name+":/tmp/between/plain", to.name+":/tmp/"+literal)
		from.ok("scp", to.name+":/tmp/"+literal, from.name+":/tmp/home "+literal)
		back := filepath.Join(from.t.TempDir(), "back")
		from.ok("scp", from.name+":/tmp/home "+literal, back)
		from.has(back, "of "+from.name+"\n")
		from.nothingRan()
		to.nothingRan()
	}
	if r := near.try("scp", "-d", "near:/tmp/between", "far:/tmp/x"); r.code != 2 || !strings.HasPrefix(r.stderr, "--delta can't copy from machine to machine\n") {
		near.t.Errorf("rsync between machines: %s", r)
	}
}

// canMount reports whether sshfs works on this computer; test/run.sh says where it does not.
func canMount() bool {
	_, err := exec.LookPath("sshfs")
	info, statErr := os.Stat("/dev/fuse")
	return err == nil && statErr == nil && info.Mode()&os.ModeCharDevice != 0
}

// mountWorks has a host's directory appear here, through the machine's port and key, and go again.
func mountWorks(s subject) {
	if !canMount() {
		s.t.Skip("not checked: sshfs is not installed, or there is no /dev/fuse")
	}
	s.on("mkdir -p '/tmp/share of $(id)' && echo there >'/tmp/share of $(id)/file'")
	at := filepath.Join(s.t.TempDir(), "mount point")
	if err := os.Mkdir(at, 0o700); err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { _ = exec.Command("fusermount", "-u", "-z", "-q", at).Run() })
	s.ok("mount", s.name+":/tmp/share of $(id)", at)
	s.has(filepath.Join(at, "file"), "there\n")
	s.file(filepath.Join(at, "mine"), "here\n")
	if got := s.on("cat '/tmp/share of $(id)/mine'"); got != "here" {
		s.t.Errorf("the host has %q", got)
	}
	s.ok("mount", "-u", s.name+":/tmp/share of $(id)", at)
	if left, err := os.ReadDir(at); err != nil || len(left) > 0 {
		s.t.Errorf("after -u there is %v, %v", left, err)
	}
	if r := s.try("mount", "-u", "/tmp/x", at); r.code == 0 || r.stderr == "" {
		s.t.Errorf("-u of what is not mounted: %s", r)
	}
	if r := s.try("mount", "nobody@"+s.name+":/tmp", at); r.code != 1 || !strings.Contains(r.stderr, "sshfs can't mount ") || !strings.Contains(r.stderr, "\nHint: `docker-machine ssh far true`") {
		s.t.Errorf("of a user who may not log in: %s", r)
	}
}

// anotherKeyIsRefused has the host show other keys than those that were pinned: nobody talks to it.
func anotherKeyIsRefused(s subject, h *bareHost) {
	h.run("mkdir /etc/ssh/kept && mv /etc/ssh/ssh_host_* /etc/ssh/kept/ && ssh-keygen -q -A && systemctl restart ssh")
	folder := s.t.TempDir()
	asks := [][]string{{"ssh", "--via", "direct", s.name, "touch /tmp/came"}, {"--native-ssh", "ssh", s.name, "touch /tmp/came"}, {"scp", s.name + ":/etc/hostname", folder}, {"scp", "-d", s.name + ":/etc/hostname", folder}}
	if canMount() {
		asks = append(asks, []string{"mount", s.name + ":/tmp", folder})
	}
	for _, args := range asks {
		if r := s.try(args...); r.code == 0 || r.stderr == "" || r.stdout != "" {
			s.t.Errorf("a host with another key is trusted: %s", r)
		}
	}
	if left, err := os.ReadDir(folder); err != nil || len(left) > 0 {
		s.t.Errorf("from it came %v, %v", left, err)
	}
	h.run("rm /etc/ssh/ssh_host_* && mv /etc/ssh/kept/* /etc/ssh/ && rmdir /etc/ssh/kept && systemctl restart ssh")
	if came := s.on("ls /tmp/came 2>/dev/null || true"); came != "" {
		s.t.Error("a command was run all the same")
	}
}
