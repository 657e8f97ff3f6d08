package bolt

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/hashicorp/go-hclog"

	"mctl/internal/fault"
)

// actAs is another process, which this test's binary plays too. It returns its exit code.
func actAs(act, path string) int {
	s, err := Open(context.Background(), Config{Path: path, Logger: hclog.NewNullLogger()})
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer s.Close()
	switch act {
	case "write": // and say what was acknowledged, until the kill
		for i := 0; ; i++ {
			if _, err := s.Create(context.Background(), fmt.Sprintf("k/%08d", i), []byte("v")); err != nil {
				return 1
			}
			fmt.Fprintln(os.Stdout, i)
		}
	case "hold":
		fmt.Fprintln(os.Stdout, 0)
		_, _ = io.Copy(io.Discard, os.Stdin)
		return 0
	case "fill":
		if err := fillTheDisk(s, path); err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		return 0
	}
	return 2
}

// start begins another process that acts on a store.
func start(t *testing.T, act, path string) (process *exec.Cmd, output *os.File) {
	t.Helper()
	reader, writer, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { reader.Close() })
	defer writer.Close()
	process = exec.CommandContext(t.Context(), os.Args[0])
	process.Env = append(os.Environ(), "BOLT_TEST_ACT="+act, "BOLT_TEST_PATH="+path)
	process.Stdout, process.Stderr = writer, os.Stderr
	if _, err := process.StdinPipe(); err != nil { // ends with this process
		t.Fatal(err)
	}
	if err := process.Start(); err != nil {
		t.Fatal(err)
	}
	return process, reader
}

func TestWhatWasAcknowledgedSurvivesKills(t *testing.T) {
	for round := range 5 {
		path := filepath.Join(t.TempDir(), "store.db")
		process, output := start(t, "write", path)
		var acknowledged int
		for range 20 + 37*round {
			if _, err := fmt.Fscan(output, &acknowledged); err != nil {
				t.Fatal(err)
			}
		}
		if err := process.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		_ = process.Wait()
		s := mustOpen(t, path)
		for i := range acknowledged + 1 {
			if _, err := s.Get(t.Context(), fmt.Sprintf("k/%08d", i)); err != nil {
				t.Errorf("round %d: lost %d of %d: %v", round, i, acknowledged, err)
			}
		}
		s.Close()
	}
}

func TestAFileThatIsHeldSaysByWhomAlsoAfterKills(t *testing.T) {
	path := filepath.Join(t.TempDir(), "store.db")
	for range 2 {
		process, output := start(t, "hold", path)
		if _, err := fmt.Fscan(output, new(int)); err != nil {
			t.Fatal(err)
		}
		_, err := openAt(t, path)
		if !fault.Is(err, fault.Precondition) || !strings.Contains(err.Error(), holder(process.Process.Pid)) || fault.HintOf(err) == "" {
			t.Errorf("got %v, hint %q", err, fault.HintOf(err))
		}
		if err := process.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		_ = process.Wait()
		s := mustOpen(t, path) // the lock went with the process
		if _, err := openAt(t, path); err == nil || !strings.Contains(err.Error(), holder(os.Getpid())) {
			t.Errorf("held by this process: %v", err)
		}
		s.Close()
	}
}
