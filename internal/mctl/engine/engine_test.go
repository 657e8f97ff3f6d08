package engine

import (
	"bytes"
	"context"
	"errors"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"mctl/internal/fault"
	"mctl/internal/mctl/cli"
	"mctl/internal/mctl/controllertest"
	controllerv1 "mctl/proto/mctl/controller/v1"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var args = []string{"mctl", "env", "web"}

func TestEachShellGetsItsOwnLines(t *testing.T) {
	variables := []variable{{"DOCKER_HOST", "tcp://10.0.0.1:2376"}, {"DOCKER_MACHINE_NAME", "web"}}
	for shell, want := range map[string][2]string{
		"bash": {
			"export DOCKER_HOST=\"tcp://10.0.0.1:2376\"\nexport DOCKER_MACHINE_NAME=\"web\"\n# Run this command to configure your shell: \n# eval $(mctl env web)\n",
			"unset DOCKER_HOST\nunset DOCKER_MACHINE_NAME\n# Run this command to configure your shell: \n# eval $(mctl env web)\n",
		},
		"fish": {
			"set -gx DOCKER_HOST \"tcp://10.0.0.1:2376\";\nset -gx DOCKER_MACHINE_NAME \"web\";\n# Run this command to configure your shell: \n# eval (mctl env web)\n",
			"set -e DOCKER_HOST;\nset -e DOCKER_MACHINE_NAME;\n# Run this command to configure your shell: \n# eval (mctl env web)\n",
		},
		"powershell": {
			"$Env:DOCKER_HOST = \"tcp://10.0.0.1:2376\"\n$Env:DOCKER_MACHINE_NAME = \"web\"\n# Run this command to configure your shell: \n# & mctl env web | Invoke-Expression\n",
			"Remove-Item Env:\\\\DOCKER_HOST\nRemove-Item Env:\\\\DOCKER_MACHINE_NAME\n# Run this command to configure your shell: \n# & mctl env web | Invoke-Expression\n",
		},
		"cmd": {
			"SET DOCKER_HOST=tcp://10.0.0.1:2376\nSET DOCKER_MACHINE_NAME=web\nREM Run this command to configure your shell: \nREM \t@FOR /f \"tokens=*\" %i IN ('mctl env web') DO @%i\n",
			"SET DOCKER_HOST=\nSET DOCKER_MACHINE_NAME=\nREM Run this command to configure your shell: \nREM \t@FOR /f \"tokens=*\" %i IN ('mctl env web') DO @%i\n",
		},
		"tcsh": {
			"setenv DOCKER_HOST \"tcp://10.0.0.1:2376\";\nsetenv DOCKER_MACHINE_NAME \"web\";\n: Run this command to configure your shell: \n: eval `mctl env web`\n",
			"unsetenv DOCKER_HOST;\nunsetenv DOCKER_MACHINE_NAME;\n: Run this command to configure your shell: \n: eval `mctl env web`\n",
		},
		"emacs": {
			"(setenv \"DOCKER_HOST\" \"tcp://10.0.0.1:2376\")\n(setenv \"DOCKER_MACHINE_NAME\" \"web\")\n;; Run this command to configure your shell: \n;; (with-temp-buffer (shell-command \"mctl env web\" (current-buffer)) (eval-buffer))\n",
			"(setenv \"DOCKER_HOST\" nil)\n(setenv \"DOCKER_MACHINE_NAME\" nil)\n;; Run this command to configure your shell: \n;; (with-temp-buffer (shell-command \"mctl env web\" (current-buffer)) (eval-buffer))\n",
		},
	} {
		for i, unset := range []bool{false, true} {
			var out bytes.Buffer
			if err := writeShell(&out, shell, variables, unset, args); err != nil || out.String() != want[i] {
				t.Errorf("%s, unset %v:\n%q, %v, want\n%q", shell, unset, out.String(), err, want[i])
			}
		}
	}
	for _, kin := range []string{"sh", "zsh", "ksh", "dash", "nosuch"} {
		var out, bash bytes.Buffer
		_ = writeShell(&out, kin, variables, false, args)
		_ = writeShell(&bash, "bash", variables, false, args)
		if out.String() != bash.String() {
			t.Errorf("%s gets %q", kin, out.String())
		}
	}
}

// hostile are values that mean more than themselves to one shell or another.
var hostile = []string{
	`$(touch PWNED)`, "`touch PWNED`", `"; touch PWNED; echo "`, `a\"; touch PWNED; echo \"`, `$HOME`, `${IFS}`, `a\b`, `'; touch PWNED #`,
	`a b`, `a  b   c`, ` x `, `a*b?[c]{d,e}~`, `!x`, `a;b&c|d>e`, `%PATH%`, `trailing\`,
}

func TestValuesMeanThemselvesToEveryPosixShell(t *testing.T) {
	found := 0
	for _, shell := range []string{"sh", "dash", "bash", "zsh", "ksh"} {
		path, err := exec.LookPath(shell)
		if err != nil {
			continue
		}
		found++
		for _, value := range hostile {
			var lines bytes.Buffer
			if err := writeShell(&lines, shell, []variable{{"VALUE", value}}, false, args); err != nil {
				t.Fatal(err)
			}
			for how, script := range map[string]string{"quoted": `eval "$LINES_"; printf %s "$VALUE"`, "as the hint says": `eval $LINES_; printf %s "$VALUE"`} {
				command := exec.Command(path, "-c", script)
				command.Dir, command.Env = t.TempDir(), append(os.Environ(), "LINES_="+lines.String())
				if shell == "zsh" && how != "quoted" {
					continue // it does not split, so the comment would take the rest
				}
				output, err := command.CombinedOutput()
				if err != nil || string(output) != value {
					t.Errorf("%s, %s: %q became %q, %v", shell, how, value, output, err)
				}
				if left, _ := os.ReadDir(command.Dir); len(left) > 0 {
					t.Errorf("%s ran what is in %q", shell, value)
				}
			}
		}
	}
	if found == 0 {
		t.Fatal("there is no shell here")
	}
}

// Those that are not here have their lines compared below all the same.
func TestValuesMeanThemselvesToRealShellsOfOtherKinds(t *testing.T) {
	for shell, script := range map[string]string{
		"fish": "echo \"$LINES_\" | source; printf %s \"$VALUE\"",
		"tcsh": "eval `cat lines`; printenv VALUE", // as the hint says
	} {
		path, err := exec.LookPath(shell)
		if err != nil {
			t.Logf("%s is not here", shell)
			continue
		}
		for _, value := range hostile {
			var lines bytes.Buffer
			if err := writeShell(&lines, shell, []variable{{"VALUE", value}}, false, []string{"mctl", "-s", value, "env"}); err != nil {
				t.Fatal(err)
			}
			command := exec.Command(path, "-c", script)
			if shell == "tcsh" {
				command = exec.Command(path, "-f", "-c", script)
			}
			command.Dir, command.Env = t.TempDir(), append(os.Environ(), "LINES_="+lines.String())
			write(t, filepath.Join(command.Dir, "lines"), lines.String())
			output, err := command.CombinedOutput()
			if err != nil || strings.TrimSuffix(string(output), "\n") != value {
				t.Errorf("%s: %q became %q, %v, by %q", shell, value, output, err, lines.String())
			}
			if left, _ := os.ReadDir(command.Dir); len(left) != 1 {
				t.Errorf("%s ran what is in %q", shell, value)
			}
		}
	}
}

func TestValuesMeanThemselvesToTheOtherShells(t *testing.T) {
	for shell, c := range map[string]struct{ value, want string }{
		"fish":       {`a"$(x)\`, `set -gx V "a\"\$(x)\\";`},
		"powershell": {"a\"$(x)`“b”", "$Env:V = \"a`\"`$(x)```“b`”\""},
		"tcsh":       {"a\"$b`c`!", "setenv V \"a\"'\"'\"\"'$'\"b\"'`'\"c\"'`'\"\\!\";"},
		"emacs":      {`a"(x)\`, `(setenv "V" "a\"(x)\\")`},
		"cmd":        {`a&b|c`, `SET V=a&b|c`},
	} {
		var out bytes.Buffer
		if err := writeShell(&out, shell, []variable{{"V", c.value}}, false, args); err != nil || !strings.HasPrefix(out.String(), c.want+"\n") {
			t.Errorf("%s: %q, %v, want %q", shell, out.String(), err, c.want)
		}
	}
	for _, value := range []string{"a\nb", "a\rb", "\x1b]0;x\x07", "a\x00b"} {
		var out bytes.Buffer
		if err := writeShell(&out, "sh", []variable{{"V", value}}, false, args); !fault.Is(err, fault.Precondition) || out.Len() > 0 {
			t.Errorf("%q: %q, %v", value, out.String(), err)
		}
	}
}

func TestHintRepeatsTheCommandLiterally(t *testing.T) {
	for _, c := range []struct {
		shell string
		args  []string
		want  string
	}{
		{"bash", []string{"mctl", "env", "web"}, "# eval $(mctl env web)"},
		{"bash", []string{"/a b/mctl", "env"}, `# eval $("/a b/mctl" env)`},
		{"cmd", []string{`C:\mctl.exe`, "env"}, "REM \t@FOR /f \"tokens=*\" %i IN ('\"C:\\mctl.exe\" env') DO @%i"},
		{"bash", []string{"mctl", "-s", "/a b", "env", "web"}, "# eval $(mctl -s '/a b' env web)"},
		{"bash", []string{"mctl", "-s", "it's $(id)`id`", "env"}, "# eval $(mctl -s 'it'\\''s $(id)`id`' env)"},
		{"fish", []string{"mctl", "-s", `it's \$(id)`, "env"}, `# eval (mctl -s 'it\'s \\$(id)' env)`},
		{"powershell", []string{"mctl", "-s", "it's ’$(id)", "env"}, "# & mctl -s 'it''s ’’$(id)' env | Invoke-Expression"},
		{"tcsh", []string{"mctl", "-s", "$(id)", "env"}, ": eval `mctl -s '$(id)' env`"},
		{"tcsh", []string{"mctl", "-s", "`id`", "env"}, ""},
		{"tcsh", []string{"mctl", "-s", "!x", "env"}, ""},
		{"cmd", []string{"mctl", "-s", "a&b", "env"}, ""},
		{"emacs", []string{"mctl", "-s", `"a\`, "env"}, `;; (with-temp-buffer (shell-command "mctl -s '\"a\\' env" (current-buffer)) (eval-buffer))`},
		{"bash", []string{"mctl", "-s", "a\n rm -rf /", "env"}, ""},
		{"bash", []string{"mctl", "-s", "\x1b]0;x\x07", "env"}, ""},
		{"bash", []string{"mctl", "-s", "\u202egnp", "env"}, ""},
	} {
		var out bytes.Buffer
		if err := writeShell(&out, c.shell, nil, true, c.args); err != nil {
			t.Fatal(err)
		}
		_, got, _ := strings.Cut(out.String(), "configure your shell: \n")
		if strings.TrimSuffix(got, "\n") != c.want || c.want == "" && out.Len() > 0 {
			t.Errorf("%s, %q: %q, want %q", c.shell, c.args, out.String(), c.want)
		}
	}
}

func TestShellIsThatOfTheFlagElseTheCallers(t *testing.T) {
	for _, c := range []struct{ flag, shell, fish, want string }{
		{"fish", "/bin/bash", "", "fish"},
		{"", "/usr/bin/zsh", "", "zsh"},
		{"", "tcsh", "", "tcsh"},
		{"", "/bin/bash", "/usr/bin", "bash"},
		{"", "", "/usr/bin", "fish"},
		{"", "", "", ""},
	} {
		getenv := func(name string) string { return map[string]string{"SHELL": c.shell, "__fish_bin_dir": c.fish}[name] }
		if got := shellName(c.flag, getenv); got != c.want {
			t.Errorf("%+v: %q", c, got)
		}
	}
}

// fresh is a machine whose engine answers, and the world of a command for it.
func fresh(t *testing.T, ping http.HandlerFunc) (*controllertest.Controller, *controllerv1.Machine) {
	t.Helper()
	c := controllertest.New(t)
	m := controllertest.Running("web", "127.0.0.1")
	m.Status.Url = c.Authority().Engine(t, ping)
	c.Put(m)
	return c, m
}

func well(w http.ResponseWriter, r *http.Request) {
	if r.URL.Path != "/_ping" {
		w.WriteHeader(http.StatusNotFound)
	}
}

func TestEngineIsTriedWithTheMachinesCertificates(t *testing.T) {
	c, m := fresh(t, well)
	env := c.Env()
	folder, unreached, err := Reach(t.Context(), env, m)
	if err != nil || unreached != nil {
		t.Fatalf("%v, %v", unreached, err)
	}
	if err := Check(t.Context(), folder, m.GetStatus().GetUrl()); err != nil {
		t.Error(err)
	}
	for what, spoil := range map[string]func(){
		"another key":   func() { write(t, folder.File("key.pem"), "x") },
		"another CA":    func() { write(t, folder.File("ca.pem"), "x") },
		"no CA at all":  func() { _ = os.Remove(folder.File("ca.pem")) },
		"a CA's folder": func() { _ = os.RemoveAll(folder.Path) },
	} {
		if _, err := env.WriteFiles(t.Context(), m, false); err != nil {
			t.Fatal(err)
		}
		spoil()
		if Check(t.Context(), folder, m.GetStatus().GetUrl()) == nil {
			t.Errorf("%s is good enough", what)
		}
	}
}

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestCertificatesOfAFormerAuthorityAreReplacedOnce(t *testing.T) {
	c, m := fresh(t, well)
	env := c.Env()
	if _, unreached, err := Reach(t.Context(), env, m); err != nil || unreached != nil {
		t.Fatal(unreached, err)
	}
	next := controllertest.NewAuthority(t)
	c.Use(next)
	m.Status.Url = next.Engine(t, well)
	if _, unreached, err := Reach(t.Context(), env, m); err != nil || unreached != nil {
		t.Errorf("after the authority changed: %v, %v", unreached, err)
	}
	m.Status.Url = controllertest.NewAuthority(t).Engine(t, well) // an engine that is none of ours
	_, unreached, err := Reach(t.Context(), env, m)
	if err != nil || !badCertificate(unreached) {
		t.Errorf("a foreign engine: %v, %v", unreached, err)
	}
	issued := 0
	for _, call := range c.Calls() {
		if call == "IssueClientCertificate" {
			issued++
		}
	}
	if issued != 3 {
		t.Errorf("%d certificates were made", issued)
	}
}

func TestWhatDoesNotAnswerWellIsToldInOneClause(t *testing.T) {
	c, m := fresh(t, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusInternalServerError) })
	folder, unreached, err := Reach(t.Context(), c.Env(), m)
	if err != nil || unreached == nil || unreached.Error() != "the engine answers 500 Internal Server Error" {
		t.Errorf("%v, %v", unreached, err)
	}
	if err := Check(t.Context(), folder, ""); err == nil || err.Error() != "the machine has no address" {
		t.Errorf("%v", err)
	}
	if err := Check(t.Context(), folder, "tcp://127.0.0.1:1"); err == nil {
		t.Error("a closed port answers")
	}
	release := make(chan struct{})
	defer close(release)
	url := c.Authority().Engine(t, func(http.ResponseWriter, *http.Request) { <-release })
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	if err := Check(ctx, folder, url); err == nil || !strings.HasPrefix(err.Error(), "the engine does not answer") {
		t.Errorf("%v", err)
	}
}

func TestOnlyARunningHostHasAURL(t *testing.T) {
	for state, want := range map[string]string{"Running": "tcp://10.0.0.1:2376", "Error": "tcp://10.0.0.1:2376", "Stopped": "", "Stopping": "", "Starting": "", "Paused": "", "Saved": ""} {
		m := controllertest.Running("web", "10.0.0.1")
		m.Status.State = state
		if got, err := URL(m); got != want || (want == "") != errors.Is(err, ErrNotRunning) {
			t.Errorf("%s: %q, %v", state, got, err)
		}
	}
	m := controllertest.Running("web", "")
	m.Status.Url = ""
	if _, err := URL(m); !errors.Is(err, ErrNotRunning) {
		t.Errorf("without an address: %v", err)
	}
}

// run calls a command as the root does.
func run(env *cli.Env, args ...string) error {
	for _, command := range Commands(env) {
		if command.Name() == args[0] {
			command.SetArgs(args[1:])
			command.SilenceErrors, command.SilenceUsage = true, true
			return command.Execute()
		}
	}
	return errors.New("no such command")
}

func TestConfigPrintsFiveLinesWhenTheEngineAnswers(t *testing.T) {
	c, m := fresh(t, well)
	env := c.Env()
	if err := run(env, "config", "web", "ignored"); err != nil {
		t.Fatal(err)
	}
	folder := filepath.Join(c.Dir().Root, "machines", "web")
	want := "--tlsverify\n--tlscacert=\"" + folder + "/ca.pem\"\n--tlscert=\"" + folder + "/cert.pem\"\n--tlskey=\"" + folder + "/key.pem\"\n-H=" + m.GetStatus().GetUrl() + "\n"
	if got := env.Out.(*bytes.Buffer).String(); got != want {
		t.Errorf("%q, want %q", got, want)
	}
	stopped := controllertest.Running("off", "127.0.0.1")
	stopped.Status.State = "Stopped"
	dead := controllertest.Running("dead", "127.0.0.1")
	dead.Status.Url = "tcp://127.0.0.1:1"
	c.Put(stopped)
	c.Put(dead)
	for name, want := range map[string]string{
		"off": "Error running connection boilerplate: Host is not running",
		"dead": "Error running connection boilerplate: Error checking and/or regenerating the certs: There was an error validating certificates for host \"127.0.0.1:1\": " +
			"dial tcp 127.0.0.1:1: connect: connection refused\nYou can attempt to regenerate them using 'mctl regenerate-certs [name]'.",
	} {
		if err := run(c.Env(), "config", name); err == nil || err.Error() != want || fault.HintOf(err) == "" {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := run(c.Env(), "config", "--swarm", "web"); err == nil || err.Error() != `"web" is not a swarm master. The --swarm flag is intended for use with swarm masters` {
		t.Errorf("--swarm: %v", err)
	}
}

func TestEnvFollowsTheCallersProxyVariables(t *testing.T) {
	for name, c := range map[string]struct {
		variables   []string
		set, remove string
	}{
		"none":                     {nil, `export NO_PROXY="10.0.0.1"`, "unset NO_PROXY"},
		"upper case":               {[]string{"NO_PROXY=a"}, `export NO_PROXY="a,10.0.0.1"`, "unset NO_PROXY"},
		"lower case first":         {[]string{"NO_PROXY=a", "no_proxy=b"}, `export no_proxy="b,10.0.0.1"`, "unset no_proxy"},
		"there already":            {[]string{"no_proxy=b,10.0.0.1"}, `export no_proxy="b,10.0.0.1"`, "unset no_proxy"},
		"nothing else is glued on": {[]string{"NO_PROXY=a,b"}, `export NO_PROXY="a,b,10.0.0.1"`, "unset NO_PROXY\n"},
	} {
		controller := controllertest.New(t, c.variables...)
		controller.Put(controllertest.Running("web", "10.0.0.1"))
		env := controller.Env("env")
		if err := run(env, "env", "--no-proxy", "web"); err != nil || !strings.Contains(env.Out.(*bytes.Buffer).String(), c.set+"\n") {
			t.Errorf("%s: %q, %v", name, env.Out, err)
		}
		env = controller.Env("env")
		if err := run(env, "env", "-u", "--no-proxy"); err != nil || !strings.Contains(env.Out.(*bytes.Buffer).String(), c.remove) {
			t.Errorf("%s: %q, %v", name, env.Out, err)
		}
	}
}
