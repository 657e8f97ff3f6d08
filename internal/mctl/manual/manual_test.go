package manual

import (
	"os/exec"
	"strings"
	"testing"

	"github.com/spf13/cobra"
)

// odd is a command whose words mean something to roff and to Markdown.
func odd() *cobra.Command {
	root := &cobra.Command{Use: "mctl", Short: "All."}
	command := &cobra.Command{
		Use: "do NAME", Short: "Do a|b", Long: ".so /etc/passwd\n'br\n\\fBnot bold\\fR -x", Example: "mctl do 'a b' `c` ~/d ^e \\f",
		Run: func(*cobra.Command, []string) {},
	}
	command.Flags().StringP("format", "f", "a|b", "Form, a|b.")
	command.Flags().StringArray("list", []string{"one"}, "Many")
	command.Flags().Bool("quiet", false, "Silence")
	command.Flags().String("secret", "", "never")
	command.Flags().Lookup("secret").Hidden = true
	root.AddCommand(command, &cobra.Command{Use: "hidden", Hidden: true, Run: func(*cobra.Command, []string) {}})
	return root
}

func TestMarkdownSaysWhatTheCommandSays(t *testing.T) {
	files := Markdown("mctl", odd())
	want := "# mctl do\n\nDo a|b.\n\n```text\nmctl do [OPTIONS] NAME\n```\n\n.so /etc/passwd\n'br\n\\fBnot bold\\fR -x\n\n" +
		"| option | variable | default | |\n|---|---|---|---|\n| `--format STRING`, `-f` |  | `a\\|b` | Form, a\\|b. |\n" +
		"| `--list STRING` |  | `one` | Many; may be repeated |\n| `--quiet` |  |  | Silence |\n\n" +
		"For example:\n\n```sh\nmctl do 'a b' `c` ~/d ^e \\f\n```\n"
	if files["do.md"] != want || len(files) != 2 {
		t.Errorf("%d files, %s, want %s", len(files), files["do.md"], want)
	}
	if !strings.Contains(files["README.md"], "| [`do`](do.md) | Do a\\|b |\n") || strings.Contains(files["README.md"], "hidden") {
		t.Error(files["README.md"])
	}
}

func TestNothingInAManualPageIsTakenForARequest(t *testing.T) {
	page := Man("mctl", odd())["mctl-do.1"]
	for _, want := range []string{"\n\\&.so /etc/passwd\n\\(aqbr\n\\efBnot bold\\efR \\-x\n", "\nmctl do \\(aqa b\\(aq \\(gac\\(ga \\(ti/d", "Otherwise a|b."} {
		if !strings.Contains(page, want) {
			t.Errorf("no %q in\n%s", want, page)
		}
	}
	if strings.Contains(page, "secret") {
		t.Error("a hidden flag is told")
	}
	groff, err := exec.LookPath("groff")
	if err != nil {
		t.Log("not checked: groff not installed")
		return
	}
	command := exec.Command(groff, "-man", "-Tascii", "-P-cbou", "-ww")
	command.Stdin = strings.NewReader(page)
	shown, err := command.CombinedOutput()
	for _, want := range []string{".so /etc/passwd", `\fBnot bold\fR -x`, "mctl do 'a b' `c` ~/d ^e \\f"} {
		if err != nil || !strings.Contains(string(shown), want) {
			t.Errorf("no %q, %v, in\n%s", want, err, shown)
		}
	}
}
