// Package driverflags resolves drivers' flags on the caller's side: command line, environment, files. The controller gets
// contents, never paths.
package driverflags

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/spf13/pflag"

	"mctl/internal/mctl/argv"
	"mctl/internal/mctl/cli"
	"mctl/internal/mctl/credential"
	controllerv1 "mctl/proto/mctl/controller/v1"
)

// Add adds the driver's flags as its schema describes them.
func Add(flags *pflag.FlagSet, driver *controllerv1.Driver) {
	for _, f := range driver.GetFlags() {
		if flags.Lookup(f.GetName()) != nil {
			continue // a flag of ours wins
		}
		first := ""
		if values := f.GetDefaultValues(); len(values) > 0 {
			first = values[0]
		}
		switch f.GetType() {
		case controllerv1.DriverFlag_TYPE_BOOL:
			value, _ := strconv.ParseBool(first)
			flags.Bool(f.GetName(), value, f.GetUsage())
		case controllerv1.DriverFlag_TYPE_INT:
			value, _ := strconv.Atoi(first)
			flags.Int(f.GetName(), value, f.GetUsage())
		case controllerv1.DriverFlag_TYPE_STRING_LIST:
			flags.StringArray(f.GetName(), f.GetDefaultValues(), f.GetUsage())
		default:
			flags.String(f.GetName(), first, f.GetUsage())
		}
		argv.FromEnv(flags, f.GetName(), f.GetEnv())
	}
}

// AddScope adds those of the driver's flags that say where, or as whom, it works.
func AddScope(flags *pflag.FlagSet, driver *controllerv1.Driver) { Add(flags, scopeOf(driver)) }

// ReadScope is Read for the flags of AddScope.
func ReadScope(env *cli.Env, flags *pflag.FlagSet, driver *controllerv1.Driver, credentialName string) ([]*controllerv1.DriverOption, error) {
	return Read(env, flags, scopeOf(driver), credentialName)
}

func scopeOf(driver *controllerv1.Driver) *controllerv1.Driver {
	scope := &controllerv1.Driver{Name: driver.GetName()}
	for _, f := range driver.GetFlags() {
		if f.GetScope() {
			scope.Flags = append(scope.Flags, f)
		}
	}
	return scope
}

// Read resolves every flag of a driver that command line or environment say something about, and finds the cloud's credential
// where the cloud's own tools would. The caller's credentials stay here where the controller has some of the name that was given, and where
// the driver is sent to an endpoint that everybody on the way can read along.
func Read(env *cli.Env, flags *pflag.FlagSet, driver *controllerv1.Driver, credentialName string) ([]*controllerv1.DriverOption, error) {
	var all []*controllerv1.DriverOption
	readable := plainEndpoint(env, flags, driver)
	for _, f := range driver.GetFlags() {
		if isIdentity(f) && (readable || credentialName != "" && !flags.Changed(f.GetName())) {
			continue
		}
		if isIdentity(f) && credentialName != "" {
			return nil, cli.Usagef("--credential and --%s exclude each other", f.GetName()).WithHint("leave one of them out")
		}
		option, err := read(env, flags, f)
		if err == nil && option == nil && f.GetKind() == controllerv1.DriverFlag_KIND_CREDENTIAL {
			option, err = found(env, driver, f)
		}
		if err != nil {
			return nil, err
		}
		if option != nil {
			all = append(all, option)
		}
	}
	return all, nil
}

// read resolves one driver flag; nil where neither command line nor environment say anything, so that the driver's
// default holds. Files are read here: the controller gets contents, never paths.
func read(env *cli.Env, flags *pflag.FlagSet, f *controllerv1.DriverFlag) (*controllerv1.DriverOption, error) {
	flag, option := flags.Lookup(f.GetName()), &controllerv1.DriverOption{Name: f.GetName()}
	fromEnv, variable := fromEnvironment(env, f.GetEnv())
	switch {
	case flag.Changed && f.GetType() == controllerv1.DriverFlag_TYPE_STRING_LIST:
		option.Values, _ = flags.GetStringArray(f.GetName())
	case flag.Changed:
		option.Values = []string{flag.Value.String()}
	case fromEnv == "":
		return nil, nil
	case f.GetType() == controllerv1.DriverFlag_TYPE_STRING_LIST:
		option.Values = cli.SplitList(fromEnv)
	default:
		if err := flag.Value.Set(fromEnv); err != nil {
			return nil, cli.Usagef("invalid value %q in %s for flag -%s", fromEnv, variable, f.GetName())
		}
		option.Values = []string{flag.Value.String()}
	}
	first := ""
	if len(option.GetValues()) > 0 {
		first = option.GetValues()[0]
	}
	switch f.GetKind() {
	case controllerv1.DriverFlag_KIND_SECRET:
		option.Values, option.Content = nil, []byte(strings.Join(option.GetValues(), "\x00")) // which no argument can hold
	case controllerv1.DriverFlag_KIND_FILE:
		if first == "" {
			return nil, nil
		}
		content, err := credential.ReadFile(f.GetName(), expandHome(env, first))
		if err != nil {
			return nil, err
		}
		option.Values, option.Content = nil, content
	case controllerv1.DriverFlag_KIND_UPLOAD:
		if err := upload(env, f.GetName(), first, option); err != nil {
			return nil, err
		}
	case controllerv1.DriverFlag_KIND_CREDENTIAL:
		content, err := textOrFile(env, f.GetName(), first)
		if err != nil {
			return nil, err
		}
		option.Values, option.Content = nil, content
	default:
	}
	return option, nil
}

// fromEnvironment is the first of a flag's variables that is not empty. Plugins name several, with commas.
func fromEnvironment(env *cli.Env, names string) (value, variable string) {
	for name := range strings.SplitSeq(names, ",") {
		if value := env.Getenv(name); name != "" && value != "" {
			return value, name
		}
	}
	return "", ""
}

// upload sends what a file has that is there, under its name, and any other text as it is.
func upload(env *cli.Env, flag, text string, option *controllerv1.DriverOption) error {
	path := expandHome(env, text)
	if !regular(path) {
		option.Values, option.Content = nil, []byte(text)
		return nil
	}
	content, err := credential.ReadFile(flag, path)
	option.Values, option.Content = []string{filepath.Base(path)}, content
	return err
}

func regular(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.Mode().IsRegular()
}

// Taken names the first flag of a driver that one of our sets has, too, by its name or by its letter, or that asks for help;
// nothing where there is none.
func Taken(driver *controllerv1.Driver, sets ...*pflag.FlagSet) string {
	for _, f := range driver.GetFlags() {
		name := f.GetName()
		if name == "help" || name == "h" {
			return name
		}
		for _, ours := range sets {
			if ours.Lookup(name) != nil || len(name) == 1 && ours.ShorthandLookup(name) != nil {
				return name
			}
		}
	}
	return ""
}

// expandHome does what a shell does not do for --flag=~/path.
func expandHome(env *cli.Env, path string) string {
	if rest, ok := strings.CutPrefix(path, "~/"); ok && env.Getenv("HOME") != "" {
		return env.Getenv("HOME") + "/" + rest
	}
	return path
}
