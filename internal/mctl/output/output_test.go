package output

import (
	"bytes"
	"encoding/json"
	"errors"
	"math"
	"slices"
	"strings"
	"testing"

	"mctl/internal/fault"
	controllerv1 "mctl/proto/mctl/controller/v1"
)

func TestTextOfOthersCannotSteerATerminal(t *testing.T) {
	for given, want := range map[string]string{
		"plain text":              "plain text",
		"two\nlines\tand a tab":   "two\nlines\tand a tab",
		"größe 你好":                "größe 你好",
		"\x1b]0;title\x07\x1b[2J": " ]0;title  [2J",
		"over\rwritten\x00":       "over written ",
		"c1 \u009b2J":             "c1  2J",
		"\u202egnp.exe\u2066":     " gnp.exe ",
		"bad \xff utf8":           "bad ? utf8",
		"del\x7f":                 "del ",
	} {
		if got := Plain(given); got != want {
			t.Errorf("Plain(%q) = %q, want %q", given, got, want)
		}
	}
	if got := Line("  a\n b\t\x1bc "); got != "a b c" {
		t.Errorf("Line = %q", got)
	}
}

func TestTableAlignsAsDockerMachineDid(t *testing.T) {
	var out bytes.Buffer
	if err := Table(&out, []string{"NAME", "STATE", "ERRORS"}, [][]string{{"a", "Running", ""}, {"longer-name", "Stopped", "two\nlines\x1b[0m"}}); err != nil {
		t.Fatal(err)
	}
	want := "NAME          STATE     ERRORS\na             Running   \nlonger-name   Stopped   two lines [0m\n"
	if out.String() != want {
		t.Errorf("table is\n%q\nwant\n%q", out.String(), want)
	}
}

type item struct{ Name, State string }

func TestTemplateIsATableOrALineAnItem(t *testing.T) {
	table := []any{map[string]string{"Name": "NAME", "State": "STATE"}, item{"web", "Running"}, item{"a-longer-one", "Stopped"}}
	for format, want := range map[string]string{
		"{{.Name}}":                          "web\na-longer-one\n",
		" {{.Name}} ":                        "web\na-longer-one\n",
		`{{.Name}}\t{{.State}}`:              "web\tRunning\na-longer-one\tStopped\n",
		`{{.Name}}\n-`:                       "web\n-\na-longer-one\n-\n",
		`table {{.Name}}\t{{.State}}`:        "NAME           STATE\nweb            Running\na-longer-one   Stopped\n",
		"table {{.Name}}\t{{.State}}":        "NAME           STATE\nweb            Running\na-longer-one   Stopped\n",
		"table":                              "\n\n\n",
		`{{if eq .State "Stopped"}}x{{end}}`: "\nx\n",
	} {
		parsed, err := ParseTemplate(format)
		if err != nil {
			t.Errorf("%q: %v", format, err)
			continue
		}
		var out bytes.Buffer
		var rows []string
		items := table
		if !parsed.Table() {
			items = table[1:]
		}
		for _, item := range items {
			row, err := parsed.Row(item)
			if err != nil {
				t.Errorf("%q: %v", format, err)
			}
			rows = append(rows, row)
		}
		write := Rows
		if parsed.Table() {
			write = Columns
		}
		if err := write(&out, slices.Values(rows)); err != nil || out.String() != want {
			t.Errorf("%q is %q, %v, want %q", format, out.String(), err, want)
		}
	}
}

func TestBadTemplatePrintsNothingAndSaysSo(t *testing.T) {
	for _, format := range []string{"{{.Name", "{{json .}}", "{{nosuch}}"} {
		if _, err := ParseTemplate(format); !fault.Is(err, fault.Invalid) || !strings.HasPrefix(err.Error(), "template parsing error: ") || fault.HintOf(err) == "" {
			t.Errorf("%q: %v, hint %q", format, err, fault.HintOf(err))
		}
	}
	parsed, err := ParseTemplate("{{.Name}} {{.Nosuch}}")
	if err != nil {
		t.Fatal(err)
	}
	if row, err := parsed.Row(item{"web", ""}); err == nil || row != "" {
		t.Errorf("%v, but there is a row %q", err, row)
	}
}

