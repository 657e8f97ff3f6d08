package mctl

import (
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"unicode"

	"mctl/internal/fault"
	"mctl/internal/mctl/controllertest"
	controllerv1 "mctl/proto/mctl/controller/v1"
)

// said runs a command line and returns how it ended and what it printed.
func said(t *testing.T, c *controllertest.Controller, words ...string) (code int, out, err string) {
	t.Helper()
	env := c.Env(words...)
	code = Run(t.Context(), env)
	return code, env.Out.(*bytes.Buffer).String(), env.Err.(*bytes.Buffer).String()
}

func TestBadInputIsRefusedInASentence(t *testing.T) {
	const (
		usage      = "Usage: mctl "
		notThere   = `Docker machine "nosuch" does not exist. Use "mctl ls" to list machines. Use "mctl create" to add a new one.`
		notRunning = "Host is not running"
		noDefault  = `Error: No machine name(s) specified and no "default" machine exists`
		oneName    = "Error: Expected one machine name as an argument"
		tooMany    = "Error: Too many arguments given"
		badFlag    = "flag provided but not defined: -nosuch"
		badForm    = "template parsing error: "
	)
	c := fleet(t)
	broken := controllertest.Running("broken", "")
	controllertest.Park(fault.Quota, "no room", "")(broken)
	broken.Status.Url = ""
	c.Put(broken)
	for line, want := range map[string]struct {
		code     int
		sentence string // standard error begins with it
		out      string // standard output begins with it; nothing else than nothing begins with ""
	}{
		"status nosuch": {1, notThere, ""}, "url nosuch": {1, notThere, ""}, "ip web nosuch": {1, notThere, ""}, "inspect nosuch": {1, notThere, ""},
		"config nosuch": {1, notThere, ""}, "env nosuch": {1, notThere, ""}, "version nosuch": {1, notThere, ""}, "inspect nosuch -f {{": {1, notThere, ""},

		"status runner": {0, "", "Stopped\n"}, "url runner": {1, notRunning, ""}, "ip runner": {1, "Error getting IP address: " + notRunning, ""},
		"inspect runner": {0, "", "{\n"}, "config runner": {1, "Error running connection boilerplate: " + notRunning, ""},
		"env runner": {1, "Error checking TLS connection: " + notRunning, ""}, "version runner": {1, "Unable to query docker version: " + notRunning, ""},
		"ip web runner": {1, "Error getting IP address: " + notRunning, "10.128.0.2\n"},

		"status broken": {0, "", "Error\n"}, "url broken": {1, notRunning, ""}, "ip broken": {1, "Error getting IP address: " + notRunning, ""},
		"inspect broken": {0, "", "{\n"}, "config broken": {1, "Error running connection boilerplate: " + notRunning, ""},
		"env broken": {1, "Error checking TLS connection: " + notRunning, ""}, "version broken": {1, "Unable to query docker version: " + notRunning, ""},

		"status": {1, noDefault, ""}, "url": {1, noDefault, ""}, "ip": {1, noDefault, ""}, "inspect": {1, noDefault, ""}, "config": {1, noDefault, ""}, "env": {1, noDefault, ""},
		"create --driver nosuch x": {2, `Driver "nosuch" not found. Do you have the plugin binary "docker-machine-driver-nosuch" accessible in your PATH?`, ""},

		"status web db": {1, oneName, ""}, "url web db": {1, oneName, ""}, "inspect web db": {1, oneName, usage + "inspect "}, "env web db": {1, oneName, ""},
		"version web db": {1, oneName, ""}, "active web": {1, tooMany, ""}, "env -u web": {1, "Error: Expected no machine name when the -u flag is present", ""},

		"active --nosuch": {2, badFlag, "Incorrect Usage."}, "config --nosuch web": {2, badFlag, ""}, "env --nosuch web": {2, badFlag, ""},
		"help --nosuch": {2, badFlag, "Incorrect Usage."}, "inspect web --nosuch": {2, badFlag, "Incorrect Usage."}, "ip --nosuch web": {2, badFlag, "Incorrect Usage."},
		"ls -nosuch": {2, badFlag, "Incorrect Usage."}, "status web --nosuch=x": {2, badFlag, "Incorrect Usage."}, "url --nosuch": {2, badFlag, "Incorrect Usage."},
		"version --nosuch": {2, badFlag, "Incorrect Usage."}, "--nosuch ls": {2, badFlag, "Incorrect Usage."},
		"ls --timeout soon": {2, `invalid value "soon" for flag -timeout`, "Incorrect Usage."}, "active -t soon": {2, `invalid value "soon" for flag -timeout`, "Incorrect Usage."},
		"env web --shell": {2, "flag needs an argument: -shell", ""}, "ls --filter": {2, "flag needs an argument: -filter", "Incorrect Usage."},
		"--output xml ls": {2, `--output is text or json, not "xml"`, ""}, "ls -q=maybe": {2, `invalid value "maybe" for flag -quiet`, "Incorrect Usage."},

		"ls --format {{.Nosuch}}": {1, badForm, ""}, "ls -f {{": {1, badForm, ""}, "ls -f {{json}}": {1, badForm, ""}, "inspect web -f {{": {1, badForm, ""},
		"inspect web -f {{.Name.X}}": {1, badForm, ""}, "inspect web -f {{template}}": {1, badForm, ""},
		"ls --filter x": {1, "Unsupported filter syntax", ""}, "ls --filter x=y": {1, "Unsupported filter key 'x'", ""}, "ls --filter name=[": {1, "error parsing regexp: ", ""},
		"ls -q --filter =x": {1, "Unsupported filter key ''", ""},
		"nosuch":            {1, "mctl: 'nosuch' is not a mctl command. See 'mctl --help'.", ""}, "help nosuch": {1, "mctl: 'nosuch' is not a mctl command. See 'mctl --help'.", ""},
	} {
		code, out, err := said(t, c, strings.Fields(line)...)
		if code != want.code || !strings.HasPrefix(err, want.sentence) || want.sentence == "" && err != "" || !strings.HasPrefix(out, want.out) || want.out == "" && out != "" {
			t.Errorf("%s: code %d, %q, %q", line, code, out, err)
		}
		if code != 0 && !strings.Contains(err, "\nHint: ") && want.sentence != notThere {
			t.Errorf("%s gives no hint: %q", line, err)
		}
	}
}

