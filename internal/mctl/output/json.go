package output

import (
	"bytes"
	"encoding/json"
	"io"

	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
)

// JSON writes any value as one indented document.
func JSON(out io.Writer, value any) error {
	text, err := encode(value, "  ")
	if err != nil {
		return err
	}
	_, err = io.WriteString(out, text+"\n")
	return err
}

// Message writes a message of the API as one indented document. Every field is there, so that scripts find it.
func Message(out io.Writer, message proto.Message) error {
	text, err := document(message)
	if err != nil {
		return err
	}
	return indented(out, text)
}

// MessageLine writes a message on one line, for streams.
func MessageLine(out io.Writer, message proto.Message) error {
	text, err := document(message)
	if err != nil {
		return err
	}
	_, err = out.Write(append(text, '\n'))
	return err
}

// Messages writes messages as one array.
func Messages[M proto.Message](out io.Writer, messages []M) error {
	var text bytes.Buffer
	text.WriteByte('[')
	for i, message := range messages {
		one, err := document(message)
		if err != nil {
			return err
		}
		if i > 0 {
			text.WriteByte(',')
		}
		text.Write(one)
	}
	text.WriteByte(']')
	return indented(out, text.Bytes())
}

// document is compact, since protojson varies its spaces on purpose.
func document(message proto.Message) ([]byte, error) {
	text, err := protojson.MarshalOptions{EmitUnpopulated: true}.Marshal(message)
	if err != nil {
		return nil, err
	}
	var compact bytes.Buffer
	if err := json.Compact(&compact, text); err != nil {
		return nil, err
	}
	return compact.Bytes(), nil
}

func indented(out io.Writer, text []byte) error {
	var pretty bytes.Buffer
	if err := json.Indent(&pretty, text, "", "  "); err != nil {
		return err
	}
	pretty.WriteByte('\n')
	_, err := out.Write(pretty.Bytes())
	return err
}
