package tunnel

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/hashicorp/go-hclog"

	"mctl/internal/frame"
	"mctl/internal/reaper"
	agentv1 "mctl/proto/mctl/agent/v1"
	tunnelv1 "mctl/proto/mctl/tunnel/v1"
)

func TestACommandIsForTheUsersShellAndEndsAsItEnds(t *testing.T) {
	w := newWorld(t)
	o := w.exec(`echo $HOME $USER $SITE "$0"; pwd; tr a-z A-Z; echo "no good" >&2; exit 7`)
	o.data("some")
	o.data(" input")
	o.end()
	h := o.listen(nil)
	want := fmt.Sprintf("%s deploy north sh\n%s\nSOME INPUT", w.home, w.home)
	if !h.opened || h.out != want || h.err != "no good\n" || h.exit.GetCode() != 7 || h.exit.GetSignal() != "" {
		t.Errorf("%+v, want %q", h, want)
	}
}

func TestTheGroupsAreThoseOfTheUser(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("only root may set groups")
	}
	w := newWorld(t)
	o := w.exec("id -G")
	o.end()
	if h := o.listen(nil); h.out != "0 4242\n" {
		t.Errorf("%+v", h)
	}
}

func TestASignalThatEndedACommandIsNamed(t *testing.T) {
	w := newWorld(t)
	o := w.exec("kill -KILL $$")
	if h := o.listen(nil); h.exit.GetCode() != 137 || h.exit.GetSignal() != "KILL" {
		t.Errorf("%+v", h)
	}
	o = w.exec("trap 'echo told; exit 3' INT; echo ready; while :; do sleep 0.01; done")
	o.says("ready")
	o.say(&tunnelv1.Frame{Kind: &tunnelv1.Frame_Signal{Signal: "NONSENSE"}})
	o.say(&tunnelv1.Frame{Kind: &tunnelv1.Frame_Signal{Signal: "INT"}})
	if h := o.listen(nil); h.out != "told\n" || h.exit.GetCode() != 3 {
		t.Errorf("%+v", h)
	}
}

func TestATerminalHasASizeThatNoZeroChanges(t *testing.T) {
	w := newWorld(t)
	o := w.terminal(`stty size; echo $TERM; tty; until read x && [ "$x" = go ]; do :; done; stty size; kill -WINCH $$; exit 5`, 0, 0)
	h := o.says("/dev/pts/")
	if !strings.HasPrefix(h.out, "24 80\r\nvt100\r\n") {
		t.Errorf("%q", h.out)
	}
	o.say(&tunnelv1.Frame{Kind: &tunnelv1.Frame_Size{Size: &tunnelv1.Size{Rows: 50, Columns: 132}}})
	o.say(&tunnelv1.Frame{Kind: &tunnelv1.Frame_Size{Size: &tunnelv1.Size{}}})
	o.say(&tunnelv1.Frame{Kind: &tunnelv1.Frame_Size{Size: &tunnelv1.Size{Rows: 1}}})
	o.data("go\n")
	if h := o.listen(nil); !strings.Contains(h.out, "50 132\r\n") || h.exit.GetCode() != 5 {
		t.Errorf("%+v", h)
	}
}

func TestATerminalsKeysReachWhatRunsInIt(t *testing.T) {
	w := newWorld(t)
	o := w.terminal("", 10, 10) // a login shell
	// What speaks is what the keys are for by then; a shell that is about to start it would take them for its own.
	o.data("PS1=; sh -c 'echo $0 re\"\"ady; exec sleep 1000' $0\n")
	o.says("-sh ready")
	o.data("\x03")
	o.data("echo in''terrupted\n")
	o.says("interrupted")
	o.data("\x04")
	if h := o.listen(nil); h.exit == nil {
		t.Errorf("%+v", h)
	}
}

