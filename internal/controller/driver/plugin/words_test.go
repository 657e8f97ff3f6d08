package plugin

import (
	"slices"
	"strings"
	"testing"

	"mctl/internal/controller/driver"
	"mctl/internal/controller/driver/plugin/wire"
	"mctl/internal/fault"
)

func TestAListOfSecretsIsSealedAsOneSecretIs(t *testing.T) {
	flags := []wire.Flag{
		&wire.StringSliceFlag{Name: "x-api-tokens", Value: []string{"default"}}, &wire.StringSliceFlag{Name: "x-tags", Value: []string{"a"}},
	}
	schema, err := schemaOf("x", flags)
	if err != nil {
		t.Fatal(err)
	}
	at := len(schema) - 2
	if tokens, tags := schema[at], schema[at+1]; tokens.Kind != driver.Secret || tokens.Type != driver.StringList || tokens.Default != nil || tags.Kind != driver.Value {
		t.Errorf("%+v, %+v", tokens, tags)
	}
	options := driver.Options{"x-api-tokens": {Content: []byte("hunter2\x00swordfish")}}
	if got := valuesOf("x", driver.Swarm{}, flags, options, nil); !slices.Equal(got["x-api-tokens"].([]string), []string{"hunter2", "swordfish"}) {
		t.Errorf("the plugin gets %v", got["x-api-tokens"])
	}
	if got := valuesOf("x", driver.Swarm{}, flags, nil, nil); !slices.Equal(got["x-api-tokens"].([]string), []string{"default"}) {
		t.Errorf("where none is given it gets %v", got["x-api-tokens"])
	}
	if said := secretsOf(schema, options).hide("no swordfish, no hunter2"); said != "no (redacted), no (redacted)" {
		t.Errorf("it says %q", said)
	}
}

func TestFlagsThatNameASecretInOtherWordsAreSealedToo(t *testing.T) {
	for name, want := range map[string]driver.FlagKind{
		"google-auth-encoded-json": driver.Secret, "oci-private-key-contents": driver.Secret, "harvester-kubeconfig-content": driver.Secret,
		"x-kube-config": driver.Secret, "oci-private-key-path": driver.Upload, "openstack-auth-url": driver.Value, "amazonec2-keypair-name": driver.Value,
	} {
		if got := flagOf(&wire.StringFlag{Name: name}).Kind; got != want {
			t.Errorf("%s is %v, want %v", name, got, want)
		}
	}
}

func TestPeopleAreToldAPluginsLinesUpToALimitAndWithoutAName(t *testing.T) {
	var told []string
	tell := (&session{machine: "web", hidden: secretsOf(nil, nil)}).tell(func(line string) { told = append(told, line) })
	for range 2 * maxLines {
		tell("Creating a key ...") // whoever shows it says of which machine
	}
	if len(told) != maxLines || told[0] != "Creating a key ..." || told[maxLines-1] != "The plugin says more than is shown" {
		t.Errorf("%d lines, %q to %q", len(told), told[0], told[len(told)-1])
	}
}

func TestDefaultsReachThePluginAsItToldThem(t *testing.T) {
	long := strings.Repeat("q", maxUsage+1)
	flags := []wire.Flag{
		&wire.StringSliceFlag{Name: "x-tags", Value: []string{"a\nb", long}}, &wire.StringFlag{Name: "x-text", Value: "c\nd"},
		&wire.StringSliceFlag{Name: "x-zones", Value: []string{"z1"}}, &wire.StringFlag{Name: "x-size", Value: "small"},
	}
	schema, err := schemaOf("x", flags)
	if err != nil {
		t.Fatal(err)
	}
	options := driver.Options{} // as the controller fills them in
	for _, f := range schema {
		if len(f.Default) > 0 {
			options[f.Name] = driver.Option{Values: f.Default}
		}
	}
	got := valuesOf("x", driver.Swarm{}, flags, options, nil)
	if !slices.Equal(got["x-tags"].([]string), []string{"a\nb", long}) || got["x-text"] != "c\nd" || !slices.Equal(got["x-zones"].([]string), []string{"z1"}) || got["x-size"] != "small" {
		t.Errorf("%q", got)
	}
	if options.String("x-size") != "small" || options.String("x-zones") != "z1" {
		t.Errorf("people are told %v", options)
	}
}

func TestNoPartOfASecretIsLeftWhereALineIsCutOrOneOfItsLinesIsSaid(t *testing.T) {
	schema := []driver.Flag{{Name: "x-token", Kind: driver.Secret}, {Name: "x-key-path", Kind: driver.Upload}, {Name: "x-longer", Kind: driver.Secret}}
	hidden := secretsOf(schema, driver.Options{
		"x-token": {Content: []byte("hunter2hunter2")}, "x-longer": {Content: []byte("hunter2hunter2 and more")},
		"x-key-path": {Values: []string{"id"}, Content: []byte("-----BEGIN KEY-----\nMIIEpAIBAAKCAQEA7\ndone\n-----END KEY-----\n")},
	})
	for said, want := range map[string]string{
		strings.Repeat("x", maxSentence-7) + "hunter2hunter2": strings.Repeat("x", maxSentence-7) + "(redact…",
		"it reads MIIEpAIBAAKCAQEA7":                          "it reads (redacted)", "all done": "all done", "hunter2hunter2 and more": "(redacted)",
	} {
		if got := hidden.tidy(said); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}

func TestAnswersMeanWhatTheirWordsSay(t *testing.T) {
	for text, want := range map[string]fault.Kind{
		"404 Not Found": fault.NotFound, "Domain not found: no domain with matching name": fault.NotFound, "instance does not exist": fault.NotFound,
		"quota exceeded": fault.Quota, "RequestLimitExceeded: limit exceeded": fault.Quota, "401 Unauthorized": fault.Denied,
		"dial tcp: connection refused": fault.Unavailable, "context deadline exceeded": fault.Unavailable,
		"Host is not running": fault.Precondition, "": fault.Precondition, "port 4040 is taken": fault.Precondition,
	} {
		if got := kindOf(text); got != want {
			t.Errorf("%q is %s, want %s", text, got, want)
		}
	}
}
