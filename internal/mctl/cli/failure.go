package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"regexp"
	"strings"

	"github.com/spf13/cobra"

	"mctl/internal/fault"
)

// Exit codes.
const (
	ExitFailure  = 1
	ExitUsage    = 2 // flags and usage
	ExitPrecheck = 3 // a create was refused before anything was made
	// ExitInterrupted is what a shell expects of who was interrupted.
	ExitInterrupted = 130
)

// Failf is a failure with a sentence for people.
func Failf(format string, args ...any) error {
	return fault.E("cli", fault.Invalid, "", fmt.Errorf(format, args...))
}

// Usagef is a mistake on the command line.
func Usagef(format string, args ...any) *fault.Error {
	return fault.E("cli", fault.Invalid, "", fmt.Errorf(format, args...)).WithReason(fault.ReasonUsage)
}

// Silent ends the program with a code and without a word: all has been said.
type Silent struct{ Code int }

func (s Silent) Error() string { return fmt.Sprintf("exit status %d", s.Code) }

// Wrap puts words around a fault's sentence and keeps its kind, hint and reason. The format ends with %w for the fault.
func Wrap(err error, format string, args ...any) error {
	f := fault.E("cli", fault.KindOf(err), fault.SubjectOf(err), fmt.Errorf(format, append(args, err)...)).WithHint(fault.HintOf(err))
	return f.WithReason(fault.ReasonOf(err))
}

// Report writes an error for people, the sentence first and the hint on the next line, and returns the exit code.
func (e *Env) Report(out io.Writer, err error) int {
	var silent Silent
	switch {
	case err == nil:
		return 0
	case errors.As(err, &silent):
		return silent.Code
	}
	for _, one := range unjoin(err) {
		e.sentence(out, one)
	}
	return exitCode(err)
}

func (e *Env) sentence(out io.Writer, err error) {
	if errors.Is(err, context.Canceled) && fault.HintOf(err) == "" {
		fmt.Fprintln(out, "interrupted")
		return
	}
	fmt.Fprintln(out, e.words(err.Error()))
	if hint := fault.HintOf(err); hint != "" {
		fmt.Fprintln(out, "Hint: "+hint)
	}
}

// unknown is the controller's sentence for a name that is no machine's.
var unknown = regexp.MustCompile(`Docker machine "[^"]*" does not exist$`)

// words completes the sentences that docker-machine's users know with what only the client knows: its own name.
func (e *Env) words(sentence string) string {
	if unknown.MatchString(sentence) {
		sentence += fmt.Sprintf(`. Use "%[1]s ls" to list machines. Use "%[1]s create" to add a new one.`, e.App())
	}
	return strings.TrimRight(sentence, "\n")
}

func exitCode(err error) int {
	switch fault.ReasonOf(err) {
	case fault.ReasonUsage:
		return ExitUsage
	case fault.ReasonPrecheck:
		return ExitPrecheck
	}
	return ExitFailure
}

// unjoin takes joined errors apart, so that each is a sentence with a hint of its own.
func unjoin(err error) []error {
	if joined, ok := err.(interface{ Unwrap() []error }); ok { //nolint:errorlint // the outermost alone
		var all []error
		for _, one := range joined.Unwrap() {
			all = append(all, unjoin(one)...)
		}
		return all
	}
	return []error{err}
}

// NoCommand is for a command that only has commands: without any it shows its help, an unknown one is docker-machine's error.
func NoCommand(env *Env) cobra.PositionalArgs {
	return func(command *cobra.Command, args []string) error {
		if len(args) == 0 {
			return nil
		}
		app := env.App() + strings.TrimPrefix(command.CommandPath(), command.Root().Name())
		return Failf("%s: '%s' is not a %s command. See '%s --help'.", app, args[0], app, app)
	}
}

// ShowHelp is what such a command does by itself.
func ShowHelp(command *cobra.Command, _ []string) error { return command.Help() }
