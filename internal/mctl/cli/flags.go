package cli

import (
	"strings"

	"github.com/spf13/pflag"

	"mctl/internal/mctl/argv"
)

// Text returns a flag's text: from the command line, else from its variable, else its default. An empty variable counts as
// none.
func (e *Env) Text(flags *pflag.FlagSet, name string) string {
	flag := flags.Lookup(name)
	if variable := argv.Variable(flag); !flag.Changed && variable != "" {
		if value := e.Getenv(variable); value != "" {
			return value
		}
	}
	return flag.Value.String()
}

// Strings returns a list flag's values: from the command line, else its variable split at commas, else its default.
func (e *Env) Strings(flags *pflag.FlagSet, name string) []string {
	flag := flags.Lookup(name)
	if variable := argv.Variable(flag); !flag.Changed && variable != "" {
		if value := e.Getenv(variable); value != "" {
			return SplitList(value)
		}
	}
	values, _ := flags.GetStringArray(name)
	return values
}

// SplitList splits the value of a variable at commas.
func SplitList(value string) []string {
	var values []string
	for part := range strings.SplitSeq(value, ",") {
		if part = strings.TrimSpace(part); part != "" {
			values = append(values, part)
		}
	}
	return values
}
