package driver

import (
	"slices"
	"strings"
	"testing"

	"mctl/internal/fault"
)

var schema = []Flag{
	{Name: "size", Type: Int, Kind: Value, Default: []string{"1"}},
	{Name: "fast", Type: Bool, Kind: Value},
	{Name: "tags", Type: StringList, Kind: Value},
	{Name: "token", Type: String, Kind: Secret},
	{Name: "key", Type: String, Kind: File, Env: "KEY", Required: true},
	{Name: "account", Type: String, Kind: Credential},
	{Name: "path", Type: String, Kind: Upload},
}

func TestOptionsAreHeldAgainstTheSchema(t *testing.T) {
	key := Option{Content: []byte("key")}
	for name, c := range map[string]struct {
		given Options
		flag  string // that is refused; empty for none
	}{
		"least":                  {Options{"key": key}, ""},
		"all":                    {Options{"key": key, "size": {Values: []string{"2"}}, "fast": {Values: []string{"true"}}, "tags": {Values: []string{"a", "b"}}, "token": {Content: []byte("t")}}, ""},
		"an uploaded file":       {Options{"key": key, "path": {Values: []string{"id"}, Content: []byte("x")}}, ""},
		"an uploaded text":       {Options{"key": key, "path": {Content: []byte("x")}}, ""},
		"an upload of nothing":   {Options{"key": key, "path": {Values: []string{"/etc/shadow"}}}, "path"},
		"missing":                {Options{}, "key"},
		"unknown":                {Options{"key": key, "colour": {}}, "colour"},
		"no number":              {Options{"key": key, "size": {Values: []string{"big"}}}, "size"},
		"no truth":               {Options{"key": key, "fast": {Values: []string{"very"}}}, "fast"},
		"two for one":            {Options{"key": key, "size": {Values: []string{"1", "2"}}}, "size"},
		"a secret as a value":    {Options{"key": key, "token": {Values: []string{"hunter2"}}}, "token"},
		"a file as a value":      {Options{"key": {Values: []string{"/etc/shadow"}}}, "key"},
		"an account as a value":  {Options{"key": key, "account": {Values: []string{"hunter2"}}}, "account"},
		"both for a secret":      {Options{"key": key, "token": {Values: []string{"hunter2"}, Content: []byte("t")}}, "token"},
		"a value sent as secret": {Options{"key": key, "size": {Content: []byte("2")}}, "size"},
	} {
		resolved, err := Resolve("test", schema, c.given)
		if c.flag == "" {
			if err != nil || resolved.Int("size") == 0 {
				t.Errorf("%s: %v, %v", name, resolved, err)
			}
			continue
		}
		if !fault.Is(err, fault.Invalid) || fault.ReasonOf(err) != fault.ReasonUsage || fault.SubjectOf(err) != c.flag || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%s: %v on %q", name, err, fault.SubjectOf(err))
		}
	}
	if resolved, err := Resolve("test", schema, Options{"key": key}); err != nil || !slices.Equal(resolved.Strings("size"), []string{"1"}) {
		t.Errorf("the default: %v, %v", resolved, err)
	}
}