// hostile are texts that mean more than themselves to a shell, a terminal, a template or us.
func hostile() []string {
	return []string{
		"$(touch PWNED)", "`touch PWNED`", `"; touch PWNED; "`, "'; touch PWNED; '", "a\ntouch PWNED\n", "a\r\nb", "--force", "-rf", "--output=json", "../../etc", "/", ".", "",
		"\x1b]0;title\x07\x1b[2J", "\u009b2J", "\u202egnp.exe", "a\x00b", "\xff\xfe", "{{.Name}}", "%s%n%d", "a b", strings.Repeat("x", 10000), "größe",
	}
}

// painted finds what would do something else to a terminal than to show text.
func painted(text string) bool {
	return strings.ContainsFunc(text, func(r rune) bool {
		return r != '\n' && r != '\t' && (unicode.IsControl(r) || unicode.Is(unicode.Bidi_Control, r))
	})
}

func TestHostileTextIsLiteralOrRefusedNeverRunOrPainted(t *testing.T) {
	c := fleet(t)
	c.Drivers = []*controllerv1.Driver{{Name: "fake"}}
	t.Chdir(t.TempDir())
	for _, h := range hostile() {
		for _, words := range [][]string{
			{"status", "--", h}, {"url", "--", h}, {"ip", "--", "web", h}, {"inspect", "--", h}, {"config", "--", h}, {"env", "--", h}, {"version", "--", h},
			{"inspect", "--format", h, "web"}, {"ls", "--format", h}, {"ls", "--format", "table " + h}, {"ls", "-q", "--filter", "name=" + h}, {"ls", "--filter", "label=" + h},
			{"ls", "--filter", "driver=" + h}, {"ls", "--filter", h + "=x"}, {"ls", "--filter", h}, {"ls", "--timeout", h}, {"ls", "--" + h}, {"--output", h, "ls"},
			{"env", "--shell", h, "web"}, {"env", "-u", "--", h}, {"active", "--", h}, {"help", "--", h}, {"--", h}, {"--context", h, "status", "web"},
			{"create", "--driver", "fake", "--", h}, {"create", "--driver", h, "x"}, {"create", "--driver", "fake", "--engine-install", h, "x"}, {"create", "--driver", "fake", "--", "a", h},
			{"create", "--driver", "fake", "--wait-ssh", h, "x"}, {"create", "--driver", "fake", "--engine-label", h, "web"},
		} {
			code, out, err := said(t, c, words...)
			if painted(out) || painted(err) {
				t.Errorf("%q paints %q, %q", words, out, err)
			}
			if code != 0 && err == "" {
				t.Errorf("%q: code %d and no sentence", words, code)
			}
			if last := words[len(words)-1]; last == h && slices.Contains([]string{"status", "url", "ip", "inspect", "config", "version", "create"}, words[0]) && code == 0 {
				t.Errorf("%q went well: %q", words, out)
			}
		}
	}
	if left, _ := os.ReadDir("."); len(left) > 0 {
		t.Errorf("somebody made %v", left)
	}
}

