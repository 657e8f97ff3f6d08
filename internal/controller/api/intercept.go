package api

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/hashicorp/go-hclog"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"mctl/internal/buildinfo"
	"mctl/internal/fault"
)

// unary puts every call through the same gate: who calls, panics, faults to status, one line of log.
func (s *Server) unary(ctx context.Context, request any, info *grpc.UnaryServerInfo, handle grpc.UnaryHandler) (response any, err error) {
	began := s.config.Now()
	defer func() { s.log(info.FullMethod, began, err); err = statusOf(err) }()
	defer func() {
		if p := recover(); p != nil {
			err = s.panicked(info.FullMethod, p)
		}
	}()
	if ctx, err = s.admit(ctx, info.FullMethod); err != nil {
		return nil, err
	}
	response, err = handle(ctx, request)
	return response, ended(ctx, err)
}

// stream is unary for streams.
func (s *Server) stream(server any, stream grpc.ServerStream, info *grpc.StreamServerInfo, handle grpc.StreamHandler) (err error) {
	began := s.config.Now()
	defer func() { s.log(info.FullMethod, began, err); err = statusOf(err) }()
	defer func() {
		if p := recover(); p != nil {
			err = s.panicked(info.FullMethod, p)
		}
	}()
	ctx, err := s.admit(stream.Context(), info.FullMethod)
	if err != nil {
		return err
	}
	return ended(ctx, handle(server, streamWithContext{stream, ctx}))
}

// ended names the cause where a call ended with its context: a caller must be able to tell that it was not its own doing.
func ended(ctx context.Context, err error) error {
	if cause := context.Cause(ctx); errors.Is(err, context.Canceled) && cause != nil {
		return cause
	}
	return err
}

type streamWithContext struct {
	grpc.ServerStream
	ctx context.Context //nolint:containedctx // the only way to hand it on
}

func (s streamWithContext) Context() context.Context { return s.ctx }

func (s *Server) admit(ctx context.Context, method string) (context.Context, error) {
	if err := s.compatible(ctx, method); err != nil {
		return ctx, err
	}
	return s.authorize(ctx, method)
}

// anyVersion are the methods by which a client of another version finds out which this is, and has it make room.
var anyVersion = []string{"/mctl.controller.v1.SystemService/GetInfo", "/mctl.controller.v1.SystemService/Shutdown"}

// compatible refuses a caller whose version is too far from ours.
func (s *Server) compatible(ctx context.Context, method string) error {
	incoming, _ := metadata.FromIncomingContext(ctx)
	theirs := incoming.Get(buildinfo.Header)
	if len(theirs) == 0 || slices.Contains(anyVersion, method) {
		return nil
	}
	if err := buildinfo.Compatible(s.config.Info.Version, theirs[0]); err != nil {
		return fault.E("api.compatible", fault.Precondition, method, err).
			WithHint("`mctl controller stop` ends a controller of your own; the next command starts the one of its build")
	}
	return nil
}

func (s *Server) panicked(method string, p any) error {
	s.config.Logger.Error("handler panicked", "method", method, "panic", p, "stack", hclog.Stacktrace())
	return fault.New("api", fault.Internal, method, "internal error, see the controller's log")
}

// log writes one line a call. Only our own mistakes are errors; what a client does wrong is information, as long as it is
// no flood.
func (s *Server) log(method string, began time.Time, err error) {
	took := s.config.Now().Sub(began)
	switch {
	case err == nil || gone(err):
		s.config.Logger.Debug("call", "method", method, "took", took, "error", err)
	case fault.Is(err, fault.Internal):
		s.config.Logger.Error("call failed", "method", method, "took", took, "error", err, "op", fault.OpOf(err))
	case s.loud.Allow():
		s.config.Logger.Info("call refused", "method", method, "took", took, "kind", fault.KindOf(err), "error", brief(err.Error()))
	}
}

// gone reports whether a call ended because the caller went away, as most streams end: by a fault of gRPC's own, not of ours.
func gone(err error) bool {
	code := status.Code(err)
	return errors.Is(err, context.Canceled) || code == codes.Canceled || code == codes.Unavailable
}
