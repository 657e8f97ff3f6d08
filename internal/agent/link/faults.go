package link

import (
	"context"
	"errors"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"mctl/internal/fault"
)

// faults turns what calls return into faults, at this one edge.
func faults(ctx context.Context, method string, request, reply any, conn *grpc.ClientConn, invoke grpc.UnaryInvoker, options ...grpc.CallOption) error {
	return faultOf(invoke(ctx, method, request, reply, conn, options...))
}

func faultOf(err error) error {
	if err == nil {
		return nil
	}
	s, _ := status.FromError(err)
	f := fault.E("link", kindOf(s.Code()), "", errors.New(s.Message()))
	for _, detail := range s.Details() {
		if help, ok := detail.(*errdetails.Help); ok && len(help.GetLinks()) > 0 {
			f = f.WithHint(help.GetLinks()[0].GetDescription())
		}
	}
	return f
}

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
	case codes.FailedPrecondition, codes.Unimplemented:
		return fault.Precondition
	case codes.OutOfRange:
		return fault.Resync
	case codes.Unavailable, codes.Canceled, codes.DeadlineExceeded:
		return fault.Unavailable
	case codes.OK, codes.Unknown, codes.Internal, codes.DataLoss:
	}
	return fault.Internal
}
