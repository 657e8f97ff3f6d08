package footprint

import (
	"encoding/json"
	"io"

	"mctl/internal/fault"
)

// progress tells one sentence.
type progress func(sentence string)

// line is what the other end of an SSH session reads.
type line struct {
	Progress string `json:"progress,omitempty"`
	Done     bool   `json:"done,omitempty"`
	Error    string `json:"error,omitempty"`
	Hint     string `json:"hint,omitempty"`
	Kind     string `json:"kind,omitempty"`
}

// report does work and tells its progress and its end on w. Nobody may be listening any more, which stops nothing.
func report(w io.Writer, work func(progress) error) error {
	encoder := json.NewEncoder(w)
	err := work(func(sentence string) { _ = encoder.Encode(line{Progress: sentence}) })
	end := line{Done: true}
	if err != nil {
		end = line{Error: err.Error(), Hint: fault.HintOf(err), Kind: string(fault.KindOf(err))}
	}
	_ = encoder.Encode(end)
	return err
}
