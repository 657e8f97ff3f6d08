package main

import (
	"bytes"
	"errors"
	"os"
	"os/exec"
	"strings"
	"testing"
)

// TestMain lets a test run the whole program.
func TestMain(m *testing.M) {
	if args := os.Getenv("AGENT_TEST_MAIN"); args != "" {
		os.Args = append(os.Args[:1], strings.Fields(args)...)
		main()
	}
	os.Exit(m.Run())
}

func TestAReaderThatIsGoneEndsNothing(t *testing.T) {
	reader, writer, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	reader.Close()
	defer writer.Close()
	program := exec.Command(os.Args[0])
	program.Env = append(os.Environ(), "AGENT_TEST_MAIN=install")
	program.Stdin, program.Stdout, program.Stderr = strings.NewReader("no JSON"), writer, writer
	var exit *exec.ExitError
	if err := program.Run(); !errors.As(err, &exit) || exit.ExitCode() != 1 {
		t.Errorf("it ended with %v, want its own exit code", err)
	}
}

func TestUnknownUsePrintsHelpAndExits2(t *testing.T) {
	for _, args := range [][]string{nil, {"fly"}, {"run", "fast"}, {"version", "--purge-engine"}, {"uninstall", "--all"}} {
		var stdout, stderr bytes.Buffer
		if code := run(t.Context(), args, strings.NewReader(""), &stdout, &stderr); code != 2 || stdout.Len() != 0 || stderr.String() != help {
			t.Errorf("%q exits %d, says %q and %q", args, code, &stdout, &stderr)
		}
	}
}

func TestVersionIsALine(t *testing.T) {
	var stdout, stderr bytes.Buffer
	if code := run(t.Context(), []string{"version"}, nil, &stdout, &stderr); code != 0 || strings.Count(stdout.String(), "\n") != 1 || stderr.Len() != 0 {
		t.Errorf("exits %d, says %q and %q", code, &stdout, &stderr)
	}
}

func TestInstallRefusesWhatIsNoOrderInItsOwnWords(t *testing.T) {
	var stdout, stderr bytes.Buffer
	if code := run(t.Context(), []string{"install"}, strings.NewReader("no JSON"), &stdout, &stderr); code != 1 || !strings.Contains(stdout.String(), `"error"`) {
		t.Errorf("exits %d, says %q", code, &stdout)
	}
}
