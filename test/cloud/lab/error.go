package lab

import (
	"errors"
	"fmt"
	"time"
)

// Kind says what sort of refusal an Error is. Each front has its own words for them.
type Kind string

// The kinds.
const (
	Invalid         Kind = "invalid"
	NotFound        Kind = "not found"
	Exists          Kind = "exists"
	InUse           Kind = "in use"
	Unauthenticated Kind = "unauthenticated" // who is it? Such as a credential that has expired
	Denied          Kind = "denied"          // we know who it is
	Quota           Kind = "quota"           // the caller's own limit
	StockOut        Kind = "stock-out"       // the cloud's limit, in one zone
	RateLimited     Kind = "rate-limited"    // 429
	Unavailable     Kind = "unavailable"     // 503
	Internal        Kind = "internal"        // 500
)

// Error is a refusal.
type Error struct {
	Kind       Kind
	Text       string        // one clause
	RetryAfter time.Duration // told with the answer; zero for nothing
}

// Error returns the text.
func (e *Error) Error() string { return e.Text }

// KindOf returns the kind of an error that the lab returned; Internal for any other, empty for nil.
func KindOf(err error) Kind {
	var e *Error
	switch {
	case err == nil:
		return ""
	case errors.As(err, &e):
		return e.Kind
	}
	return Internal
}

func refuse(kind Kind, format string, arguments ...any) *Error {
	return &Error{Kind: kind, Text: fmt.Sprintf(format, arguments...)}
}
