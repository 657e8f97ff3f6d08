package use

import (
	"io"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"unicode"

	"github.com/spf13/cobra"

	"mctl/internal/fault"
	"mctl/internal/mctl/cli"
)

// shell is how one shell gets the function, and a prompt that names the machine. In the texts NAME stands for the function and
// PROGRAM for what it calls. A prompt runs nothing: it reads DOCKER_MACHINE_NAME.
type shell struct {
	init, profile string // how a profile evaluates what we print, and where it is
	hook, prompt  string
	quote         *strings.Replacer // makes a path mean itself between single quotes
}

// names are the shells that we know, in the order in which they are told.
func names() []string { return []string{"bash", "zsh", "fish", "powershell"} }

func shells() map[string]shell {
	return map[string]shell{
		"bash": {
			`eval "$(NAME shell-init bash)"`, "~/.bashrc", posixHook,
			// bash expands PS1 each time it shows it; what comes out is not expanded again.
			`case ${PS1-} in
*DOCKER_MACHINE_NAME*) ;;
*) PS1='${DOCKER_MACHINE_NAME:+[$DOCKER_MACHINE_NAME] }'${PS1-} ;;
esac
`, strings.NewReplacer(`'`, `'\''`),
		},
		"zsh": {
			`eval "$(NAME shell-init zsh)"`, "~/.zshrc", posixHook,
			// The name goes through psvar, since zsh would take a percent sign in a parameter for one of its own.
			`function _mctl_prompt { psvar[9]=${DOCKER_MACHINE_NAME-} }
autoload -Uz add-zsh-hook
add-zsh-hook precmd _mctl_prompt
case ${PROMPT-} in
*%9v*) ;;
*) PROMPT='%(9V.[%9v] .)'${PROMPT-} ;;
esac
`, strings.NewReplacer(`'`, `'\''`),
		},
		"fish": {
			`NAME shell-init fish | source`, "~/.config/fish/config.fish", fishHook,
			`if not functions -q _mctl_fish_prompt; and functions -q fish_prompt
    functions -c fish_prompt _mctl_fish_prompt
    function _mctl_status -a code
        return $code
    end
    function fish_prompt
        set -l before $status
        test -n "$DOCKER_MACHINE_NAME"; and echo -n "[$DOCKER_MACHINE_NAME] "
        _mctl_status $before
        _mctl_fish_prompt
    end
end
`, strings.NewReplacer(`\`, `\\`, `'`, `\'`),
		},
		"powershell": {
			`NAME shell-init powershell | Out-String | Invoke-Expression`, "$PROFILE", powershellHook,
			`if (-not (Test-Path Function:\_mctl_prompt)) {
    Copy-Item Function:\prompt Function:\global:_mctl_prompt
    function global:prompt {
        if ($Env:DOCKER_MACHINE_NAME) { "[$Env:DOCKER_MACHINE_NAME] $(_mctl_prompt)" } else { _mctl_prompt }
    }
}
`, strings.NewReplacer(`'`, `''`, "\u2018", "\u2018\u2018", "\u2019", "\u2019\u2019", "\u201a", "\u201a\u201a", "\u201b", "\u201b\u201b"),
		},
	}
}

const posixHook = `function NAME {
    if [ "${1-}" != use ]; then
        command PROGRAM "$@"
        return
    fi
    shift
    local lines code=0
    lines=$(command PROGRAM use --shell SHELL "$@") || code=$?
    case $code$lines in
    "0MARKER"*) eval "$lines" ;;
    *) [ -z "$lines" ] || printf '%s\n' "$lines" ;;
    esac
    return "$code"
}
`

const fishHook = `function NAME
    if test "$argv[1]" != use
        command PROGRAM $argv
        return
    end
    set -l lines (command PROGRAM use --shell SHELL $argv[2..-1])
    set -l code $status
    if test $code -eq 0 -a "$lines[1]" = "MARKER"
        string join \n -- $lines | source
    else
        string join \n -- $lines
    end
    return $code
end
`

const powershellHook = `function global:NAME {
    $program = Get-Command -CommandType Application -TotalCount 1 PROGRAM
    if ($args.Count -eq 0 -or $args[0] -cne 'use') {
        if ($MyInvocation.ExpectingInput) { $input | & $program @args } else { & $program @args }
        return
    }
    $rest = @($args | Select-Object -Skip 1)
    $lines = @(& $program use --shell SHELL @rest)
    if ($LASTEXITCODE -eq 0 -and $lines.Count -gt 0 -and $lines[0] -ceq 'MARKER') {
        Invoke-Expression ($lines -join [Environment]::NewLine)
    } else {
        $lines
    }
}
`

func newShellInit(env *cli.Env) *cobra.Command {
	var prompt bool
	command := &cobra.Command{
		Use: "shell-init SHELL", Short: "Print the function that makes `use` work in " + strings.Join(names(), ", "),
		Long:    "It goes into the shell's profile. With --prompt the prompt names the machine in use; no program runs for it.",
		Example: "eval \"$(mctl shell-init bash)\"\neval \"$(mctl shell-init zsh --prompt)\"\nmctl shell-init fish | source\nmctl shell-init powershell | Out-String | Invoke-Expression",
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) != 1 || !slices.Contains(names(), args[0]) {
				return cli.Usagef("Error: Expected the name of a shell as an argument").WithHint("it is one of " + strings.Join(names(), ", "))
			}
			return nil
		},
		ValidArgs: names(),
		RunE: func(_ *cobra.Command, args []string) error {
			script, err := script(env, args[0], prompt)
			if err != nil {
				return err
			}
			if env.JSON() {
				return env.Result(map[string]string{"script": script})
			}
			_, err = io.WriteString(env.Out, script)
			return err
		},
	}
	command.Flags().BoolVar(&prompt, "prompt", false, "Show the machine in use in front of the prompt")
	return command
}

// validName is what every shell takes for the name of a function.
var validName = regexp.MustCompile(`^[a-zA-Z][a-zA-Z0-9._-]*$`)

func script(env *cli.Env, name string, prompt bool) (string, error) {
	s, program := shells()[name], env.App()
	if len(env.Args) > 0 && strings.ContainsAny(env.Args[0], `/\`) {
		path, err := filepath.Abs(env.Args[0])
		if err != nil {
			return "", fault.E("use.script", fault.Internal, env.Args[0], err)
		}
		program = path
	}
	if !validName.MatchString(env.App()) || strings.ContainsFunc(program, unicode.IsControl) {
		return "", fault.New("use.script", fault.Precondition, env.App(), "no shell has a function that can be called as this program is").
			WithHint("call it mctl or docker-machine, by a link")
	}
	text := strings.NewReplacer(
		"NAME", env.App(), "PROGRAM", "'"+s.quote.Replace(program)+"'", "SHELL", name, "MARKER", marker,
	).Replace(s.hook)
	if prompt {
		text += s.prompt
	}
	return text, nil
}
