package cli

import (
	"context"
	"errors"
	"fmt"
	"os"
	"regexp"
	"strings"

	"github.com/spf13/cobra"

	"mctl/internal/fault"
	"mctl/internal/mctl/output"
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
func Failf(format string, args ...any) *fault.Error {
	return fault.E("cli", fault.Invalid, "", fmt.Errorf(format, args...))
}

// Usagef is a mistake on the command line.
func Usagef(format string, args ...any) *fault.Error {
	return Failf(format, args...).WithReason(fault.ReasonUsage)
}

// Wrap puts words around a fault's sentence and keeps its kind, hint and reason. The format ends with %w for the fault.
func Wrap(err error, format string, args ...any) error {
	f := fault.E("cli", fault.KindOf(err), fault.SubjectOf(err), fmt.Errorf(format, append(args, err)...)).WithHint(fault.HintOf(err))
	return f.WithReason(fault.ReasonOf(err))
}

// Exit ends the program with a code of its own.
type Exit struct {
	Code     int
	Sentence string // empty where all has been said
	Hint     string
}

func (e Exit) Error() string { return e.Sentence }

// Is reports whether it stands for an end that was asked for.
func (e Exit) Is(target error) bool { return e.Code == ExitInterrupted && target == context.Canceled }

// Interrupted ends the program because its user had it stop.
func Interrupted(hint string) Exit { return Exit{ExitInterrupted, "interrupted", hint} }

// complaint is an error as people and scripts read it.
type complaint struct {
	Message string     `json:"message"`
	Hint    string     `json:"hint"`
	Kind    fault.Kind `json:"kind"`
	Subject string     `json:"subject,omitempty"`
}

// Complaints are errors as values for JSON.
func (e *Env) Complaints(err error) any { return e.complaints("mctl", err) }

// complaints takes joined errors apart, so that each is a sentence with a hint of its own.
func (e *Env) complaints(command string, err error) []complaint {
	all := []complaint{}
	for _, one := range unjoin(err) {
		var exit Exit
		var unwritten *os.PathError
		c := complaint{Message: one.Error(), Hint: fault.HintOf(one), Kind: fault.KindOf(one), Subject: fault.SubjectOf(one)}
		switch {
		case errors.As(one, &exit):
			c.Hint = exit.Hint
			if c.Kind = "interrupted"; exit.Code != ExitInterrupted {
				c.Kind = fault.Internal
			}
		case errors.Is(one, context.Canceled) && c.Hint == "":
			c.Message, c.Kind = "interrupted", "interrupted"
		case unknown.MatchString(c.Message):
			// docker-machine's sentence has the hint in it.
			c.Message += fmt.Sprintf(`. Use "%[1]s ls" to list machines. Use "%[1]s create" to add a new one.`, e.App())
		case c.Hint == "" && errors.As(one, &unwritten) && unwritten.Path == os.Stdout.Name():
			c.Hint = "make room where the output goes; what the command was for is done"
		case c.Hint == "":
			c.Hint = hints(command)[c.Kind]
		}
		c.Message = output.Plain(strings.TrimRight(c.Message, "\n"))
		c.Hint = output.Plain(strings.NewReplacer("`mctl ", "`"+e.App()+" ", "$(mctl ", "$("+e.App()+" ").Replace(c.Hint))
		all = append(all, c)
	}
	return all
}

// unknown is the controller's sentence for a name that is no machine's.
var unknown = regexp.MustCompile(`Docker machine "[^"]*" does not exist$`)

// hints are for errors that came without one.
func hints(command string) map[fault.Kind]string {
	return map[fault.Kind]string{
		fault.Invalid:         "see `" + command + " --help`",
		fault.NotFound:        "`mctl ls` lists the machines",
		fault.Exists:          "take another name, or remove the old one with `mctl rm NAME`",
		fault.Conflict:        "somebody else changed it meanwhile: look with `mctl ls`, then try again",
		fault.Denied:          "ask whoever runs the controller for access",
		fault.Unauthenticated: "make the context anew with an invitation: `mctl help context create`",
		fault.Quota:           "remove what is not needed, or wait for room",
		fault.Unavailable:     "try again; `mctl controller logs` tells more",
		fault.Precondition:    "`mctl ls` shows how the machines are",
		fault.Resync:          "try again",
		fault.Internal:        "`mctl controller logs` tells more, and so does --debug",
	}
}

// Report writes the command's result or its errors and returns the exit code. As text, errors go to standard error: the
// sentence first, the hint on the next line. With --output json, standard output gets one document in any case. command is
// what was called, such as "mctl ls".
func (e *Env) Report(command string, err error) int {
	var exit Exit
	if err == nil {
		err = e.lost // what was asked for is done, but whoever wanted to read about it has half of it
	}
	code := exitCode(err)
	if e.JSON() {
		if writeErr := e.reportJSON(command, err, code); err == nil && writeErr != nil {
			err, code = writeErr, ExitFailure
		}
	}
	if err == nil || errors.As(err, &exit) && exit.Sentence == "" {
		return code
	}
	e.complain(command, err)
	return code
}

// Complain writes errors for people.
func (e *Env) Complain(err error) { e.complain("mctl", err) }

func (e *Env) complain(command string, err error) {
	for _, c := range e.complaints(command, err) {
		fmt.Fprintln(e.Err, c.Message)
		if c.Hint != "" {
			fmt.Fprintln(e.Err, "Hint: "+c.Hint)
		}
	}
}

// failed is the document of a command that failed.
type failed struct {
	Errors   []complaint `json:"errors"`
	ExitCode int         `json:"exitCode"`
	Result   any         `json:"result,omitempty"` // of what went well all the same
}

func (e *Env) reportJSON(command string, err error, code int) error {
	var exit Exit
	write := output.JSON
	if e.streamed {
		write = output.JSONLine
	}
	switch {
	case err == nil && e.result == nil, errors.As(err, &exit) && exit.Sentence == "":
		return nil
	case err == nil:
		return write(e.Out, e.result)
	}
	return write(e.Out, failed{e.complaints(command, err), code, e.result})
}

func exitCode(err error) int {
	var exit Exit
	switch {
	case err == nil:
		return 0
	case errors.As(err, &exit):
		return exit.Code
	}
	switch fault.ReasonOf(err) {
	case fault.ReasonUsage:
		return ExitUsage
	case fault.ReasonPrecheck:
		return ExitPrecheck
	}
	return ExitFailure
}

// unjoin takes joined errors apart.
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

// NoArgs refuses any argument, in docker-machine's words.
func NoArgs(_ *cobra.Command, args []string) error {
	if len(args) > 0 {
		return Usagef("Error: Too many arguments given").WithHint("leave out " + strings.Join(args, " "))
	}
	return nil
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
