package google

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"fmt"

	"mctl/internal/controller/driver"
	"mctl/internal/controller/driver/google/cloud"
)

// progress is what the driver wants to know of a machine's making the next time.
type progress struct {
	Version int `json:"version"`
	// Attempt counts insertions that failed: the API remembers how one ended, and would answer its request id so for ever.
	Attempt int `json:"attempt,omitempty"`
	// Insert is the operation that makes the instance.
	Insert string `json:"insert,omitempty"`
}

func progressOf(m driver.Machine) progress {
	p := progress{Version: 1}
	// What cannot be read was written by nobody; the instance is found by its name all the same.
	_ = json.Unmarshal(m.State, &p)
	return p
}

func (p progress) state() []byte {
	text, _ := json.Marshal(p) // numbers and a text
	return text
}

// requestID is the same for the same attempt, whoever makes it and however often.
func (p progress) requestID(m driver.Machine) string {
	digest := sha256.New()
	fmt.Fprintf(digest, "%s\x00%s\x00%s\x00", m.ControllerID, m.UID, m.Name)
	_ = binary.Write(digest, binary.BigEndian, int64(p.Attempt))
	return cloud.UUID(digest.Sum(nil)[:16])
}
