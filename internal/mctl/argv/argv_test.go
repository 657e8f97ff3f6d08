package argv

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"mctl/internal/fault"
)

func newFlags() *pflag.FlagSet {
	flags := pflag.NewFlagSet("test", pflag.ContinueOnError)
	flags.StringP("driver", "d", "", "Driver")
	flags.BoolP("quiet", "q", false, "Quiet")
	flags.StringArray("engine-opt", nil, "Option")
	flags.IntP("timeout", "t", 10, "Seconds")
	return flags
}

func TestOneDashBeforeALongFlagMeansTwo(t *testing.T) {
	for name, c := range map[string]struct{ given, want string }{
		"a long flag":                         {"-driver x web", "--driver x web"},
		"an assigned one":                     {"-driver=x web", "--driver=x web"},
		"after the name":                      {"web -driver x", "web --driver x"},
		"a truth":                             {"-quiet web", "--quiet web"},
		"short flags stay":                    {"-d x -q -t 5", "-d x -q -t 5"},
		"two dashes stay":                     {"--driver x --quiet", "--driver x --quiet"},
		"a value that looks like a flag":      {"-engine-opt -quiet -quiet", "--engine-opt -quiet --quiet"},
		"a value after a short flag":          {"-d -quiet", "-d -quiet"},
		"nothing after two dashes alone":      {"-quiet -- -quiet", "--quiet -- -quiet"},
		"a lone dash is a name":               {"- -quiet", "- --quiet"},
		"what is not known stays":             {"-nosuch -quiet", "-nosuch --quiet"},
		"a flag at the end, without a value":  {"web -driver", "web --driver"},
		"a truth takes no value of the next":  {"-quiet -driver x", "--quiet --driver x"},
		"a value of two dashes is for a flag": {"-driver -- -quiet", "--driver -- --quiet"},
	} {
		given := strings.Fields(c.given)
		if got := strings.Join(Normalize(given, Finder(newFlags())), " "); got != c.want {
			t.Errorf("%s: %q became %q, want %q", name, c.given, got, c.want)
		}
		if strings.Join(given, " ") != c.given {
			t.Errorf("%s: the caller's words were changed", name)
		}
	}
}

func TestParserTakesWhatNormalizeMakes(t *testing.T) {
	flags := newFlags()
	if err := flags.Parse(Normalize([]string{"web", "-driver", "fake", "-engine-opt=a=b", "-engine-opt", "-x", "-quiet", "-t", "3"}, Finder(flags))); err != nil {
		t.Fatal(err)
	}
	options, _ := flags.GetStringArray("engine-opt")
	if driver, _ := flags.GetString("driver"); driver != "fake" || !slices.Equal(options, []string{"a=b", "-x"}) || !slices.Equal(flags.Args(), []string{"web"}) {
		t.Errorf("driver %q, options %q, names %q", driver, options, flags.Args())
	}
}

func TestWordsTellNamesFromValues(t *testing.T) {
	var names []string
	args := []string{"-d", "fake", "web", "--timeout=5", "db", "-q", "x", "--", "never"}
	for word := range Words(args, Finder(newFlags())) {
		if word.Flag == nil {
			names = append(names, args[word.At])
		}
	}
	if !slices.Equal(names, []string{"web", "db", "x"}) {
		t.Errorf("names %q", names)
	}
	for range Words(args, Finder(newFlags())) {
		break // whoever stops early must be left alone
	}
}

func TestKnownFlagsAreSetAmongOthers(t *testing.T) {
	flags := newFlags()
	if err := ParseKnown(flags, []string{"--nosuch", "v", "-d", "a", "web", "--driver=b", "-quiet", "--", "-t", "x"}); err != nil {
		t.Fatal(err)
	}
	driver, _ := flags.GetString("driver")
	quiet, _ := flags.GetBool("quiet")
	if driver != "b" || !quiet {
		t.Errorf("driver %q, quiet %v", driver, quiet)
	}
	if err := ParseKnown(flags, []string{"-t", "x"}); fault.ReasonOf(err) != fault.ReasonUsage {
		t.Errorf("a bad value is %v", err)
	}
	if err := ParseKnown(newFlags(), []string{"-t"}); err != nil {
		t.Errorf("a missing value is the parser's to tell: %v", err)
	}
}