func TestTextsOfAHostileControllerAreNeverPainted(t *testing.T) {
	c := fleet(t)
	const bad = "\x1b[2J\u009b2J\u202e$(touch PWNED)`touch PWNED`\"';\r\ntouch PWNED\n"
	web := controllertest.Running("web", "10.128.0.2")
	web.Spec.Driver = "nspawn" + bad
	web.Spec.Engine = &controllerv1.EngineSpec{Labels: []string{"a=" + bad}, StorageDriver: bad, InstallUrl: bad, Options: []string{bad}, Env: []string{bad}}
	web.Spec.DriverOptions = []*controllerv1.DriverOption{{Name: bad, Values: []string{bad}}}
	web.Spec.TlsSans = []string{bad}
	web.Status.Error, web.Status.Engine = bad, &controllerv1.EngineStatus{Version: bad}
	web.Status.Ssh = &controllerv1.SSHEndpoint{User: bad}
	c.Put(web)
	c.Put(func() *controllerv1.Machine {
		m := controllertest.Running("odd", "10.128.0.3")
		m.Status.State, m.Status.Url, m.Status.Address = bad, "tcp://"+bad, bad
		return m
	}())
	t.Chdir(t.TempDir())
	for _, words := range [][]string{
		{"ls"}, {"ls", "-q"}, {"ls", "--format", "{{.}}"}, {"ls", "--format", "table {{.EngineOptions}} {{.Error}}"}, {"ls", "--output", "json"}, {"inspect", "web"},
		{"inspect", "-f", "{{.}}", "web"}, {"inspect", "-f", "{{json .}}", "web"}, {"inspect", "--output", "json", "web"}, {"status", "odd"}, {"url", "odd"}, {"ip", "odd"},
		{"version", "web"}, {"env", "odd"}, {"env", "web"}, {"config", "odd"}, {"status", "--output", "json", "odd"},
	} {
		code, out, err := said(t, c, words...)
		if painted(out) || painted(err) {
			t.Errorf("%q paints %q, %q", words, out, err)
		}
		if slices.Contains(words, "json") && !json.Valid([]byte(out)) {
			t.Errorf("%q is no document: %q", words, out)
		}
		if words[0] != "env" || code != 0 {
			continue
		}
		for _, eval := range []string{`eval "$LINES_"`, "eval $LINES_"} { // as the hint has it, and quoted
			shell := exec.Command("sh", "-c", eval)
			shell.Env = append(os.Environ(), "LINES_="+out)
			if text, err := shell.CombinedOutput(); err != nil {
				t.Errorf("%q gives %q, of which sh says %q, %v", words, out, text, err)
			}
		}
	}
	if _, _, err := said(t, c, "env", "odd"); !strings.Contains(err, "no shell can be told") {
		t.Errorf("an address with control characters is told to a shell: %q", err)
	}
	if left, _ := filepath.Glob("*"); len(left) > 0 {
		t.Errorf("somebody made %v", left)
	}
}
