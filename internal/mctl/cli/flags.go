package cli

import (
	"errors"
	"slices"
	"strings"

	"github.com/spf13/pflag"
)

// Normalize rewrites a command line as docker-machine's users write it for our parser: a long flag may have one dash. It
// stops at "--". find returns a flag by its name, or nil.
func Normalize(args []string, find func(name string) *pflag.Flag) []string {
	args = slices.Clone(args)
	for i := 0; i < len(args); i++ {
		arg := args[i]
		if arg == "--" {
			break
		}
		if len(arg) < 2 || arg[0] != '-' {
			continue
		}
		name, _, assigned := strings.Cut(strings.TrimLeft(arg, "-"), "=")
		flag := find(name)
		if flag == nil {
			continue
		}
		if len(name) > 1 && !strings.HasPrefix(arg, "--") {
			args[i] = "-" + arg
		}
		if !assigned && flag.NoOptDefVal == "" {
			i++ // the value, whatever it looks like
		}
	}
	return args
}

// Finder looks a flag up in sets, by long or short name.
func Finder(sets ...*pflag.FlagSet) func(name string) *pflag.Flag {
	return func(name string) *pflag.Flag {
		for _, set := range sets {
			if flag := set.Lookup(name); flag != nil {
				return flag
			}
			if len(name) == 1 {
				if flag := set.ShorthandLookup(name); flag != nil {
					return flag
				}
			}
		}
		return nil
	}
}

// FlagError puts a mistake in flags into docker-machine's words.
func FlagError(command string, err error) error {
	var unknown *pflag.NotExistError
	var noValue *pflag.ValueRequiredError
	var bad *pflag.InvalidValueError
	sentence := err.Error()
	switch {
	case errors.As(err, &unknown):
		sentence = "flag provided but not defined: -" + unknown.GetSpecifiedName()
	case errors.As(err, &noValue):
		sentence = "flag needs an argument: -" + noValue.GetSpecifiedName()
	case errors.As(err, &bad):
		sentence = `invalid value "` + bad.GetValue() + `" for flag -` + bad.GetFlag().Name
	}
	return Usagef("%s", sentence).WithHint("see `" + command + " --help`")
}

// envKey annotates a flag with the variable that it may come from.
const envKey = "env"

// FromEnv notes the variable that a flag may come from, for the help text.
func FromEnv(flags *pflag.FlagSet, name, variable string) {
	if variable != "" {
		flags.Lookup(name).Annotations = map[string][]string{envKey: {variable}}
	}
}

// Text returns a flag's text: from the command line, else from its variable, else its default. An empty variable counts as
// none.
func (e *Env) Text(flags *pflag.FlagSet, name string) string {
	flag := flags.Lookup(name)
	if !flag.Changed && len(flag.Annotations[envKey]) > 0 {
		if value := e.Getenv(flag.Annotations[envKey][0]); value != "" {
			return value
		}
	}
	return flag.Value.String()
}

// Strings returns a list flag's values: from the command line, else its variable split at commas, else its default.
func (e *Env) Strings(flags *pflag.FlagSet, name string) []string {
	flag := flags.Lookup(name)
	if !flag.Changed && len(flag.Annotations[envKey]) > 0 {
		if value := e.Getenv(flag.Annotations[envKey][0]); value != "" {
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
