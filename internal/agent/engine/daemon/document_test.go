package daemon

import (
	"encoding/json"
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

func document(t interface{ Fatal(...any) }, text string) Document {
	d, err := ParseDocument([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func TestADocumentKeepsOrderAndSpelling(t *testing.T) {
	d := document(t, `{"z": 1.50, "a": {"x" : [1 , 2]}, "m": "ü<&"}`)
	want := "{\n    \"z\": 1.50,\n    \"a\": {\n        \"x\": [\n            1,\n            2\n        ]\n    },\n    \"m\": \"ü<&\"\n}\n"
	if got := string(d.Bytes()); got != want {
		t.Errorf("%s\nwant\n%s", got, want)
	}
}

func TestWhatIsNoDocumentIsRefused(t *testing.T) {
	for _, text := range []string{"[]", "1", "{", `{"a":}`, `{"a":1} x`, `{"a":1}{}`, "null", "# comment\n{}"} {
		if _, err := ParseDocument([]byte(text)); err == nil {
			t.Errorf("%q is taken", text)
		}
	}
	for _, text := range []string{"", " \n", "{}", " {} \n"} {
		if d, err := ParseDocument([]byte(text)); err != nil || !d.Empty() {
			t.Errorf("%q: %v", text, err)
		}
	}
}

func TestWithCompletesWhatIsThere(t *testing.T) {
	d := document(t, `{"labels":["a=1","b=2"],"log-opts":{"max-size":"1m"},"mtu":1,"features":{"x":true}}`)
	merged := d.With(map[string]any{
		"labels": []any{"b=3", "c=4"}, "log-opts": map[string]any{"max-file": "2"}, "mtu": 2, "features": map[string]any{"y": false}, "new": "n",
	})
	want := document(t, `{"labels":["a=1","b=3","c=4"],"log-opts":{"max-size":"1m","max-file":"2"},"mtu":2,"features":{"x":true,"y":false},"new":"n"}`)
	if changed := Changed(want, merged); len(changed) != 0 {
		t.Errorf("%v differ:\n%s", changed, merged.Bytes())
	}
	if diff := cmp.Diff([]string{"features", "labels", "log-opts", "mtu", "new"}, Changed(d, merged)); diff != "" {
		t.Error(diff)
	}
}

func TestWithoutLeavesWhatOthersChanged(t *testing.T) {
	tests := map[string]struct{ original, ours, now, want string }{
		"a scalar that stayed goes back":   {`{"mtu":1}`, `{"mtu":2}`, `{"mtu":2}`, `{"mtu":1}`},
		"a scalar of ours goes":            {`{}`, `{"mtu":2}`, `{"mtu":2}`, `{}`},
		"a scalar changed since stays":     {`{"mtu":1}`, `{"mtu":2}`, `{"mtu":3}`, `{"mtu":3}`},
		"a key taken away stays away":      {`{"mtu":1}`, `{"mtu":2}`, `{}`, `{}`},
		"items of ours go, late ones stay": {`{"dns":["1"]}`, `{"dns":["2"]}`, `{"dns":["1","2","3"]}`, `{"dns":["1","3"]}`},
		"items that both have stay":        {`{"dns":["1"]}`, `{"dns":["1","2"]}`, `{"dns":["1","2"]}`, `{"dns":["1"]}`},
		"a replaced label comes back":      {`{"labels":["a=1"]}`, `{"labels":["a=2"]}`, `{"labels":["a=2","x=y"]}`, `{"labels":["x=y","a=1"]}`},
		"an emptied list goes":             {`{}`, `{"dns":["2"]}`, `{"dns":["2"]}`, `{}`},
		"entries of ours go":               {`{"log-opts":{"a":"1"}}`, `{"log-opts":{"a":"2","b":"3"}}`, `{"log-opts":{"a":"2","b":"3","c":"4"}}`, `{"log-opts":{"a":"1","c":"4"}}`},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			var ours map[string]any
			if err := json.Unmarshal([]byte(test.ours), &ours); err != nil {
				t.Fatal(err)
			}
			got := document(t, test.now).Without(ours, document(t, test.original))
			if changed := Changed(document(t, test.want), got); len(changed) != 0 {
				t.Errorf("%s", got.Bytes())
			}
		})
	}
}

func TestWithoutUndoesWith(t *testing.T) {
	value := rapid.OneOf(
		rapid.Map(rapid.IntRange(0, 3), func(n int) any { return n }),
		rapid.Map(rapid.SliceOfNDistinct(rapid.SampledFrom([]string{"a=1", "a=2", "b=1", "c"}), 1, 3, labelOf), func(s []string) any {
			var list []any
			for _, item := range s {
				list = append(list, item)
			}
			return list
		}),
		rapid.Map(rapid.MapOfN(rapid.SampledFrom([]string{"x", "y"}), rapid.SampledFrom([]string{"1", "2"}), 1, 2), func(m map[string]string) any {
			object := map[string]any{}
			for k, v := range m {
				object[k] = v
			}
			return object
		}),
	)
	keys := rapid.MapOf(rapid.SampledFrom([]string{"labels", "dns", "mtu"}), value)
	rapid.Check(t, func(t *rapid.T) {
		original := document(t, string(encode(keys.Draw(t, "original"))))
		ours := keys.Draw(t, "ours")
		back := original.With(ours).Without(ours, original)
		for _, key := range Changed(original, back) {
			// The order of items may change, and nothing else.
			before, _ := original.value(key)
			after, _ := back.value(key)
			a, isA := before.([]any)
			b, isB := after.([]any)
			if !isA || !isB || len(a) != len(b) || !subset(a, b) {
				t.Fatalf("%s: %s became %s by %s", key, encode(before), encode(after), encode(ours[key]))
			}
		}
	})
}

func labelOf(s string) string { return labelName(s) }

func subset(a, b []any) bool {
	for _, item := range a {
		if !has(b, item) {
			return false
		}
	}
	return true
}

func TestNeutralEmptiesWhatIsGone(t *testing.T) {
	neutral, ok := Neutral(document(t, `{"labels":["a"],"debug":true,"features":{"x":true},"mtu":1}`), document(t, `{"mtu":1}`))
	if !ok || len(Changed(neutral, document(t, `{"mtu":1,"labels":[],"debug":false,"features":{}}`))) != 0 {
		t.Errorf("%v %s", ok, neutral.Bytes())
	}
	if _, ok := Neutral(document(t, `{"shutdown-timeout":3}`), document(t, `{}`)); ok {
		t.Error("a number has no empty value")
	}
}

func TestListenersBeyondTheHost(t *testing.T) {
	tests := map[string]int{"fd://": 0, "unix:///x": 0, "tcp://0.0.0.0:1": 1, "0.0.0.0:1": 1, ":2375": 1, "npipe://x": 1}
	for address, want := range tests {
		if got := Listeners([]Option{{Flag: "host", Value: address}}, Document{}); len(got) != want {
			t.Errorf("flag %s: %v", address, got)
		}
		if got := Listeners(nil, document(t, fmt.Sprintf(`{"hosts":[%q]}`, address))); len(got) != want {
			t.Errorf("key %s: %v", address, got)
		}
	}
}
