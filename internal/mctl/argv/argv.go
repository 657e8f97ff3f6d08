// Package argv reads command lines as docker-machine's users write them, and writes the help for them in docker-machine's form.
package argv

import (
	"errors"
	"fmt"
	"iter"
	"slices"
	"strings"

	"github.com/spf13/pflag"

	"mctl/internal/fault"
)

// Word is one word of a command line that is no flag's value.
type Word struct {
	At    int
	Flag  *pflag.Flag // nil for a name, and for a flag that is not known
	Value string      // the flag's, wherever it stands; what a flag means that has none
	Given bool        // the value was given
}

// Words walks over a command line as our parser does, up to "--". find returns a flag by its name, or nil. A flag that is not
// known is taken for one that has no value in the next word.
func Words(args []string, find func(name string) *pflag.Flag) iter.Seq[Word] {
	return func(yield func(Word) bool) {
		for i := 0; i < len(args) && args[i] != "--"; i++ {
			word := Word{At: i}
			if name, value, assigned := strings.Cut(strings.TrimLeft(args[i], "-"), "="); isFlag(args[i]) {
				word.Flag, word.Value, word.Given = find(name), value, assigned
			}
			switch {
			case word.Flag == nil || word.Given:
			case word.Flag.NoOptDefVal != "":
				word.Value = word.Flag.NoOptDefVal
			case i+1 < len(args):
				i++ // the value, whatever it looks like
				word.Value, word.Given = args[i], true
			}
			if !yield(word) {
				return
			}
		}
	}
}

func isFlag(arg string) bool { return len(arg) > 1 && arg[0] == '-' }

// Normalize rewrites a command line as docker-machine's users write it for our parser: a long flag may have one dash.
func Normalize(args []string, find func(name string) *pflag.Flag) []string {
	args = slices.Clone(args)
	for word := range Words(args, find) {
		arg := args[word.At]
		name, _, _ := strings.Cut(strings.TrimLeft(arg, "-"), "=")
		if word.Flag != nil && len(name) > 1 && !strings.HasPrefix(arg, "--") {
			args[word.At] = "-" + arg
		}
	}
	return args
}

// ParseKnown sets those flags that the command line has, among others that are not known yet. Of one that is repeated the last
// counts.
func ParseKnown(flags *pflag.FlagSet, args []string) error {
	for word := range Words(args, Finder(flags)) {
		if word.Flag == nil || !word.Given && word.Flag.NoOptDefVal == "" {
			continue
		}
		if err := word.Flag.Value.Set(word.Value); err != nil {
			return usage(fmt.Sprintf("invalid value %q for flag -%s", word.Value, word.Flag.Name))
		}
	}
	return nil
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

func usage(sentence string) *fault.Error {
	return fault.New("argv", fault.Invalid, "", sentence).WithReason(fault.ReasonUsage)
}

// IsFlagError reports whether an error is the parser's, about the command line.
func IsFlagError(err error) bool {
	var unknown *pflag.NotExistError
	var noValue *pflag.ValueRequiredError
	var bad *pflag.InvalidValueError
	var syntax *pflag.InvalidSyntaxError
	return errors.As(err, &unknown) || errors.As(err, &noValue) || errors.As(err, &bad) || errors.As(err, &syntax)
}

// FlagError puts a mistake in flags into docker-machine's words.
func FlagError(command string, err error) *fault.Error {
	var unknown *pflag.NotExistError
	var noValue *pflag.ValueRequiredError
	var bad *pflag.InvalidValueError
	sentence := err.Error()
	switch {
	case errors.As(err, &unknown):
		name := unknown.GetSpecifiedShortnames() // -xyz, of which we know no x
		if name == "" {
			name = unknown.GetSpecifiedName()
		}
		sentence = "flag provided but not defined: -" + name
	case errors.As(err, &noValue):
		sentence = "flag needs an argument: -" + noValue.GetSpecifiedName()
	case errors.As(err, &bad):
		sentence = `invalid value "` + bad.GetValue() + `" for flag -` + bad.GetFlag().Name
	}
	return usage(sentence).WithHint("see `" + command + " --help`")
}

// envKey annotates a flag with the variable that it may come from.
const envKey = "env"

// FromEnv notes the variable that a flag may come from, for the help text.
func FromEnv(flags *pflag.FlagSet, name, variable string) {
	if variable != "" {
		flags.Lookup(name).Annotations = map[string][]string{envKey: {variable}}
	}
}

// Variable is the variable that a flag may come from, or nothing.
func Variable(flag *pflag.Flag) string {
	if names := flag.Annotations[envKey]; len(names) > 0 {
		return names[0]
	}
	return ""
}
