package shell_test

import (
	"errors"
	"io"
	"net"
	"os"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	gossh "golang.org/x/crypto/ssh"
	"golang.org/x/sys/unix"

	"mctl/internal/controller/bootstrap/sshtest"
	"mctl/internal/mctl/cli"
	"mctl/internal/mctl/controllertest"
	"mctl/internal/mctl/credential"
	controllerv1 "mctl/proto/mctl/controller/v1"
)

// login is a host that gives terminals: it notes what it is asked, echoes lines, and ends with 4 at "exit".
type login struct {
	mu    sync.Mutex
	asked []string
	sizes chan [2]uint32
}

func (l *login) serve(conn net.Conn, config *gossh.ServerConfig) {
	defer conn.Close()
	server, channels, requests, err := gossh.NewServerConn(conn, config)
	if err != nil {
		return
	}
	go gossh.DiscardRequests(requests)
	for offered := range channels {
		channel, asked, err := offered.Accept()
		if err != nil {
			break
		}
		go l.session(channel, asked)
	}
	_ = server.Wait()
}

func (l *login) session(channel gossh.Channel, asked <-chan *gossh.Request) {
	for request := range asked {
		l.mu.Lock()
		l.asked = append(l.asked, request.Type)
		l.mu.Unlock()
		switch request.Type {
		case "pty-req":
			var pty struct {
				Term                         string
				Columns, Rows, Width, Height uint32
				Modes                        string
			}
			if gossh.Unmarshal(request.Payload, &pty) == nil && pty.Term == "xterm" {
				l.sizes <- [2]uint32{pty.Columns, pty.Rows}
			}
		case "window-change":
			var at struct{ Columns, Rows, Width, Height uint32 }
			if gossh.Unmarshal(request.Payload, &at) == nil {
				l.sizes <- [2]uint32{at.Columns, at.Rows}
			}
		case "shell":
			go l.shell(channel)
		}
		_ = request.Reply(true, nil)
	}
}

func (l *login) shell(channel gossh.Channel) {
	text := make([]byte, 100)
	for line := ""; ; {
		n, err := channel.Read(text)
		if err != nil {
			break
		}
		line += string(text[:n])
		_, _ = channel.Write(text[:n])
		if strings.Contains(line, "exit") {
			break
		}
	}
	_, _ = channel.SendRequest("exit-status", false, gossh.Marshal(struct{ Status uint32 }{4}))
	channel.Close()
}

// terminal is a pair of ends; the first is what a person sees and types into.
func terminal(t *testing.T) (person, program *os.File) {
	t.Helper()
	person, err := os.OpenFile("/dev/ptmx", os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { person.Close() })
	var number int
	control(t, person, func(fd int) error {
		if err := unix.IoctlSetPointerInt(fd, unix.TIOCSPTLCK, 0); err != nil {
			return err
		}
		number, err = unix.IoctlGetInt(fd, unix.TIOCGPTN)
		return err
	})
	program, err = os.OpenFile("/dev/pts/"+strconv.Itoa(number), os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { program.Close() })
	resize(t, person, 100, 30)
	return person, program
}

func control(t *testing.T, file *os.File, do func(fd int) error) {
	t.Helper()
	raw, err := file.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	if controlErr := raw.Control(func(fd uintptr) { err = do(int(fd)) }); controlErr != nil || err != nil {
		t.Fatal(controlErr, err)
	}
}

func resize(t *testing.T, person *os.File, columns, rows uint16) {
	t.Helper()
	control(t, person, func(fd int) error {
		return unix.IoctlSetWinsize(fd, unix.TIOCSWINSZ, &unix.Winsize{Row: rows, Col: columns})
	})
}

func TestTerminalIsTheHostsForAsLongAsTheSession(t *testing.T) {
	c := controllertest.New(t, "TERM=xterm")
	pair, err := credential.NewKeyPair("mctl-web")
	if err != nil {
		t.Fatal(err)
	}
	hostKey, _ := sshtest.NewKey(t)
	config := &gossh.ServerConfig{PublicKeyCallback: func(gossh.ConnMetadata, gossh.PublicKey) (*gossh.Permissions, error) { return nil, nil }}
	config.AddHostKey(hostKey)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	host := &login{sizes: make(chan [2]uint32, 10)}
	go func() {
		for conn, err := listener.Accept(); err == nil; conn, err = listener.Accept() {
			go host.serve(conn, config)
		}
	}()
	m := controllertest.Running("web", "127.0.0.1")
	m.Status.Ssh = &controllerv1.SSHEndpoint{
		Address: "127.0.0.1", Port: uint32(listener.Addr().(*net.TCPAddr).Port), User: "root", HostKeys: []string{sshtest.Line(hostKey.PublicKey())},
	}
	c.Put(m)
	folder := c.Dir().Machine("web")
	if err := errors.Join(folder.Claim(m.GetUid()), folder.WriteKeys(pair.Private, nil)); err != nil {
		t.Fatal(err)
	}
	person, program := terminal(t)
	before, err := unix.IoctlGetTermios(int(program.Fd()), unix.TCGETS)
	if err != nil {
		t.Fatal(err)
	}
	env := c.Env()
	env.In, env.Out, env.Err, env.InTerm, env.Global.NativeSSH = program, program, io.Discard, true, true
	done := make(chan error, 1)
	go func() { done <- run(t.Context(), env, "web") }()

	if at := wait(t, host.sizes); at != [2]uint32{100, 30} {
		t.Errorf("the terminal has size %v", at)
	}
	c.Wait("the shell runs", func() bool {
		host.mu.Lock()
		defer host.mu.Unlock()
		return len(host.asked) == 2
	})
	resize(t, person, 80, 20)
	if err := syscall.Kill(os.Getpid(), syscall.SIGWINCH); err != nil { // as the kernel tells those in front of a terminal
		t.Fatal(err)
	}
	if at := wait(t, host.sizes); at != [2]uint32{80, 20} {
		t.Errorf("the terminal has size %v now", at)
	}
	if _, err := person.WriteString("\x03exit\r"); err != nil { // an interrupt is the host's matter
		t.Fatal(err)
	}
	var exit cli.Exit
	select {
	case err := <-done:
		if !errors.As(err, &exit) || exit.Code != 4 {
			t.Errorf("%#v", err)
		}
	case <-time.After(20 * time.Second):
		t.Fatal("the session does not end")
	}
	after, err := unix.IoctlGetTermios(int(program.Fd()), unix.TCGETS)
	if err != nil || *after != *before {
		t.Errorf("the terminal was left in another state, %v", err)
	}
}

func wait(t *testing.T, sizes chan [2]uint32) [2]uint32 {
	t.Helper()
	select {
	case at := <-sizes:
		return at
	case <-time.After(20 * time.Second):
		t.Fatal("no size was told")
		return [2]uint32{}
	}
}
