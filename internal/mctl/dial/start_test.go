package dial

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"net"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"
	"google.golang.org/grpc"

	"mctl/internal/fault"
	"mctl/internal/mctl/state"
	controllerv1 "mctl/proto/mctl/controller/v1"
)

// TestMain is also the program of a pretended controller, which behaves as the file `behave` in its state directory says.
func TestMain(m *testing.M) {
	if filepath.Base(os.Args[0]) == "controller" {
		os.Exit(pretend(os.Args[1:]))
	}
	goleak.VerifyTestMain(m)
}

// system is all that a pretended controller can.
type system struct {
	controllerv1.UnimplementedSystemServiceServer
	build string
	busy  uint32
	stop  func()
}

func (s system) GetInfo(context.Context, *controllerv1.GetInfoRequest) (*controllerv1.GetInfoResponse, error) {
	return &controllerv1.GetInfoResponse{Build: s.build, Busy: s.busy, Pid: int64(os.Getpid())}, nil
}

func (s system) Shutdown(context.Context, *controllerv1.ShutdownRequest) (*controllerv1.ShutdownResponse, error) {
	go s.stop()
	return &controllerv1.ShutdownResponse{}, nil
}

func pretend(args []string) int {
	flags := flag.NewFlagSet("controller", flag.ContinueOnError)
	dir, socket, ready := flags.String("state-dir", "", ""), flags.String("socket", "", ""), flags.Int("ready-fd", 0, "")
	if flags.Parse(args) != nil {
		return 2
	}
	text, _ := os.ReadFile(filepath.Join(*dir, "behave"))
	behave := string(text)
	report := os.NewFile(uintptr(*ready), "ready")
	starts, _ := os.OpenFile(filepath.Join(*dir, "starts"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	fmt.Fprintf(starts, "%s\n", strings.Join(os.Environ(), " "))
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	time.AfterFunc(time.Minute, stop) // whatever happens to the test
	switch behave {
	case "die":
		fmt.Fprintln(os.Stderr, "cannot")
		return 1
	case "garbage":
		fmt.Fprintln(report, "hello")
		return 1
	case "refuse":
		fmt.Fprintln(report, `{"error":"the store is corrupt","hint":"restore a copy"}`)
		return 1
	case "nothing":
		fmt.Fprintln(report, `{}`)
		return 1
	case "silent":
		<-ctx.Done()
		return 0
	}
	_ = os.Remove(*socket)
	listener, err := net.Listen("unix", *socket)
	if err != nil {
		return 1
	}
	server := grpc.NewServer()
	s := system{build: behave, stop: server.Stop}
	if behave == "busy" {
		s.busy = 1
	}
	controllerv1.RegisterSystemServiceServer(server, s)
	fmt.Fprintln(report, `{"ready":true}`)
	report.Close()
	go func() { <-ctx.Done(); server.Stop() }()
	_ = server.Serve(listener)
	return 0
}

// newLocal is the way to a controller of an empty state directory whose program is this test's, under another name.
func newLocal(t *testing.T, behave string) Local {
	t.Helper()
	root, err := os.MkdirTemp("", "mctl")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(root) })
	own, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	program := filepath.Join(root, "controller")
	if err := os.Symlink(own, program); err != nil {
		t.Fatal(err)
	}
	variables := map[string]string{
		"XDG_RUNTIME_DIR": root, "MCTL_CONTROLLER_BIN": program, "PATH": os.Getenv("PATH"),
		"MCTL_LISTEN": "127.0.0.1:0", "AWS_SECRET_ACCESS_KEY": "canary", "GOCOVERDIR": os.Getenv("GOCOVERDIR"),
	}
	l := Local{Dir: state.Dir{Root: filepath.Join(root, "state")}, Lookup: func(name string) (string, bool) { value, ok := variables[name]; return value, ok }}
	if err := os.MkdirAll(l.Dir.Root, 0o700); err != nil {
		t.Fatal(err)
	}
	l.behave(t, behave)
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
		defer cancel()
		if err := l.Stop(ctx); err != nil && !fault.Is(err, fault.NotFound) {
			t.Errorf("stop what was started: %v", err)
		}
	})
	return l
}

func (l Local) behave(t *testing.T, how string) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(l.Dir.Root, "behave"), []byte(how), 0o600); err != nil {
		t.Fatal(err)
	}
}

