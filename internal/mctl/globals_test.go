package mctl

import (
	"strings"
	"testing"

	"mctl/internal/mctl/argv"
	"mctl/internal/mctl/controllertest"
)

// globals are docker-machine's flags of the whole program, each with its variable and a value.
func globals() map[string][2]string {
	return map[string][2]string{
		"debug": {"MACHINE_DEBUG", "true"}, "storage-path": {"MACHINE_STORAGE_PATH", ""}, "native-ssh": {"MACHINE_NATIVE_SSH", "true"},
		"tls-ca-cert": {"MACHINE_TLS_CA_CERT", "/nosuch/ca.pem"}, "tls-ca-key": {"MACHINE_TLS_CA_KEY", "/nosuch/key.pem"},
		"tls-client-cert": {"MACHINE_TLS_CLIENT_CERT", "/nosuch/cert.pem"}, "tls-client-key": {"MACHINE_TLS_CLIENT_KEY", "/nosuch/key.pem"},
		"github-api-token": {"MACHINE_GITHUB_API_TOKEN", "canary"}, "bugsnag-api-token": {"MACHINE_BUGSNAG_API_TOKEN", "no-report"},
	}
}

func TestDockerMachinesGlobalFlagsAreTakenWhereverTheyStand(t *testing.T) {
	for name, of := range globals() {
		variable, value := of[0], of[1]
		c := controllertest.New(t, variable+"="+value)
		c.Put(controllertest.Running("web", "10.0.0.1"))
		if value == "" {
			value = c.Dir().Root
		}
		for _, words := range [][]string{
			{"docker-machine", "--" + name + "=" + value, "status", "web"}, {"docker-machine", "-" + name + "=" + value, "status", "web"},
			{"docker-machine", "status", "web", "--" + name + "=" + value}, {"docker-machine", "status", "--" + name + "=" + value, "--", "web"},
			{"docker-machine", "status", "web"}, // by its variable
		} {
			env := c.Env()
			env.Args = words
			root := newRoot(env)
			if got := argv.Variable(root.PersistentFlags().Lookup(name)); got != variable {
				t.Errorf("--%s has the variable %q, want %q", name, got, variable)
			}
			code, out, err := said(t, c, words[1:]...)
			if code != 0 || out != "Running\n" || strings.Contains(err, "canary") || err != "" && name != "debug" {
				t.Errorf("%q: code %d, %q, %q", words, code, out, err)
			}
		}
	}
}

func TestRunnersFlagStandsBeforeEveryCommand(t *testing.T) {
	c := fleet(t)
	for name := range commands(t) {
		words := append([]string{"--bugsnag-api-token=no-report"}, append(strings.Fields(name), "--help")...)
		if code, out, err := said(t, c, words...); code != 0 || err != "" || !strings.HasPrefix(out, "Usage: mctl "+name) {
			t.Errorf("%q: code %d, %q, %q", words, code, out, err)
		}
	}
}
