package driver

import (
	"fmt"
	"maps"
	"slices"
	"strconv"

	"mctl/internal/fault"
)

// Resolve checks given options against a schema and fills in defaults. An option that no flag declares, a value of the
// wrong type, a secret that is sent as a value, which would not be sealed, and a missing required flag are fault.Invalid with
// fault.ReasonUsage.
func Resolve(name string, flags []Flag, given Options) (Options, error) {
	resolved := Options{}
	for _, flag := range flags {
		option, ok := given[flag.Name]
		if !ok && flag.Default != nil {
			option = Option{Values: flag.Default}
		}
		if err := checkOption(flag, option); err != nil {
			return nil, err
		}
		if ok || flag.Default != nil {
			resolved[flag.Name] = option
		}
	}
	for _, key := range slices.Sorted(maps.Keys(given)) {
		if !slices.ContainsFunc(flags, func(f Flag) bool { return f.Name == key }) {
			return nil, usage(key, fmt.Errorf("driver %q has no flag --%s", name, key),
				"see `mctl create --driver "+name+" --help`")
		}
	}
	return resolved, nil
}

func checkOption(flag Flag, option Option) error {
	if flag.Required && len(option.Values) == 0 && len(option.Content) == 0 {
		hint := ""
		if flag.Env != "" {
			hint = "give the flag or set " + flag.Env
		}
		return usage(flag.Name, fmt.Errorf("--%s is required", flag.Name), hint)
	}
	switch {
	case flag.Kind == Value && option.Content != nil:
		return usage(flag.Name, fmt.Errorf("--%s takes a value, and no content", flag.Name), "")
	case flag.Kind == Upload && (len(option.Values) == 0 || option.Content != nil):
	case flag.Kind != Value && len(option.Values) > 0:
		return usage(flag.Name, fmt.Errorf("--%s takes its content, and no value", flag.Name), "send what the file has, or the secret, as content")
	}
	if flag.Type != StringList && len(option.Values) > 1 {
		return usage(flag.Name, fmt.Errorf("--%s takes one value", flag.Name), "")
	}
	for _, value := range option.Values {
		var err error
		switch flag.Type {
		case Int:
			_, err = strconv.Atoi(value)
		case Bool:
			_, err = strconv.ParseBool(value)
		case String, StringList:
		}
		if err != nil {
			return usage(flag.Name, fmt.Errorf("--%s: bad value %q", flag.Name, value), "")
		}
	}
	return nil
}

func usage(flag string, err error, hint string) error {
	return fault.E("driver.Resolve", fault.Invalid, flag, err).WithHint(hint).WithReason(fault.ReasonUsage)
}