func TestMistakesAreToldInDockerMachinesWords(t *testing.T) {
	for given, want := range map[string]string{
		"--nosuch":     "flag provided but not defined: -nosuch",
		"-xyz":         "flag provided but not defined: -xyz",
		"-x":           "flag provided but not defined: -x",
		"--driver":     "flag needs an argument: -driver",
		"-d":           "flag needs an argument: -d",
		"--timeout=a":  `invalid value "a" for flag -timeout`,
		"--quiet=what": `invalid value "what" for flag -quiet`,
		"--=x":         "bad flag syntax: --=x",
	} {
		flags := newFlags()
		err := flags.Parse([]string{given})
		if !IsFlagError(err) {
			t.Errorf("%s: %v is not known for the parser's", given, err)
		}
		told := FlagError("mctl ls", err)
		if told.Error() != want || told.Hint != "see `mctl ls --help`" || told.Reason != fault.ReasonUsage {
			t.Errorf("%s: %q, hint %q, reason %q", given, told, told.Hint, told.Reason)
		}
	}
	if IsFlagError(errors.New("x")) || IsFlagError(nil) {
		t.Error("another error is taken for the parser's")
	}
}

func TestHelpNamesEveryFlagVariableAndExample(t *testing.T) {
	flags := newFlags()
	flags.String("secret", "", "never shown")
	flags.Lookup("secret").Hidden = true
	flags.StringArray("tag", []string{"a"}, "Tags")
	FromEnv(flags, "driver", "MACHINE_DRIVER")
	FromEnv(flags, "timeout", "")
	if Variable(flags.Lookup("driver")) != "MACHINE_DRIVER" || Variable(flags.Lookup("timeout")) != "" {
		t.Error("the variable is lost")
	}
	root := &cobra.Command{Use: "mctl", Short: "All.", Example: "mctl do x"}
	command := &cobra.Command{Use: "do [arg...]", Short: "Do it", Long: "Twice.\nOr once.", Example: "mctl do x\nmctl do y", Run: func(*cobra.Command, []string) {}}
	group := &cobra.Command{Use: "group", Short: "Many"}
	group.AddCommand(&cobra.Command{Use: "inner", Short: "One", Run: func(*cobra.Command, []string) {}})
	root.AddCommand(command, group, &cobra.Command{Use: "hidden", Hidden: true, Run: func(*cobra.Command, []string) {}})
	want := `Usage: docker-machine do [OPTIONS] [arg...]

Do it

Description:
   Twice.
   Or once.

Options:

   --driver, -d ""                       Driver [$MACHINE_DRIVER]
   --engine-opt [--engine-opt option --engine-opt option]  Option
   --quiet, -q                           Quiet
   --tag [--tag option --tag option]     Tags (default a)
   --timeout, -t "10"                    Seconds

Examples:
   docker-machine do x
   docker-machine do y
`
	if got := Help("docker-machine", command, flags); got != want {
		t.Errorf("help is\n%s\nwant\n%s", got, want)
	}
	want = "Usage: mctl group COMMAND [arg...]\n\nMany\n\nCommands:\n  inner  One\n"
	if got := Help("mctl", group, pflag.NewFlagSet("", pflag.ContinueOnError)); got != want {
		t.Errorf("a group's help is\n%s\nwant\n%s", got, want)
	}
	app := AppHelp("mctl", root, "v1")
	for _, part := range []string{"Usage: mctl [OPTIONS] COMMAND [arg...]\n\nAll.\n\nVersion: v1\n", "  do      Do it\n", "Example:\n   mctl do x\n", "Run 'mctl COMMAND --help'"} {
		if !strings.Contains(app, part) {
			t.Errorf("the program's help lacks %q:\n%s", part, app)
		}
	}
	if strings.Contains(app, "hidden") {
		t.Error("a hidden command is shown")
	}
}
