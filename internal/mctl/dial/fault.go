package dial

import (
	"context"
	"errors"
	"io"
	"strings"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"mctl/internal/buildinfo"
	"mctl/internal/fault"
)

// translator turns statuses into faults at the edge, so that nothing behind it knows gRPC's words.
type translator struct {
	where   string // the controller, as people know it
	patient bool   // a call whose connection broke is made again
	// lost is why there is no connection, where that is known.
	lost func() error
}

func (t translator) unary(ctx context.Context, method string, request, response any, cc *grpc.ClientConn, invoke grpc.UnaryInvoker, opts ...grpc.CallOption) error {
	if _, limited := ctx.Deadline(); !limited {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, callLimit)
		defer cancel()
	}
	// Reads may be repeated, and every write carries a request id.
	for pause := leastPause; ; pause *= 2 {
		err := t.fault(method, invoke(withVersion(ctx), method, request, response, cc, opts...))
		var broken broken
		if !t.patient || pause > mostPause || !errors.As(err, &broken) {
			return err
		}
		timer := time.NewTimer(pause)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return err
		}
	}
}

// Pauses before a call is made again whose connection broke. A controller that was killed takes connections until the kernel
// is done with it.
const (
	leastPause = 20 * time.Millisecond
	mostPause  = time.Second
)

func (t translator) stream(ctx context.Context, desc *grpc.StreamDesc, cc *grpc.ClientConn, method string, open grpc.Streamer, opts ...grpc.CallOption) (grpc.ClientStream, error) {
	stream, err := open(withVersion(ctx), desc, cc, method, opts...)
	if err != nil {
		return nil, t.fault(method, err)
	}
	return faultStream{stream, t, method}, nil
}

type faultStream struct {
	grpc.ClientStream
	translator translator
	method     string
}

func (s faultStream) RecvMsg(m any) error {
	return s.translator.fault(s.method, s.ClientStream.RecvMsg(m))
}

func (s faultStream) SendMsg(m any) error {
	return s.translator.fault(s.method, s.ClientStream.SendMsg(m))
}

func (s faultStream) Header() (metadata.MD, error) {
	header, err := s.ClientStream.Header()
	return header, s.translator.fault(s.method, err)
}

// withVersion tells the controller which build asks, so that it can refuse one that it does not understand.
func withVersion(ctx context.Context) context.Context {
	return metadata.AppendToOutgoingContext(ctx, buildinfo.Header, buildinfo.Version())
}

// kindOf is the way back from codes to kinds, for a status without details.
func kindOf(code codes.Code) fault.Kind {
	switch code {
	case codes.InvalidArgument:
		return fault.Invalid
	case codes.NotFound:
		return fault.NotFound
	case codes.AlreadyExists:
		return fault.Exists
	case codes.Aborted:
		return fault.Conflict
	case codes.PermissionDenied:
		return fault.Denied
	case codes.Unauthenticated:
		return fault.Unauthenticated
	case codes.ResourceExhausted:
		return fault.Quota
	case codes.FailedPrecondition:
		return fault.Precondition
	case codes.OutOfRange:
		return fault.Resync
	case codes.Unavailable, codes.DeadlineExceeded:
		return fault.Unavailable
	default:
		return fault.Internal
	}
}

// fault translates an error of a call. What ended because the caller's own context was cancelled stays that.
func (t translator) fault(method string, err error) error {
	if err == nil || errors.Is(err, io.EOF) {
		return err
	}
	s, ok := status.FromError(err)
	if !ok {
		return err
	}
	switch s.Code() {
	case codes.Canceled:
		return context.Canceled
	case codes.DeadlineExceeded:
		if lost := t.lost(); fault.HintOf(lost) != "" {
			return lost
		}
		return fault.E(method, fault.Unavailable, "", deadline{t.where}).WithHint("see `mctl controller logs`, or try again")
	case codes.Unimplemented:
		return fault.New(method, fault.Precondition, "", "the controller is older than this mctl and does not know this command").
			WithHint("upgrade the controller")
	default:
	}
	f := fault.New(method, kindOf(s.Code()), "", s.Message())
	explained := false
	for _, detail := range s.Details() {
		switch detail := detail.(type) {
		case *errdetails.ErrorInfo:
			explained = true
			f.Subject = detail.GetMetadata()["subject"]
			if kind := detail.GetMetadata()["kind"]; kind != "" {
				f.Kind = fault.Kind(kind)
			}
			if reason := detail.GetReason(); reason == fault.ReasonUsage || reason == fault.ReasonPrecheck {
				f.Reason = reason
			}
		case *errdetails.Help:
			if links := detail.GetLinks(); len(links) > 0 {
				f.Hint = links[0].GetDescription()
			}
		}
	}
	switch {
	case explained:
	case s.Code() == codes.Unavailable:
		return t.unreachable(method, s.Message())
	case strings.Contains(s.Message(), "invalid UTF-8"):
		return fault.New(method, fault.Invalid, "", "a name or value is no valid UTF-8 text").WithReason(fault.ReasonUsage)
	}
	return f
}

// unreachable is a failure of the connection itself, of which gRPC's text is for programmers.
func (t translator) unreachable(method, text string) error {
	if _, refusal, found := strings.Cut(text, "remote error: tls: "); found {
		return fault.New(method, fault.Denied, "", t.where+" refuses this client's certificate: "+strings.Trim(refusal, `"`)).
			WithHint("ask for a new invitation and make the context anew")
	}
	lost := t.lost()
	if fault.HintOf(lost) != "" && !fault.Is(lost, fault.Unavailable) {
		return lost
	}
	var silent mute
	if errors.As(lost, &silent) {
		return fault.E(method, fault.Unavailable, "", silent).
			WithHint("see whether its process was stopped or its computer has too much to do, and what `mctl controller logs` says")
	}
	return fault.E(method, fault.Unavailable, "", broken{t.where}).WithHint("see `mctl controller logs`, or try again")
}

// broken is a failure of the connection.
type broken struct{ where string }

func (b broken) Error() string { return "the connection to " + b.where + " broke" }

// mute is a controller that takes connections and says nothing.
type mute struct{ where string }

func (m mute) Error() string { return m.where + " does not answer" }

// deadline says that the controller took too long, and is recognisable as such.
type deadline struct{ where string }

func (d deadline) Error() string { return d.where + " did not answer in time" }

func (d deadline) Is(target error) bool { return target == context.DeadlineExceeded }
