package api

import (
	"context"

	"google.golang.org/protobuf/types/known/timestamppb"

	controllerv1 "mctl/proto/mctl/controller/v1"
)

// systemService implements controllerv1.SystemServiceServer.
type systemService struct {
	controllerv1.UnimplementedSystemServiceServer
	server *Server
}

func (s *systemService) GetInfo(ctx context.Context, _ *controllerv1.GetInfoRequest) (*controllerv1.GetInfoResponse, error) {
	names, err := s.server.config.Machines.Names(ctx)
	if err != nil {
		return nil, err
	}
	info := s.server.config.Info
	return &controllerv1.GetInfoResponse{
		ControllerId: info.ControllerID, Version: info.Version, Build: info.Build, Pid: int64(info.PID),
		StartTime: timestamppb.New(info.Started), ListenAddresses: info.Addresses,
		Machines: uint32(len(names)), Busy: uint32(s.server.config.Busy()),
	}, nil
}

func (s *systemService) Shutdown(context.Context, *controllerv1.ShutdownRequest) (*controllerv1.ShutdownResponse, error) {
	s.server.config.Logger.Info("told to shut down")
	s.server.config.Shutdown()
	return &controllerv1.ShutdownResponse{}, nil
}
