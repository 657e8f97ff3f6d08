// Package request remembers writes by their request ids, so that one which comes again is known and changes nothing.
package request

import (
	"slices"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	"mctl/internal/fault"
	recordv1 "mctl/proto/mctl/record/v1"
)

// What a record remembers.
const (
	maxKept = 64
	Life    = 24 * time.Hour
)

// Done is a write that was carried out.
type Done struct {
	ID, Method string
	Time       time.Time
}

// Memory is the newest writes of one record, oldest first: 64 at most, of the last day.
type Memory []Done

// Knows reports whether a request was carried out before. No id is never known; one that did something else is fault.Invalid.
func (m Memory) Knows(id, method string) (bool, error) {
	i := slices.IndexFunc(m, func(d Done) bool { return id != "" && d.ID == id })
	if i < 0 {
		return false, nil
	}
	if m[i].Method != method {
		return false, fault.New("request.Knows", fault.Invalid, "", "the request id was used for another act already")
	}
	return true, nil
}

// With returns a memory that knows one more request; without an id it only forgets what is too old.
func (m Memory) With(id, method string, now time.Time) Memory {
	return append(m, Done{ID: id, Method: method, Time: now}).newest(now)
}

// Without returns a memory that does not know a request.
func (m Memory) Without(id string) Memory {
	return slices.DeleteFunc(slices.Clone(m), func(d Done) bool { return d.ID == id })
}

// And returns a memory that knows what both know.
func (m Memory) And(other Memory, now time.Time) Memory {
	return slices.Concat(m, other).newest(now)
}

// newest drops what has no id, what is too old, and the oldest of too many. The result is a slice of its own.
func (m Memory) newest(now time.Time) Memory {
	kept := make(Memory, 0, len(m))
	for _, d := range m {
		if d.ID != "" && now.Sub(d.Time) <= Life {
			kept = append(kept, d)
		}
	}
	return kept[max(0, len(kept)-maxKept):]
}

// Encode returns the stored form.
func (m Memory) Encode() []*recordv1.Request {
	records := make([]*recordv1.Request, len(m))
	for i, d := range m {
		records[i] = &recordv1.Request{Id: d.ID, Method: d.Method, Time: timestamppb.New(d.Time)}
	}
	return records
}

// Decode reads the stored form.
func Decode(records []*recordv1.Request) Memory {
	if len(records) == 0 {
		return nil
	}
	m := make(Memory, len(records))
	for i, r := range records {
		m[i] = Done{ID: r.GetId(), Method: r.GetMethod(), Time: r.GetTime().AsTime()}
	}
	return m
}
