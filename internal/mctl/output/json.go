package output

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"strings"

	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
)

// JSON writes any value as one indented document.
func JSON(out io.Writer, value any) error { return writeJSON(out, value, "  ") }

// JSONLine writes any value as one document on a line of its own, for streams.
func JSONLine(out io.Writer, value any) error { return writeJSON(out, value, "") }

func writeJSON(out io.Writer, value any, indent string) error {
	text, err := encode(value, indent)
	if err != nil {
		return err
	}
	_, err = io.WriteString(out, text+"\n")
	return err
}

// Message is a message of the API as a value for JSON. Every field is there, so that scripts find it.
func Message(m proto.Message) json.Marshaler { return message{m} }

// Messages are many.
func Messages[M proto.Message](all []M) []json.Marshaler {
	values := make([]json.Marshaler, 0, len(all))
	for _, m := range all {
		values = append(values, message{m})
	}
	return values
}

type message struct{ proto.Message }

// MarshalJSON implements json.Marshaler.
func (m message) MarshalJSON() ([]byte, error) {
	return protojson.MarshalOptions{EmitUnpopulated: true}.Marshal(m.Message)
}

func encode(v any, indent string) (string, error) {
	var text bytes.Buffer
	encoder := json.NewEncoder(&text)
	encoder.SetEscapeHTML(false)
	encoder.SetIndent("", indent)
	if err := encoder.Encode(v); err != nil {
		return "", err
	}
	return escapeJSON(string(bytes.TrimRight(text.Bytes(), "\n"))), nil
}

// escapeJSON writes what steers a terminal, and JSON allows in a text as it is, as JSON's escapes.
func escapeJSON(text string) string {
	if isPlain(text) {
		return text
	}
	var escaped strings.Builder
	for _, r := range text {
		if r != '\n' && steers(r) {
			fmt.Fprintf(&escaped, `\u%04x`, r)
			continue
		}
		escaped.WriteRune(r)
	}
	return escaped.String()
}