func TestTemplateThatLoopsTakesNotAllMemory(t *testing.T) {
	const loop = `{{range 1000000000}}{{printf "%100000d" 1}}{{end}}`
	parsed, err := ParseTemplate(loop)
	if err != nil {
		t.Fatal(err)
	}
	if row, err := parsed.Row(item{"web", ""}); !fault.Is(err, fault.Invalid) || row != "" {
		t.Errorf("%d bytes, %v", len(row), err)
	}
	var out bytes.Buffer
	if err := Render(&out, loop, []byte("1")); !fault.Is(err, fault.Invalid) || out.Len() > 0 {
		t.Errorf("%d bytes, %v", out.Len(), err)
	}
}

func TestRenderSeesTheDocumentAsJSONHasIt(t *testing.T) {
	document := []byte(`{"Name":"web","Driver":{"IPAddress":"10.0.0.1","Evil":"\u001b[2J"},"Ports":[1,2.5],"HTML":"<&>"}`)
	for format, want := range map[string]string{
		"{{.Driver.IPAddress}}": "10.0.0.1\n",
		"{{.Nosuch}}":           "<no value>\n",
		"{{index .Ports 0}}":    "1\n",
		"{{json .Ports}}":       "[1,2.5]\n",
		"{{json .HTML}}":        "\"<&>\"\n",
		"{{prettyjson .Ports}}": "[\n    1,\n    2.5\n]\n",
		"{{.Driver.Evil}}":      " [2J\n",
		"":                      "\n",
	} {
		var out bytes.Buffer
		if err := Render(&out, format, document); err != nil || out.String() != want {
			t.Errorf("%q is %q, %v, want %q", format, out.String(), err, want)
		}
	}
	for _, format := range []string{"{{", "{{.Name.X.Y}}"} {
		if err := Render(new(bytes.Buffer), format, document); err == nil || !strings.HasPrefix(err.Error(), "template parsing error: ") {
			t.Errorf("%q: %v", format, err)
		}
	}
	if Render(new(bytes.Buffer), "x", []byte("{")) == nil {
		t.Error("a broken document is rendered")
	}
}

func TestJSONHasEveryFieldOfAMessage(t *testing.T) {
	var out bytes.Buffer
	if err := JSON(&out, Messages([]*controllerv1.Machine{{Name: "a<b"}, {}})); err != nil {
		t.Fatal(err)
	}
	var all []map[string]any
	if err := json.Unmarshal(out.Bytes(), &all); err != nil {
		t.Fatal(err)
	}
	if _, there := all[1]["status"]; len(all) != 2 || all[0]["name"] != "a<b" || !there {
		t.Errorf("the document is %s", out.String())
	}
	if !strings.Contains(out.String(), "\n    \"name\": \"a<b\"") {
		t.Errorf("it is not indented, or escaped for HTML: %s", out.String())
	}
	out.Reset()
	if err := JSONLine(&out, Message(&controllerv1.Event{Message: "two\nlines"})); err != nil || strings.Count(out.String(), "\n") != 1 {
		t.Errorf("a line of a stream is %q, %v", out.String(), err)
	}
	out.Reset()
	if err := JSON(&out, Messages[*controllerv1.Machine](nil)); err != nil || out.String() != "[]\n" {
		t.Errorf("no messages are %q, %v", out.String(), err)
	}
	out.Reset()
	steering := "\x1b[2J \u009b2J \x7f \u202e größe 你好"
	if err := JSON(&out, map[string]string{"a": steering}); err != nil || out.String() != "{\n  \"a\": \"\\u001b[2J \\u009b2J \\u007f \\u202e größe 你好\"\n}\n" {
		t.Errorf("%q, %v", out.String(), err)
	}
	var back map[string]string
	if err := json.Unmarshal(out.Bytes(), &back); err != nil || back["a"] != steering {
		t.Errorf("it is read as %q, %v", back, err)
	}
	if JSON(&out, math.NaN()) == nil {
		t.Error("what is no JSON is written")
	}
}

type full struct{}

func (full) Write([]byte) (int, error) { return 0, errors.New("no space left") }

func TestFullDiskIsTold(t *testing.T) {
	if JSON(full{}, 1) == nil || Table(full{}, []string{"A"}, nil) == nil || Render(full{}, "x", []byte("1")) == nil {
		t.Error("an error of the output is lost")
	}
	if Rows(full{}, slices.Values([]string{"x"})) == nil || Columns(full{}, slices.Values([]string{"x"})) == nil {
		t.Error("an error of the output is lost")
	}
}