func TestAllThatATerminalHoldsIsReadThoughOthersKeepItOpen(t *testing.T) {
	w := newWorld(t)
	o := w.terminal("trap '' HUP; sleep 1000 & seq 20000", 10, 10)
	h := o.listen(nil)
	if !strings.HasSuffix(h.out, "19999\r\n20000\r\n") || h.exit.GetCode() != 0 {
		t.Errorf("it ends %q", h.out[max(0, len(h.out)-40):])
	}
}

func TestNothingIsLeftWhenTheOperatorGoesAway(t *testing.T) {
	for name, c := range map[string]struct {
		command  string
		terminal bool
		flood    bool
	}{
		"a pipeline":                    {command: "echo $$ >pid; sleep 1000 | sleep 1000"},
		"one that can't be hung up":     {command: "trap '' HUP TERM; echo $$ >pid; while :; do sleep 0.1; done"},
		"a job in a terminal":           {command: "set -m; sleep 1000 & echo $$ >pid; sleep 1000", terminal: true},
		"one that does not read":        {command: "echo $$ >pid; exec sleep 1000", flood: true},
		"one that writes without end":   {command: "echo $$ >pid; yes"},
		"a child that outlived a shell": {command: "sleep 1000 & echo $$ >pid"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			var o *operator
			if c.terminal {
				o = w.terminal(c.command, 24, 80)
			} else {
				o = w.exec(c.command)
			}
			var pid int
			eventually(t, "a process", func() bool {
				text, _ := os.ReadFile(filepath.Join(w.home, "pid"))
				pid, _ = strconv.Atoi(strings.TrimSpace(string(text)))
				return pid > 0
			})
			var flood sync.WaitGroup
			if c.flood { // more than a pipe and any window hold, so that the end of the stream stands behind it
				chunk := &agentv1.OpenResponse{Message: &agentv1.OpenResponse_Frame{Frame: &tunnelv1.Frame{Kind: &tunnelv1.Frame_Data{Data: make([]byte, frame.MaxData)}}}}
				var sent atomic.Int32
				flood.Go(func() {
					for o.Send(chunk) == nil {
						sent.Add(1)
					}
				})
				eventually(t, "some data on the way", func() bool { return sent.Load() > 2 })
			}
			o.hangUp()
			flood.Wait()
			eventually(t, "an empty session", func() bool { return len(session(t, pid)) == 0 })
		})
	}
}

func TestNothingIsLeftWhenTheAgentEnds(t *testing.T) {
	w := newWorld(t)
	w.exec("echo $$ >pid; sleep 1000 | sleep 1000")
	var pid int
	eventually(t, "a process", func() bool {
		text, _ := os.ReadFile(filepath.Join(w.home, "pid"))
		pid, _ = strconv.Atoi(strings.TrimSpace(string(text)))
		return pid > 0
	})
	w.stop()
	<-w.stopped
	if left := session(t, pid); len(left) > 0 {
		t.Errorf("left: %v", left)
	}
}

// session are the living processes of a session.
func session(t *testing.T, sid int) (pids []string) {
	t.Helper()
	entries, err := os.ReadDir("/proc")
	if err != nil {
		t.Fatal(err)
	}
	for _, entry := range entries {
		text, err := os.ReadFile(filepath.Join("/proc", entry.Name(), "stat"))
		if err != nil {
			continue
		}
		fields := strings.Fields(string(text[strings.LastIndexByte(string(text), ')')+1:]))
		if fields[3] == strconv.Itoa(sid) && fields[0] != "Z" {
			pids = append(pids, entry.Name())
		}
	}
	return pids
}