// starts are the environments of the controllers that were started.
func (l Local) starts(t *testing.T) []string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(l.Dir.Root, "starts"))
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		t.Fatal(err)
	}
	return strings.Split(strings.TrimSpace(string(text)), "\n")
}

func TestManyFirstCommandsStartOneController(t *testing.T) {
	l := newLocal(t, "well")
	var group sync.WaitGroup
	pids := make([]int, 20)
	for i := range pids {
		group.Go(func() {
			client, err := l.Dial(t.Context())
			if err != nil {
				t.Error(err)
				return
			}
			defer client.Close()
			info, err := client.System.GetInfo(t.Context(), &controllerv1.GetInfoRequest{})
			if err != nil {
				t.Error(err)
			}
			pids[i] = int(info.GetPid())
		})
	}
	group.Wait()
	if unique := slices.Compact(slices.Sorted(slices.Values(pids))); len(unique) != 1 || unique[0] == 0 {
		t.Errorf("controllers %v", unique)
	}
	started := l.starts(t)
	if len(started) != 1 {
		t.Errorf("%d starts", len(started))
	}
	if strings.Contains(started[0], "canary") || !strings.Contains(started[0], "MCTL_LISTEN=127.0.0.1:0") || !strings.Contains(started[0], "MCTL_PLUGIN_USER=") {
		t.Errorf("its environment is %s", started[0])
	}
}

