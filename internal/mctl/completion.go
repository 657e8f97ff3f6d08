package mctl

import (
	"io"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"mctl/internal/mctl/cli"
)

// bashFallback stands in for bash-completion, which many machines lack: the words as bash itself splits them.
const bashFallback = `if ! declare -F _get_comp_words_by_ref >/dev/null; then
    _get_comp_words_by_ref() {
        cword=$COMP_CWORD words=("${COMP_WORDS[@]}")
        cur=${words[cword]} prev=${words[cword > 0 ? cword - 1 : 0]}
    }
fi
`

// newCompletion prints the script that has a shell ask us at each press of the tab key.
func newCompletion(env *cli.Env) *cobra.Command {
	shells := []string{"bash", "zsh", "fish", "powershell"}
	return &cobra.Command{
		Use: "completion SHELL", Short: "Print the script that completes command lines in " + strings.Join(shells, ", "),
		Example:   "source <(mctl completion bash)\nmctl completion zsh > ~/.zfunc/_" + env.App() + "\nmctl completion fish | source",
		ValidArgs: shells,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) != 1 || !slices.Contains(shells, args[0]) {
				return cli.Usagef("Error: Expected the name of a shell as an argument").WithHint("it is one of " + strings.Join(shells, ", "))
			}
			return nil
		},
		RunE: func(command *cobra.Command, args []string) error {
			var script strings.Builder
			if err := writeCompletion(&script, command.Root(), env.App(), args[0]); err != nil {
				return err
			}
			if env.JSON() {
				return env.Result(map[string]string{"script": script.String()})
			}
			_, err := io.WriteString(env.Out, script.String())
			return err
		},
	}
}

// writeCompletion writes the script for a program that is called app.
func writeCompletion(out io.Writer, root *cobra.Command, app, shell string) error {
	root.Use = app
	switch shell {
	case "zsh":
		return root.GenZshCompletion(out)
	case "fish":
		return root.GenFishCompletion(out, true)
	case "powershell":
		return root.GenPowerShellCompletionWithDesc(out)
	}
	if _, err := io.WriteString(out, bashFallback); err != nil {
		return err
	}
	return root.GenBashCompletionV2(out, true)
}
