package e2e

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	front "mctl/test/cloud/google"
)

// What docs/tutorial.md says is done here, on each kind of hosts that it is written for.

func TestTutorialOnHostsOfOnesOwn(t *testing.T) {
	t.Parallel()
	newLab(t).follow("nspawn")
}

func TestTutorialInGoogleCloud(t *testing.T) {
	t.Parallel()
	cloud := newGoogle(t, true, front.Config{Projects: []string{"my-project"}})
	newLab(t).follow("google", "GOOGLE_COMPUTE_CUSTOM_ENDPOINT="+cloud.server.URL+front.BasePath)
}

// follow runs the page's commands for one kind of hosts, as a script whose steps are its blocks.
func (l *lab) follow(kind string, environment ...string) {
	t := l.t
	page, err := os.ReadFile("../../docs/tutorial.md")
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), kind+".txtar")
	if err := os.WriteFile(file, []byte(lesson(string(page), kind)), 0o600); err != nil {
		t.Fatal(err)
	}
	start := time.Now()
	testscript.Run(t, testscript.Params{
		Files: []string{file},
		Setup: func(env *testscript.Env) error {
			env.Vars = append(l.environment(environment...), "PATH="+l.bin+":"+os.Getenv("PATH"), "HOME="+env.WorkDir, "WORK="+env.WorkDir)
			return nil
		},
		Cmds: map[string]func(ts *testscript.TestScript, neg bool, args []string){"image": l.image, "shows": shows},
	})
	t.Cleanup(func() { t.Logf("the tutorial took %s", time.Since(start).Round(time.Second)) })
}

// fence matches a block of the page, and what a test has to know that a reader has not.
var fence = regexp.MustCompile("(?ms)^```(sh|text)( [a-z]+)?\n(.*?)^```$|^<!-- test: (.*?) -->$")

// run has one block go on where the one before it ended: with its variables, functions and directory.
const run = `set -eu -o pipefail
if [ -e "$WORK/session" ]; then . "$WORK/session"; fi
. "$WORK/$1"
{ export -p; declare -f || true; printf 'cd %q\n' "$PWD"; } > "$WORK/session"
`

// lesson turns the page into a script: each block of commands is a step, and the text that follows is what it prints.
func lesson(page, kind string) string {
	var script, files strings.Builder
	step := 0
	for _, block := range fence.FindAllStringSubmatch(page, -1) {
		language, only, text, test := block[1], strings.TrimSpace(block[2]), block[3], block[4]
		switch {
		case test != "":
			fmt.Fprintln(&script, test)
		case only != "" && only != kind:
		case language == "sh":
			step++
			fmt.Fprintf(&script, "\n# Step %d: %s\nexec bash run step%d\ncp stdout printed\n", step, strings.SplitN(text, "\n", 2)[0], step)
			fmt.Fprintf(&files, "-- step%d --\n%s", step, text)
		default:
			fmt.Fprintf(&script, "shows printed text%d\n", step)
			fmt.Fprintf(&files, "-- text%d --\n%s", step, text)
		}
	}
	return script.String() + "-- run --\n" + run + files.String()
}

// image is the command `image MACHINE...`: it stands in for the registry that readers have.
func (l *lab) image(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) == 0 {
		ts.Fatalf("usage: image MACHINE...")
	}
	for _, name := range args {
		load := exec.Command("docker", "import", "-", "busybox:latest")
		load.Env, load.Stdin = l.environment(l.dockerEnv(name)...), strings.NewReader(string(busybox(l.t)))
		if output, err := load.CombinedOutput(); err != nil {
			ts.Fatalf("%s: %v: %s", name, err, output)
		}
	}
}

// shows is the command `shows PRINTED PAGE`: what was printed is what the page has.
func shows(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: shows PRINTED PAGE")
	}
	printed, page := ts.ReadFile(args[0]), ts.ReadFile(args[1])
	if !alike(page, printed) {
		ts.Fatalf("the page has\n%s\nand this was printed\n%s", page, printed)
	}
}

// alike compares what a page shows with what was printed, but for spaces, addresses, versions and the kind of hosts. … on the
// page stands for anything.
func alike(page, printed string) bool {
	for _, r := range []struct{ pattern, name string }{
		{`\d+\.\d+\.\d+\.\d+`, "ADDRESS"}, {`v\d+\.\d+\.\d+\S*`, "VERSION"}, {`\b(nspawn|google)\b`, "KIND"}, {`[ \t]+`, " "}, {` ?\n`, "\n"},
	} {
		pattern := regexp.MustCompile(r.pattern)
		page, printed = pattern.ReplaceAllString(page, r.name), pattern.ReplaceAllString(printed, r.name)
	}
	anything := strings.ReplaceAll(regexp.QuoteMeta(page), "…\n", "(.*\n)?")
	return regexp.MustCompile(`(?s)\A` + strings.ReplaceAll(anything, "…", ".*") + `\z`).MatchString(printed)
}

func TestTutorialIsComparedWithWhatIsPrinted(t *testing.T) {
	for _, c := range []struct {
		page, printed string
		same          bool
	}{
		{"web  10.1.2.3 v20.10.24\n", "web 192.0.2.77   v29.1.0-rc.1\n", true},
		{"made by nspawn\n", "made by google\n", true},
		{"a\n…\nz\n", "a\nb\nc\nz\n", true},
		{"a\n…\nz\n", "a\nz\n", true},
		{"a …\n", "a b\n", true},
		{"a\n", "a\nb\n", false},
		{"a\n", "b\na\n", false},
		{"a\nb\n", "a\n", false},
		{"", "a\n", false},
		{"a.c\n", "abc\n", false},
	} {
		if alike(c.page, c.printed) != c.same {
			t.Errorf("%q and %q: not %v", c.page, c.printed, c.same)
		}
	}
	script := lesson("# x\n```sh nspawn\nfirst\n```\n```sh google\nnever\n```\n<!-- test: image web -->\n```text\nseen\n```\n", "nspawn")
	want := "\n# Step 1: first\nexec bash run step1\ncp stdout printed\nimage web\nshows printed text1\n-- run --\n" + run + "-- step1 --\nfirst\n-- text1 --\nseen\n"
	if script != want {
		t.Errorf("%q, want %q", script, want)
	}
}