func TestStopReturnsWhenTheProcessIsGone(t *testing.T) {
	l := newLocal(t, "well")
	if err := l.Stop(t.Context()); !fault.Is(err, fault.NotFound) || fault.HintOf(err) == "" {
		t.Errorf("none runs: %v", err)
	}
	client, err := l.Dial(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	if _, err := client.System.GetInfo(t.Context(), &controllerv1.GetInfoRequest{}); err != nil {
		t.Fatal(err)
	}
	if err := l.Stop(t.Context()); err != nil {
		t.Fatal(err)
	}
	if client.PID > 0 && !errors.Is(syscall.Kill(client.PID, 0), syscall.ESRCH) && !isZombie(client.PID) {
		t.Errorf("process %d is still there", client.PID)
	}
	if _, err := l.DialRunning(t.Context()); !fault.Is(err, fault.NotFound) {
		t.Errorf("afterwards: %v", err)
	}
}

// isZombie reports whether a child of this test has ended and was not waited for, since it was released.
func isZombie(pid int) bool {
	text, _ := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	_, rest, _ := strings.Cut(string(text), ") ")
	return strings.HasPrefix(rest, "Z")
}

func TestLostControllerIsStartedAnewForTheNextCall(t *testing.T) {
	l := newLocal(t, "well")
	client, err := l.Dial(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	before, err := client.System.GetInfo(t.Context(), &controllerv1.GetInfoRequest{})
	if err != nil {
		t.Fatal(err)
	}
	if err := syscall.Kill(int(before.GetPid()), syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	after, err := client.System.GetInfo(t.Context(), &controllerv1.GetInfoRequest{})
	if err != nil || after.GetPid() == before.GetPid() {
		t.Errorf("%v, %v", after, err)
	}
}

func TestIdleControllerOfAnotherBuildIsReplacedABusyOneIsNot(t *testing.T) {
	for behave, want := range map[string]int{"well": 2, "busy": 1} {
		l := newLocal(t, behave)
		client, err := l.Dial(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		client.Close()
		// What runs is the same program, so that a look at it is not enough: another file must be found beside us.
		other := filepath.Join(t.TempDir(), "controller")
		content, err := os.ReadFile("/proc/self/exe")
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(other, content, 0o755); err != nil {
			t.Fatal(err)
		}
		told := l.Lookup
		l.Lookup = func(name string) (string, bool) {
			if name == "MCTL_CONTROLLER_BIN" {
				return other, true
			}
			return told(name)
		}
		var lines []string
		l.Debugf = func(format string, args ...any) { lines = append(lines, fmt.Sprintf(format, args...)) }
		client, err = l.Dial(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		client.Close()
		if got := len(l.starts(t)); got != want {
			t.Errorf("%s: %d starts, want %d: %q", behave, got, want, lines)
		}
	}
}

func TestControllerThatCannotStartIsToldInOneSentence(t *testing.T) {
	for behave, want := range map[string]string{
		"die":     "the controller ended before it was ready",
		"garbage": "the controller reported something that mctl does not understand",
		"refuse":  "the store is corrupt",
		"nothing": "the controller did not become ready",
	} {
		l := newLocal(t, behave)
		_, err := l.Dial(t.Context())
		if err == nil || err.Error() != want || fault.HintOf(err) == "" {
			t.Errorf("%s: %v, hint %q", behave, err, fault.HintOf(err))
		}
		if _, err := os.Stat(l.Dir.ControllerLog()); err != nil {
			t.Errorf("%s: no log: %v", behave, err)
		}
	}
	l := newLocal(t, "well")
	l.Lookup = func(name string) (string, bool) {
		if name == "MCTL_CONTROLLER_BIN" {
			return "/nosuch/controller", true
		}
		return "", false
	}
	if _, err := l.Dial(t.Context()); !fault.Is(err, fault.Precondition) || fault.HintOf(err) == "" {
		t.Errorf("no program: %v", err)
	}
}

func TestInterruptWhileAControllerStartsDoesNotHang(t *testing.T) {
	l := newLocal(t, "silent")
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	go func() { _, err := l.Dial(ctx); done <- err }()
	for deadline := time.Now().Add(20 * time.Second); len(l.starts(t)[0]) == 0; {
		if time.Now().After(deadline) {
			t.Fatal("it does not start")
		}
		tick := time.NewTimer(5 * time.Millisecond)
		<-tick.C
	}
	cancel()
	select {
	case err := <-done:
		if !errors.Is(err, context.Canceled) {
			t.Errorf("%v", err)
		}
	case <-time.After(10 * time.Second):
		t.Fatal("it hangs")
	}
}

func TestLongLogBecomesTheFormerOne(t *testing.T) {
	l := newLocal(t, "well")
	if err := l.Dir.MakeOwn(); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(l.Dir.ControllerLog(), make([]byte, maxLog+1), 0o600); err != nil {
		t.Fatal(err)
	}
	file, err := openLog(l.Dir.ControllerLog())
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	info, err := file.Stat()
	former, formerErr := os.Stat(l.Dir.ControllerLog() + ".1")
	if err != nil || formerErr != nil || info.Size() != 0 || former.Size() != maxLog+1 {
		t.Errorf("%v, %v", err, formerErr)
	}
}

func TestControllerInheritsNothingOfTheShell(t *testing.T) {
	l := newLocal(t, "well")
	path := filepath.Join(t.TempDir(), "lock")
	fd, err := syscall.Open(path, syscall.O_CREAT|syscall.O_RDWR, 0o600) // as a shell has it, without O_CLOEXEC
	if err != nil {
		t.Fatal(err)
	}
	defer syscall.Close(fd)
	client, err := l.Dial(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	info, err := client.System.GetInfo(t.Context(), &controllerv1.GetInfoRequest{})
	if err != nil {
		t.Fatal(err)
	}
	entries, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", info.GetPid()))
	if err != nil {
		t.Fatal(err)
	}
	for _, entry := range entries {
		if target, _ := os.Readlink(fmt.Sprintf("/proc/%d/fd/%s", info.GetPid(), entry.Name())); target == path {
			t.Errorf("the controller holds %s", path)
		}
	}
}

func TestLockLetsOneThroughAndNamesItself(t *testing.T) {
	path := filepath.Join(t.TempDir(), "start.lock")
	unlock, err := Lock(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := Lock(ctx, path); !fault.Is(err, fault.Unavailable) || !strings.Contains(fault.HintOf(err), path) {
		t.Errorf("%v", err)
	}
	interrupted, interrupt := context.WithCancel(t.Context())
	interrupt()
	if _, err := Lock(interrupted, path); !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
	unlock()
	if unlock, err = Lock(t.Context(), path); err != nil {
		t.Fatal(err)
	}
	unlock()
	if _, err := Lock(t.Context(), filepath.Join(path, "x")); !fault.Is(err, fault.Precondition) {
		t.Errorf("%v", err)
	}
}

func TestReportIsOneLineOfJSON(t *testing.T) {
	text, err := json.Marshal(ready{Ready: true})
	if err != nil {
		t.Fatal(err)
	}
	for given, want := range map[string]bool{string(text) + "\n": true, "": false, "x\n": false, strings.Repeat("x", maxReady+10): false} {
		reader, writer, err := os.Pipe()
		if err != nil {
			t.Fatal(err)
		}
		go func() { _, _ = writer.WriteString(given); writer.Close() }()
		report, err := readReport(t.Context(), reader)
		if (err == nil) != want || report.Ready != want {
			t.Errorf("%.20q: %+v, %v", given, report, err)
		}
		reader.Close()
	}
}
