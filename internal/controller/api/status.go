package api

import (
	"context"
	"errors"
	"strings"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"mctl/internal/fault"
)

// Domain names us in error details.
const Domain = "mctl"

// codesOf is the one map from kinds of fault to gRPC codes.
var codesOf = map[fault.Kind]codes.Code{
	fault.Invalid:         codes.InvalidArgument,
	fault.NotFound:        codes.NotFound,
	fault.Exists:          codes.AlreadyExists,
	fault.Conflict:        codes.Aborted,
	fault.Denied:          codes.PermissionDenied,
	fault.Unauthenticated: codes.Unauthenticated,
	fault.Quota:           codes.ResourceExhausted,
	fault.Unavailable:     codes.Unavailable,
	fault.Precondition:    codes.FailedPrecondition,
	fault.Resync:          codes.OutOfRange,
	fault.Internal:        codes.Internal,
}

// statusOf turns what a handler returned into what goes over the wire: code, sentence, and details with reason, kind,
// subject and hint. An internal error keeps its text to the log.
func statusOf(err error) error {
	if err == nil {
		return nil
	}
	var f *fault.Error
	if !errors.As(err, &f) {
		if s, ok := status.FromError(err); ok {
			return s.Err()
		}
		switch {
		case errors.Is(err, context.DeadlineExceeded):
			return status.Error(codes.DeadlineExceeded, "the time for this was up")
		case errors.Is(err, context.Canceled):
			return status.Error(codes.Canceled, "the caller went away")
		}
	}
	kind := fault.KindOf(err)
	message := err.Error()
	if f == nil {
		message = "internal error, see the controller's log"
	}
	reason := fault.ReasonOf(err)
	if reason == "" {
		reason = strings.ToUpper(string(kind))
	}
	code, ok := codesOf[kind]
	if !ok { // zero would be OK
		code = codes.Internal
	}
	s := status.New(code, brief(message))
	info := &errdetails.ErrorInfo{
		Reason: reason, Domain: Domain, Metadata: map[string]string{"kind": string(kind), "subject": brief(fault.SubjectOf(err))},
	}
	detailed, detailErr := s.WithDetails(info)
	if hint := brief(fault.HintOf(err)); hint != "" && detailErr == nil {
		detailed, detailErr = detailed.WithDetails(&errdetails.Help{Links: []*errdetails.Help_Link{{Description: hint}}})
	}
	if detailErr != nil {
		return s.Err()
	}
	return detailed.Err()
}

// maxBrief is how much of a text goes into a status, in bytes: callers have limits for headers, and say what they like.
const maxBrief = 2000

func brief(text string) string {
	if len(text) > maxBrief {
		text = text[:maxBrief] + "…"
	}
	return strings.ToValidUTF8(text, "?")
}
