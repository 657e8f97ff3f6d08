package driverflags_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/spf13/pflag"

	"mctl/internal/fault"
	"mctl/internal/mctl/cli"
	"mctl/internal/mctl/driverflags"
	controllerv1 "mctl/proto/mctl/controller/v1"
)

// google is a driver whose credential is looked for where gcloud keeps it.
func google() *controllerv1.Driver {
	return &controllerv1.Driver{Name: "google", Flags: []*controllerv1.DriverFlag{
		{Name: "google-project", Env: "GOOGLE_PROJECT", Kind: controllerv1.DriverFlag_KIND_VALUE, Type: controllerv1.DriverFlag_TYPE_STRING, Scope: true},
		{Name: "google-endpoint", Kind: controllerv1.DriverFlag_KIND_VALUE, Type: controllerv1.DriverFlag_TYPE_STRING, Scope: true},
		{Name: "google-auth", Env: "GOOGLE_AUTH", Kind: controllerv1.DriverFlag_KIND_CREDENTIAL, Type: controllerv1.DriverFlag_TYPE_STRING, Scope: true},
		{Name: "google-size", Kind: controllerv1.DriverFlag_KIND_VALUE, Type: controllerv1.DriverFlag_TYPE_STRING},
	}}
}

// place writes a file below a home directory.
func place(t *testing.T, home, name, text string) {
	t.Helper()
	path := filepath.Join(home, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func environment(variables map[string]string) *cli.Env {
	return &cli.Env{Lookup: func(name string) (string, bool) { value, ok := variables[name]; return value, ok }}
}

func TestCredentialIsLookedForWhereTheCloudsOwnToolsLook(t *testing.T) {
	home := t.TempDir()
	env := environment(map[string]string{"HOME": home})
	if _, err := driverflags.Credential(env, google(), ""); !fault.Is(err, fault.Precondition) || fault.HintOf(err) == "" {
		t.Errorf("none anywhere: %v", err)
	}
	place(t, home, ".config/gcloud/active_config", "work\n")
	place(t, home, ".config/gcloud/configurations/config_work", "[compute]\naccount = wrong\n[core]\naccount = ann@example.com\n")
	place(t, home, ".config/gcloud/legacy_credentials/ann@example.com/adc.json", `{"of": "gcloud"}`)
	for _, want := range []string{`{"of": "gcloud"}`, `{"of": "adc"}`} {
		if content, err := driverflags.Credential(env, google(), ""); err != nil || string(content) != want {
			t.Errorf("%s, %v, want %s", content, err, want)
		}
		place(t, home, ".config/gcloud/application_default_credentials.json", `{"of": "adc"}`)
	}
	place(t, home, "named.json", `{"of": "file"}`)
	if content, err := driverflags.Credential(env, google(), "~/named.json"); err != nil || string(content) != `{"of": "file"}` {
		t.Errorf("a file that is named: %s, %v", content, err)
	}
	told := environment(map[string]string{"HOME": home, "GOOGLE_AUTH": `{"of": "variable"}`})
	if content, err := driverflags.Credential(told, google(), ""); err != nil || string(content) != `{"of": "variable"}` {
		t.Errorf("the variable: %s, %v", content, err)
	}
	if _, err := driverflags.Credential(env, &controllerv1.Driver{Name: "fake"}, ""); fault.ReasonOf(err) != fault.ReasonUsage {
		t.Errorf("a driver that takes none: %v", err)
	}
}

func TestAccountCannotNameAFileElsewhere(t *testing.T) {
	home := t.TempDir()
	place(t, home, "secret/adc.json", `{"of": "somebody else"}`)
	for _, variables := range []map[string]string{
		{"HOME": home, "CLOUDSDK_CORE_ACCOUNT": "../../../secret"},
		{"CLOUDSDK_CONFIG": filepath.Join(home, ".config/gcloud"), "CLOUDSDK_ACTIVE_CONFIG_NAME": "../../x"},
	} {
		if content, err := driverflags.Credential(environment(variables), google(), ""); err == nil {
			t.Errorf("%v: %s", variables, content)
		}
	}
}

func TestCallersCredentialStaysHereWhereAnotherIsNamedOrAnyoneCouldRead(t *testing.T) {
	env := environment(map[string]string{"GOOGLE_AUTH": `{"of": "caller"}`, "GOOGLE_PROJECT": "p"})
	read := func(credential string, args ...string) ([]*controllerv1.DriverOption, error) {
		flags := pflag.NewFlagSet("", pflag.ContinueOnError)
		driverflags.AddScope(flags, google())
		if flags.Lookup("google-size") != nil {
			t.Error("a flag that says neither where nor as whom is in the scope")
		}
		if err := flags.Parse(args); err != nil {
			t.Fatal(err)
		}
		return driverflags.ReadScope(env, flags, google(), credential)
	}
	sent := func(options []*controllerv1.DriverOption) bool {
		for _, o := range options {
			if len(o.GetContent()) > 0 {
				return true
			}
		}
		return false
	}
	for name, c := range map[string]struct {
		credential string
		args       []string
		want       bool
	}{
		"by itself":                   {"", nil, true},
		"a stored one is named":       {"team", nil, false},
		"an endpoint with encryption": {"", []string{"--google-endpoint", "https://x"}, true},
		"one without":                 {"", []string{"--google-endpoint", "http://x"}, false},
	} {
		options, err := read(c.credential, c.args...)
		if err != nil || sent(options) != c.want || len(options) == 0 {
			t.Errorf("%s: sent %v, %v", name, sent(options), err)
		}
	}
	if _, err := read("team", "--google-auth", "{}"); fault.ReasonOf(err) != fault.ReasonUsage {
		t.Errorf("both are named: %v", err)
	}
}
