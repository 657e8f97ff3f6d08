package main

import (
	"bytes"
	"strings"
	"testing"
)

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
