package cli

import (
	"io"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"mctl/internal/mctl/argv"
	"mctl/internal/mctl/output"
)

// Result keeps what a command answers with --output json until Report. A later one takes the place of an earlier one.
func (e *Env) Result(document any) error {
	e.result = document
	return nil
}

// Stream writes one of many documents on a line of its own, as it comes.
func (e *Env) Stream(document any) error {
	e.streamed = true
	return output.JSONLine(e.Out, document)
}

// Help is the help of one command. flags are its own.
func (e *Env) Help(command *cobra.Command, flags *pflag.FlagSet) string {
	return argv.Help(e.App(), command, flags)
}

// Answer writes a help text that was asked for.
func (e *Env) Answer(text string) {
	if e.JSON() {
		_ = e.Result(map[string]string{"help": text})
		return
	}
	_, _ = io.WriteString(spoken{e}, text)
}

// Remind writes a help text because a command was called wrongly. Beside a document there is no place for it.
func (e *Env) Remind(text string) {
	if !e.JSON() {
		_, _ = io.WriteString(spoken{e}, text)
	}
}