func TestWhatAKilledAgentLeftRunningIsEndedByTheNext(t *testing.T) {
	dir := t.TempDir()
	agent := exec.Command(os.Args[0], "-test.run=^TestACommandGoesOn$")
	agent.Env = append(os.Environ(), goingOn+"="+dir)
	out, err := agent.StdoutPipe()
	if err == nil {
		err = agent.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	go func() { _, _ = io.Copy(io.Discard, out) }()
	var pid int
	eventually(t, "the command runs", func() bool {
		text, _ := os.ReadFile(filepath.Join(dir, "pid"))
		pid, _ = strconv.Atoi(strings.TrimSpace(string(text)))
		return pid > 0
	})
	_ = agent.Process.Kill()
	_ = agent.Wait()
	if syscall.Kill(pid, 0) != nil {
		t.Fatal("it ended with the agent: this test shows nothing")
	}
	next := New(Config{Logger: hclog.NewNullLogger(), Reaper: reaper.Reaper{Dir: filepath.Join(dir, "tunnels")}})
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- next.Run(ctx) }()
	eventually(t, "the command has ended", func() bool {
		text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
		return err != nil || strings.Contains(string(text), ") Z ")
	})
	cancel()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

// goingOn is set in the agent that TestWhatAKilledAgentLeftRunningIsEndedByTheNext kills.
const goingOn = "MCTL_TEST_GOING_ON"

func TestACommandGoesOn(t *testing.T) {
	dir := os.Getenv(goingOn)
	if dir == "" {
		return // it is for the agent that is killed
	}
	w := newWorld(t)
	w.server.config.Reaper.Dir = filepath.Join(dir, "tunnels")
	w.exec("sleep 600 & echo $! >" + dir + "/new; mv " + dir + "/new " + dir + "/pid; wait").listen(nil)
}

func TestACommandIsNotSparedWhenMemoryRunsOut(t *testing.T) {
	w := newWorld(t)
	if err := os.WriteFile("/proc/self/oom_score_adj", []byte("-100"), 0); err != nil {
		t.Skip("only root may")
	}
	t.Cleanup(func() { _ = os.WriteFile("/proc/self/oom_score_adj", []byte("0"), 0) })
	o := w.exec("read go; cat /proc/self/oom_score_adj")
	o.data("go\n")
	if h := o.listen(nil); h.out != "0\n" {
		t.Errorf("%+v", h)
	}
}

func TestAUserOrAShellThatIsNotThereIsTold(t *testing.T) {
	w := newWorld(t)
	for user, want := range map[string]string{"nobody-here": `no user "nobody-here"`, "-x": "can't be a user", "": "can't be a user"} {
		w.user = user
		if h := w.exec("true").listen(nil); h.failure == nil || !strings.Contains(h.failure.GetMessage(), want) {
			t.Errorf("%q: %+v", user, h)
		}
	}
	passwd := filepath.Join(filepath.Dir(w.home), "etc", "passwd")
	if err := os.WriteFile(passwd, []byte("deploy:x:"+strconv.Itoa(syscall.Getuid())+":0::/nowhere:/no/shell\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	w.user = "deploy"
	if h := w.exec("true").listen(nil); h.failure.GetMessage() != "the host can't run /no/shell for deploy: no such file or directory" {
		t.Errorf("%+v", h)
	}
}

func TestManyTunnelsShareOneConnection(t *testing.T) {
	w := newWorld(t)
	for range 20 {
		o := w.exec("cat")
		o.data("x")
		o.end()
		if h := o.listen(nil); h.out != "x" || h.exit.GetCode() != 0 {
			t.Fatalf("%+v", h)
		}
	}
	if n := len(w.dials); n != 1 {
		t.Errorf("%d connections", n)
	}
}

func TestTunnelsThatAreWantedAtOnceShareOneConnection(t *testing.T) {
	w := newWorld(t)
	const many = 30
	for range many {
		w.server.Open([]byte("0123456789abcdef"))
	}
	order := &agentv1.Order{User: w.user, Work: &tunnelv1.Work{What: &tunnelv1.Work_Exec{Exec: &tunnelv1.Exec{Command: "true"}}}}
	for range many {
		o := <-w.streams
		if err := o.Send(&agentv1.OpenResponse{Message: &agentv1.OpenResponse_Order{Order: order}}); err != nil {
			t.Fatal(err)
		}
		if h := o.listen(nil); h.exit == nil {
			t.Fatalf("%+v", h)
		}
	}
	if n := len(w.dials); n != 1 {
		t.Errorf("%d connections", n)
	}
}
