package api

import (
	"context"

	machines "mctl/internal/controller/machine"
	"mctl/internal/fault"
	controllerv1 "mctl/proto/mctl/controller/v1"
)

func (m *machineService) ExportMachine(ctx context.Context, r *controllerv1.ExportMachineRequest) (*controllerv1.ExportMachineResponse, error) {
	caller := identityOf(ctx)
	if r.GetWithSecrets() && !caller.local {
		return nil, fault.New("api.ExportMachine", fault.Denied, r.GetName(), "secrets are exported on the controller's computer alone").
			WithHint("do it there, or leave --with-secrets out")
	}
	exported, err := m.machines().Export(ctx, r.GetName(), r.GetWithSecrets(), r.GetForRelease())
	if err != nil {
		return nil, err
	}
	if r.GetWithSecrets() { // for whoever audits
		m.server.config.Logger.Warn("secrets exported", "machine", r.GetName(), "subject", caller.subject)
	}
	response := &controllerv1.ExportMachineResponse{
		Machine: m.message(exported.Machine), AuthorityCertificate: exported.Authority, AuthorityKey: exported.AuthorityKey, SshKey: exported.Key,
		DriverConfig: exported.Config, StorePath: exported.StorePath, DriverName: exported.Driver,
	}
	if exported.Engine != nil {
		response.Engine = engineMessage(machines.Spec{Engine: *exported.Engine})
	}
	return response, nil
}
