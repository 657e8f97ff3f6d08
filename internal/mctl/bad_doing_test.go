package mctl

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"mctl/internal/fault"
	"mctl/internal/mctl/controllertest"
	controllerv1 "mctl/proto/mctl/controller/v1"
)

// doing are the commands that do something to any number of machines.
func doing() []string {
	return []string{"start", "stop", "kill", "restart", "provision", "upgrade", "regenerate-certs -f", "regenerate-certs -f --client-certs"}
}

// yard is the fleet with hosts that can be logged in to, a machine that failed and one that is off, where each OpenSSH
// program, rsync and sshfs is a stand-in that notes its arguments in the file that is returned, one a line.
func yard(t *testing.T) (c *controllertest.Controller, noted string) {
	t.Helper()
	c = fleet(t)
	const hostKey = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIGhSCYtM8DkNZ9l8FeFDX+DURgsl0eT9E0XUZMV1jJao"
	for _, name := range []string{"web", "db"} {
		c.Change(name, func(m *controllerv1.Machine) { m.Status.Ssh.HostKeys = []string{hostKey} })
	}
	c.Change("runner", func(m *controllerv1.Machine) { m.Spec.Power = controllerv1.PowerState_POWER_STATE_STOPPED })
	broken := controllertest.Running("broken", "")
	controllertest.Park(fault.Quota, "no room", "make room")(broken)
	broken.Status.Url = ""
	c.Put(broken)
	bin := t.TempDir()
	noted = filepath.Join(bin, "noted")
	for _, name := range []string{"ssh", "scp", "rsync", "sshfs", "fusermount"} {
		script := "#!/bin/sh\nprintf '%s\\0' \"$@\" >" + noted + "\n"
		if err := os.WriteFile(filepath.Join(bin, name), []byte(script), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	t.Setenv("PATH", bin+":/usr/bin:/bin")
	return c, noted
}

func TestBadInputToWhatDoesSomethingIsRefusedInASentence(t *testing.T) {
	const (
		notThere  = `Docker machine "nosuch" does not exist. Use "mctl ls" to list machines. Use "mctl create" to add a new one.`
		noDefault = `Error: No machine name(s) specified and no "default" machine exists`
		isOff     = "Host is not running"
		noSSH     = `Error: Cannot run SSH command: Host "runner" is not running`
		improper  = "Improper number of arguments"
		badFlag   = "flag provided but not defined: -nosuch"
	)
	type want struct {
		code          int
		sentence, out string // what standard error and standard output begin with
	}
	cases := map[string]want{
		"start web": {1, `Machine "web" is already running.`, "Starting \"web\"...\n"}, "stop runner": {1, `Machine "runner" is already stopped.`, "Stopping \"runner\"...\n"},
		"kill runner": {1, `Machine "runner" is already stopped.`, "Killing \"runner\"...\n"}, "provision runner": {1, isOff, ""}, "regenerate-certs -f runner": {1, isOff, "Regenerating TLS certificates\n"},
		"start web nosuch nil": {1, notThere + "\n" + `Docker machine "nil" does not exist.`, ""},

		"regenerate-certs web":        {1, "EOF\nHint: give --force", "Regenerate TLS machine certs?  Warning: this is irreversible. (y/n): "},
		"regenerate-certs -x web":     {2, "flag provided but not defined: -x", "Incorrect Usage."},
		"regenerate-certs -f=no web":  {2, `invalid value "no" for flag -force`, "Incorrect Usage."},
		"stop --force web":            {2, "flag provided but not defined: -force", "Incorrect Usage."},
		"scp -x a b":                  {2, "flag provided but not defined: -x", "Incorrect Usage."},
		"mount --nosuch a":            {2, badFlag, "Incorrect Usage."},
		"scp -d web:/a db:/b":         {2, "--delta can't copy from machine to machine", ""},
		"scp":                         {1, improper, "Usage: mctl scp "},
		"scp a":                       {1, improper, "Usage: mctl scp "},
		"scp a b c":                   {1, improper, "Usage: mctl scp "},
		"mount":                       {1, improper, "Usage: mctl mount "},
		"mount web:/a b c":            {1, improper, "Usage: mctl mount "},
		"scp a nosuch:b":              {1, "Error loading host: Error loading host: " + notThere, ""},
		"scp nosuch:a nil:b":          {1, "Error loading host: Error loading host: " + notThere, ""},
		"mount nosuch:/a /tmp":        {1, "Error loading host: Error loading host: " + notThere, ""},
		"mount /a /tmp":               {1, `Error loading host: Error loading host: Docker machine "default" does not exist.`, ""},
		"ssh nosuch":                  {1, notThere, ""},
		"ssh":                         {1, noDefault, ""},
		"ssh runner":                  {1, noSSH, ""},
		"ssh runner uptime":           {1, noSSH, ""},
		"--native-ssh ssh runner id":  {1, noSSH, ""},
		"scp runner:/a b":             {1, noSSH, ""},
		"scp a runner:b":              {1, noSSH, ""},
		"mount runner:/a /tmp":        {1, noSSH, ""},
		"ssh broken true":             {1, `Error: Cannot run SSH command: Host "broken" is not running`, ""},
		"scp broken:/a b":             {1, `Error: Cannot run SSH command: Host "broken" is not running`, ""},
		"mount web:/a /nosuch/target": {1, `"/nosuch/target" does not exist here`, ""},
		"mount web:/a /etc/passwd":    {1, `"/etc/passwd" is no directory`, ""},
		"ssh web true":                {0, "", ""},
		"scp a web:b":                 {0, "", ""},
		"mount web:/a /tmp":           {0, "", ""},
		"mount -u nosuch:/a /tmp":     {0, "", ""},
	}
	for _, verb := range doing() {
		name := strings.Fields(verb)[0]
		begins := ""
		if strings.Contains(verb, "-f") {
			begins = "Regenerating TLS certificates\n"
		}
		cases[verb] = want{1, noDefault, begins}
		cases[verb+" nosuch"] = want{1, notThere, begins}
		cases[verb+" --nosuch web"] = want{2, badFlag, "Incorrect Usage.\n\nUsage: mctl " + name}
		cases[verb+" web --nosuch"] = want{2, badFlag, "Incorrect Usage.\n\nUsage: mctl " + name}
		cases[verb+" web -- --nosuch"] = want{1, `Docker machine "--nosuch" does not exist.`, begins}
	}
	for line, want := range cases {
		c, _ := yard(t)
		code, out, err := said(t, c, strings.Fields(line)...)
		if code != want.code || !strings.HasPrefix(err, want.sentence) || want.sentence == "" && err != "" || !strings.HasPrefix(out, want.out) || want.out == "" && out != "" {
			t.Errorf("%s: code %d, %q, %q", line, code, out, err)
		}
		if code != 0 && !strings.Contains(err, "\nHint: ") && !strings.Contains(err, "does not exist. Use") {
			t.Errorf("%s gives no hint: %q", line, err)
		}
		if want.code != 0 && slices.ContainsFunc(c.Calls(), func(method string) bool {
			return strings.HasSuffix(method, "Machine") && !strings.HasPrefix(method, "Get") || method == "RegenerateCertificates"
		}) {
			t.Errorf("%s asked for something all the same: %q", line, c.Calls())
		}
	}
}

func TestEachThatFailsOfABatchIsToldUnderItsNameAndUndoesNoOther(t *testing.T) {
	for _, verb := range doing() {
		c, _ := yard(t)
		// The verbs differ in which of these they make sense for, the two that fail do so for all.
		for _, name := range []string{"one", "two", "well", "off"} {
			m := controllertest.Running(name, "10.0.0.1")
			if name == "off" || verb == "start" {
				m.Spec.Power = controllerv1.PowerState_POWER_STATE_STOPPED
				controllertest.Reach(m)
			}
			c.Put(m)
		}
		c.Act = func(_ string, m *controllerv1.Machine) {
			if m.GetName() == "one" || m.GetName() == "two" {
				c.Change(m.GetName(), controllertest.Park(fault.Quota, "no room", "make room"))
				return
			}
			c.Change(m.GetName(), controllertest.Reach)
		}
		words := append(strings.Fields(verb), "one", "well", "two")
		code, out, err := said(t, c, words...)
		if code != 1 || err != "one: no room\nHint: make room\ntwo: no room\nHint: make room\n" || strings.Contains(out, "may have new IP addresses") {
			t.Errorf("%s: code %d, %q, %q", verb, code, out, err)
		}
		well, getErr := c.Env().Get(t.Context(), "well")
		if getErr != nil || well.GetGeneration() != 2 || well.GetStatus().GetObservedGeneration() != 2 || well.GetStatus().GetFailure() != nil {
			t.Errorf("%s: of the other came %v, %v", verb, well, getErr)
		}
		c.Change("one", controllertest.Reach)
		code, out, _ = said(t, c, append([]string{"--output", "json"}, words...)...)
		var document struct {
			Errors []struct{ Message, Subject string }
			Result []struct{ Name string }
		}
		if jsonErr := json.Unmarshal([]byte(out), &document); jsonErr != nil || code != 1 || len(document.Errors) < 2 || document.Errors[0].Subject != "one" {
			t.Errorf("%s: %v: code %d, %s", verb, jsonErr, code, out)
		}
	}
}

func TestStateDirectoryThatCannotBeWrittenIsToldAndHoldsUpNoOther(t *testing.T) {
	c, _ := yard(t)
	// A file stands where web's folder should be; who runs the tests may be root, whom no mode stops.
	folder := c.Dir().Machine("web").Path
	if err := os.RemoveAll(folder); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(folder, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	code, out, err := said(t, c, "stop", "web", "db")
	if code != 1 || !strings.Contains(out, "Machine \"db\" was stopped.\n") || !strings.HasPrefix(err, "web: ") || !strings.Contains(err, "\nHint: ") {
		t.Errorf("code %d, %q, %q", code, out, err)
	}
	for _, words := range [][]string{{"ssh", "web", "true"}, {"scp", "web:/a", "b"}, {"mount", "web:/a", "/tmp"}} {
		if code, out, err := said(t, c, words...); code != 1 || out != "" || !strings.Contains(err, "\nHint: ") {
			t.Errorf("%q: code %d, %q, %q", words, code, out, err)
		}
	}
	t.Setenv("TMPDIR", "/nosuch")
	c.Change("db", func(m *controllerv1.Machine) { m.Status.State = "Running" })
	for _, words := range [][]string{{"scp", "db:/a", "b"}, {"mount", "db:/", "/tmp"}} {
		if code, out, err := said(t, c, words...); code != 1 || out != "" || !strings.HasPrefix(err, "can't write a file for ssh: ") || !strings.Contains(err, "TMPDIR") {
			t.Errorf("%q: code %d, %q, %q", words, code, out, err)
		}
	}
}

func TestHostileTextToWhatDoesSomethingIsLiteralOrRefused(t *testing.T) {
	c, noted := yard(t)
	t.Chdir(t.TempDir())
	for _, h := range hostile() {
		lines := [][]string{
			{"ssh", h}, {"scp", "--", h + ":/a", "b"}, {"scp", "--", h + "@web:/a", "b"}, {"mount", "--", h + ":/a", "/tmp"}, {"mount", "--", h + "@web:/a", "/tmp"},
			{"mount", "--", "web:/a", h}, {"mount", "-u", "--", h}, {"scp", "--", h, "web:/a"}, {"scp", "--" + h, "a", "b"}, {"regenerate-certs", "--", h},
		}
		for _, verb := range doing() {
			lines = append(lines, append(strings.Fields(verb), "--", h), append(strings.Fields(verb), "--", "web", h))
		}
		for _, words := range lines {
			code, out, err := said(t, c, words...)
			if painted(out) || painted(err) || code != 0 && err == "" {
				t.Errorf("%q: code %d, %q, %q", words, code, out, err)
			}
			if slices.Contains(doing(), words[0]) && code == 0 {
				t.Errorf("%q went well: %q", words, out)
			}
		}
		// What reaches a program reaches it as one word.
		for _, words := range [][]string{{"ssh", "web", h}, {"scp", "a", "web:/" + h}, {"mount", "web:/" + h, "/tmp"}} {
			_ = os.Remove(noted)
			code, _, err := said(t, c, words...)
			if strings.Contains(h, "\x00") {
				if code == 0 || err == "" {
					t.Errorf("%q: code %d, %q", words, code, err)
				}
				continue
			}
			text, readErr := os.ReadFile(noted)
			if code != 0 || readErr != nil || !bytes.Contains(text, []byte(h+"\x00")) {
				t.Errorf("%q: code %d, %q, noted %q, %v", words, code, err, text, readErr)
			}
		}
	}
	if left, _ := os.ReadDir("."); len(left) > 0 {
		t.Errorf("somebody made %v", left)
	}
}
