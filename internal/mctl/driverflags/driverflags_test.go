package driverflags_test

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/spf13/pflag"

	"mctl/internal/fault"
	"mctl/internal/mctl/cli"
	"mctl/internal/mctl/driverflags"
	controllerv1 "mctl/proto/mctl/controller/v1"
)

// cloud is a driver with a flag of each type and kind.
func cloud() *controllerv1.Driver {
	flag := func(name, env string, kind controllerv1.DriverFlag_Kind, of controllerv1.DriverFlag_Type, defaults ...string) *controllerv1.DriverFlag {
		return &controllerv1.DriverFlag{Name: name, Env: env, Kind: kind, Type: of, DefaultValues: defaults, Usage: "about " + name}
	}
	return &controllerv1.Driver{Name: "cloud", Flags: []*controllerv1.DriverFlag{
		flag("cloud-zone", "CLOUD_ZONE", controllerv1.DriverFlag_KIND_VALUE, controllerv1.DriverFlag_TYPE_STRING, "a"),
		flag("cloud-size", "CLOUD_SIZE", controllerv1.DriverFlag_KIND_VALUE, controllerv1.DriverFlag_TYPE_INT, "10"),
		flag("cloud-spot", "CLOUD_SPOT", controllerv1.DriverFlag_KIND_VALUE, controllerv1.DriverFlag_TYPE_BOOL, "false"),
		flag("cloud-tag", "CLOUD_TAGS", controllerv1.DriverFlag_KIND_VALUE, controllerv1.DriverFlag_TYPE_STRING_LIST, "x"),
		flag("cloud-token", "CLOUD_TOKEN", controllerv1.DriverFlag_KIND_SECRET, controllerv1.DriverFlag_TYPE_STRING),
		flag("cloud-keys", "", controllerv1.DriverFlag_KIND_SECRET, controllerv1.DriverFlag_TYPE_STRING_LIST),
		flag("cloud-user-data", "", controllerv1.DriverFlag_KIND_FILE, controllerv1.DriverFlag_TYPE_STRING),
		flag("cloud-auth", "CLOUD_AUTH", controllerv1.DriverFlag_KIND_CREDENTIAL, controllerv1.DriverFlag_TYPE_STRING),
		flag("cloud-key-path", "CLOUD_KEY,OTHER_KEY", controllerv1.DriverFlag_KIND_UPLOAD, controllerv1.DriverFlag_TYPE_STRING),
		flag("driver", "", controllerv1.DriverFlag_KIND_VALUE, controllerv1.DriverFlag_TYPE_STRING),
	}}
}

// resolve parses a command line with an environment. Texts of the outcome are NAME=VALUES or NAME:CONTENT.
func resolve(t *testing.T, environment map[string]string, args ...string) ([]string, error) {
	t.Helper()
	env := &cli.Env{Lookup: func(name string) (string, bool) { value, ok := environment[name]; return value, ok }}
	flags := pflag.NewFlagSet("create", pflag.ContinueOnError)
	flags.StringP("driver", "d", "", "ours")
	driverflags.Add(flags, cloud())
	if err := flags.Parse(args); err != nil {
		t.Fatal(err)
	}
	driver := cloud()
	driver.Flags = driver.Flags[:len(driver.Flags)-1]
	options, err := driverflags.Read(env, flags, driver, "")
	var all []string
	for _, o := range options {
		text := o.GetName() + "=" + strings.Join(o.GetValues(), "|")
		if o.GetContent() != nil {
			text = o.GetName() + ":" + string(o.GetContent())
		}
		all = append(all, text)
	}
	return all, err
}

