// Package fault gives errors a kind, an operation, a subject and a hint. Handlers and steps return faults; one map at each
// edge turns them into gRPC codes, exit codes and one sentence for people.
package fault

import (
	"context"
	"errors"
)

// Kind says what sort of failure it is, which decides what happens next: Quota and Unavailable are retried, the rest parks
// a machine until somebody acts.
type Kind string

// The kinds, each with the gRPC code it maps to.
const (
	Invalid         Kind = "invalid"         // INVALID_ARGUMENT: the request can never succeed
	NotFound        Kind = "not_found"       // NOT_FOUND
	Exists          Kind = "exists"          // ALREADY_EXISTS
	Conflict        Kind = "conflict"        // ABORTED: read again, then repeat
	Denied          Kind = "denied"          // PERMISSION_DENIED
	Unauthenticated Kind = "unauthenticated" // UNAUTHENTICATED
	Quota           Kind = "quota"           // RESOURCE_EXHAUSTED: retried, since room may come
	Unavailable     Kind = "unavailable"     // UNAVAILABLE: retried
	Precondition    Kind = "precondition"    // FAILED_PRECONDITION: somebody must act first
	Resync          Kind = "resync"          // OUT_OF_RANGE: list and watch anew
	Internal        Kind = "internal"        // INTERNAL: our own mistake
)

// ParseKind reads a kind that came from outside: whatever is none of ours is Internal.
func ParseKind(text string) Kind {
	switch k := Kind(text); k {
	case Invalid, NotFound, Exists, Conflict, Denied, Unauthenticated, Quota, Unavailable, Precondition, Resync, Internal:
		return k
	}
	return Internal
}

// Reasons that clients act on beyond the kind. A fault without one is known by its kind alone.
const (
	ReasonUsage    = "USAGE"    // a flag or its value; exit code 2
	ReasonNoKey    = "NO_KEY"   // an authority whose key is lost
	ReasonPrecheck = "PRECHECK" // refused before anything was made; exit code 3
)

// Error is a failure of one operation on one subject.
type Error struct {
	Op      string // package and act, such as "bootstrap.Connect"; for logs, not for people
	Kind    Kind
	Subject string // what it was done to, such as a machine's name; may be empty
	Err     error  // says in one clause what went wrong
	Hint    string // says in one clause what to do; may be empty
	Reason  string // one of the Reason constants; may be empty
}

// E makes a fault. The text of err is what people read, so it names the subject itself where that helps.
func E(op string, kind Kind, subject string, err error) *Error {
	return &Error{Op: op, Kind: kind, Subject: subject, Err: err}
}

// New makes a fault whose cause is a sentence of its own.
func New(op string, kind Kind, subject, sentence string) *Error {
	return E(op, kind, subject, errors.New(sentence))
}

// Error returns what people read.
func (e *Error) Error() string {
	if e.Err != nil {
		return e.Err.Error()
	}
	if e.Subject != "" {
		return e.Subject + ": " + string(e.Kind)
	}
	return string(e.Kind)
}

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

// WithHint returns a copy that tells what to do.
func (e *Error) WithHint(hint string) *Error {
	c := *e
	c.Hint = hint
	return &c
}

// WithReason returns a copy that clients can tell apart.
func (e *Error) WithReason(reason string) *Error {
	c := *e
	c.Reason = reason
	return &c
}

// KindOf returns the kind of the outermost fault in err's chain; Unavailable for a context that ended; Internal for
// anything else; empty for nil.
func KindOf(err error) Kind {
	if err == nil {
		return ""
	}
	var f *Error
	if errors.As(err, &f) {
		return f.Kind
	}
	if errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return Unavailable
	}
	return Internal
}

// Is reports whether err is a fault of the kind.
func Is(err error, kind Kind) bool { return KindOf(err) == kind }

// HintOf returns the outermost hint in err's chain, or nothing.
func HintOf(err error) string {
	return first(err, func(f *Error) string { return f.Hint })
}

// ReasonOf returns the outermost reason in err's chain, or nothing.
func ReasonOf(err error) string {
	return first(err, func(f *Error) string { return f.Reason })
}

// SubjectOf returns the outermost subject in err's chain, or nothing.
func SubjectOf(err error) string {
	return first(err, func(f *Error) string { return f.Subject })
}

// OpOf returns the operations in err's chain, outermost first, for logs.
func OpOf(err error) []string {
	var ops []string
	walk(err, func(f *Error) bool { ops = append(ops, f.Op); return true })
	return ops
}

// Retryable reports whether the same act may succeed later without anybody doing anything.
func Retryable(err error) bool {
	kind := KindOf(err)
	return kind == Quota || kind == Unavailable || kind == Conflict
}

func first(err error, field func(*Error) string) string {
	var found string
	walk(err, func(f *Error) bool { found = field(f); return found == "" })
	return found
}

func walk(err error, visit func(*Error) bool) {
	for {
		var f *Error
		if !errors.As(err, &f) || !visit(f) {
			return
		}
		err = f.Err
	}
}
