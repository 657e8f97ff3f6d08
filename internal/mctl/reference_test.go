package mctl

import (
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"mctl/internal/mctl/manual"
)

func TestReferenceIsThatOfTheCommands(t *testing.T) {
	const dir = "../../docs/commands"
	wanted := manual.Markdown("mctl", newRoot(world(t)))
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, entry := range entries {
		if _, there := wanted[entry.Name()]; !there {
			t.Errorf("docs/commands/%s is about no command (make docs)", entry.Name())
		}
	}
	for name, text := range wanted {
		if written, err := os.ReadFile(filepath.Join(dir, name)); err != nil || string(written) != text {
			t.Errorf("docs/commands/%s is not what the commands say (make docs), %v", name, err)
		}
	}
}

func TestEveryCommandAndFlagHasItsPlaceInTheManual(t *testing.T) {
	pages := manual.Man("mctl", newRoot(world(t)))
	if again := manual.Man("mctl", newRoot(world(t))); !maps.Equal(pages, again) {
		t.Error("the same commands give two manuals")
	}
	for name := range commands(t) {
		if command := commands(t)[name]; command.Name() != "help" && pages["mctl-"+strings.ReplaceAll(name, " ", "-")+".1"] == "" {
			t.Errorf("%s has no page", name)
		}
	}
	for _, part := range []string{`\fB\-\-driver\fR, \fB\-d\fR \fIstring\fR`, `Also by the variable \%MACHINE_DRIVER.`, ".SH EXAMPLES", `\fBmctl\fR(1)`} {
		if !strings.Contains(pages["mctl-create.1"], part) {
			t.Errorf("the page of create lacks %q:\n%s", part, pages["mctl-create.1"])
		}
	}
	for _, page := range manual.Man("docker-machine", newRoot(world(t))) {
		if strings.Contains(page, `\fBmctl`) || strings.Contains(page, "\nmctl ") {
			t.Errorf("a page of docker-machine's names mctl:\n%s", page)
		}
	}
}

func TestManualPagesAreGoodForMan(t *testing.T) {
	groff, err := exec.LookPath("groff")
	if err != nil {
		t.Log("not checked: groff not installed")
		return
	}
	dir := t.TempDir()
	pages := manual.Man("mctl", newRoot(world(t)))
	var files []string
	for name, text := range pages {
		files = append(files, filepath.Join(dir, name))
		if err := os.WriteFile(files[len(files)-1], []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	slices.Sort(files)
	for _, file := range files {
		if output, err := exec.Command(groff, "-man", "-Tutf8", "-ww", "-z", file).CombinedOutput(); err != nil || len(output) > 0 {
			t.Errorf("%s: %v: %s", filepath.Base(file), err, output)
		}
	}
	shown, err := exec.Command(groff, "-man", "-Tascii", "-P-cbou", filepath.Join(dir, "mctl-shell-init.1")).Output()
	if err != nil || !strings.Contains(string(shown), `eval "$(mctl shell-init bash)"`) {
		t.Errorf("an example is shown as something else: %v\n%s", err, shown)
	}
}