func TestCommandLineThenEnvironmentThenTheDriversDefault(t *testing.T) {
	file := filepath.Join(t.TempDir(), "user data")
	if err := os.WriteFile(file, []byte("#cloud-config"), 0o644); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		environment map[string]string
		args, want  []string
	}{
		"nothing":                   {nil, nil, nil},
		"an empty variable":         {map[string]string{"CLOUD_ZONE": ""}, nil, nil},
		"the environment":           {map[string]string{"CLOUD_ZONE": "b"}, nil, []string{"cloud-zone=b"}},
		"the command line first":    {map[string]string{"CLOUD_ZONE": "b"}, []string{"--cloud-zone", "c"}, []string{"cloud-zone=c"}},
		"an empty value is a value": {map[string]string{"CLOUD_ZONE": "b"}, []string{"--cloud-zone="}, []string{"cloud-zone="}},
		"a number, a truth":         {map[string]string{"CLOUD_SIZE": "20"}, []string{"--cloud-spot"}, []string{"cloud-size=20", "cloud-spot=true"}},
		"a truth in words":          {map[string]string{"CLOUD_SPOT": "1"}, nil, []string{"cloud-spot=true"}},
		"a list, repeated":          {nil, []string{"--cloud-tag", "a,b", "--cloud-tag", "c"}, []string{"cloud-tag=a,b|c"}},
		"a list in the environment": {map[string]string{"CLOUD_TAGS": "a, b,,c "}, nil, []string{"cloud-tag=a|b|c"}},
		"a secret goes as content":  {map[string]string{"CLOUD_TOKEN": "t0ken"}, nil, []string{"cloud-token:t0ken"}},
		"a list of secrets, too":    {nil, []string{"--cloud-keys", "a", "--cloud-keys", "b,c"}, []string{"cloud-keys:a\x00b,c"}},
		"a file goes as content":    {nil, []string{"--cloud-user-data", file}, []string{"cloud-user-data:#cloud-config"}},
		"an upload of a file":       {nil, []string{"--cloud-key-path", file}, []string{"cloud-key-path:#cloud-config"}},
		"an upload of a text":       {nil, []string{"--cloud-key-path", "/no such"}, []string{"cloud-key-path:/no such"}},
		"an upload of a folder":     {nil, []string{"--cloud-key-path", filepath.Dir(file)}, []string{"cloud-key-path:" + filepath.Dir(file)}},
		"the second variable":       {map[string]string{"CLOUD_KEY": "", "OTHER_KEY": "x"}, nil, []string{"cloud-key-path:x"}},
		"the first variable":        {map[string]string{"CLOUD_KEY": "y", "OTHER_KEY": "x"}, nil, []string{"cloud-key-path:y"}},
		"no file":                   {nil, []string{"--cloud-user-data", ""}, nil},
		"a credential as text":      {map[string]string{"CLOUD_AUTH": ` {"type": "x"}`}, nil, []string{`cloud-auth: {"type": "x"}`}},
		"a credential as a path":    {nil, []string{"--cloud-auth", file}, []string{"cloud-auth:#cloud-config"}},
		"what a shell does not do":  {map[string]string{"HOME": filepath.Dir(file)}, []string{"--cloud-user-data=~/user data"}, []string{"cloud-user-data:#cloud-config"}},
		"a tilde without a home":    {map[string]string{"HOME": ""}, []string{"--cloud-zone=~/x"}, []string{"cloud-zone=~/x"}},
	} {
		if got, err := resolve(t, c.environment, c.args...); err != nil || !slices.Equal(got, c.want) {
			t.Errorf("%s: %q, %v, want %q", name, got, err, c.want)
		}
	}
}

func TestWhatCannotBeReadIsRefusedBeforeAnythingIsAsked(t *testing.T) {
	for name, c := range map[string]struct {
		environment map[string]string
		args        []string
		reason      string
	}{
		"no number in the environment": {map[string]string{"CLOUD_SIZE": "big"}, nil, fault.ReasonUsage},
		"a file that is not there":     {nil, []string{"--cloud-user-data", "/nosuch"}, fault.ReasonPrecheck},
		"a credential is not there":    {map[string]string{"CLOUD_AUTH": "/nosuch"}, nil, fault.ReasonPrecheck},
	} {
		if got, err := resolve(t, c.environment, c.args...); err == nil || got != nil || fault.ReasonOf(err) != c.reason {
			t.Errorf("%s: %q, %v", name, got, err)
		}
	}
}

func TestHelpShowsTheSchemaAndOurOwnFlagsWin(t *testing.T) {
	flags := pflag.NewFlagSet("create", pflag.ContinueOnError)
	flags.StringP("driver", "d", "", "ours")
	driverflags.Add(flags, cloud())
	for name, want := range map[string]string{"cloud-zone": "a", "cloud-size": "10", "cloud-spot": "false", "cloud-tag": "[x]", "cloud-token": ""} {
		if f := flags.Lookup(name); f == nil || f.DefValue != want || f.Usage != "about "+name {
			t.Errorf("--%s is %+v", name, f)
		}
	}
	if flags.Lookup("driver").Usage != "ours" {
		t.Error("the driver took a flag of ours away")
	}
}

func TestUploadedFileKeepsItsName(t *testing.T) {
	file := filepath.Join(t.TempDir(), "id_ed25519")
	if err := os.WriteFile(file, []byte("key"), 0o600); err != nil {
		t.Fatal(err)
	}
	flags := pflag.NewFlagSet("create", pflag.ContinueOnError)
	driver := &controllerv1.Driver{Flags: []*controllerv1.DriverFlag{{Name: "x-key", Kind: controllerv1.DriverFlag_KIND_UPLOAD, Type: controllerv1.DriverFlag_TYPE_STRING}}}
	driverflags.Add(flags, driver)
	if err := flags.Parse([]string{"--x-key", file}); err != nil {
		t.Fatal(err)
	}
	options, err := driverflags.Read(environment(nil), flags, driver, "")
	if err != nil || len(options) != 1 || !slices.Equal(options[0].GetValues(), []string{"id_ed25519"}) || string(options[0].GetContent()) != "key" {
		t.Errorf("%v %v", options, err)
	}
}

func TestFlagThatIsTakenIsNamed(t *testing.T) {
	ours := pflag.NewFlagSet("create", pflag.ContinueOnError)
	ours.String("driver", "", "ours")
	if taken := driverflags.Taken(cloud(), pflag.NewFlagSet("", pflag.ContinueOnError), ours); taken != "driver" {
		t.Errorf("%q is taken", taken)
	}
	ours.StringP("storage-path", "s", "", "ours")
	for _, name := range []string{"s", "help", "h"} {
		if taken := driverflags.Taken(&controllerv1.Driver{Flags: []*controllerv1.DriverFlag{{Name: name}}}, ours); taken != name {
			t.Errorf("%q is taken, want %q", taken, name)
		}
	}
	if taken := driverflags.Taken(google(), ours); taken != "" {
		t.Errorf("%q is taken", taken)
	}
}
