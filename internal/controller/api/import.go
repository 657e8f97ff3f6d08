package api

import (
	"context"
	"fmt"

	"mctl/internal/controller/driver"
	machines "mctl/internal/controller/machine"
	controllerv1 "mctl/proto/mctl/controller/v1"
)

// maxImported bounds the driver's JSON, which may carry certificates and user data.
const maxImported = 256 << 10

func (m *machineService) ImportMachine(ctx context.Context, r *controllerv1.ImportMachineRequest) (*controllerv1.ImportMachineResponse, error) {
	if err := checkRequestID(r.GetRequestId()); err != nil {
		return nil, err
	}
	if err := mayRun(ctx, r.GetSpec().GetDriver()); err != nil {
		return nil, err
	}
	spec, err := specOf(r.GetSpec())
	if err != nil {
		return nil, err
	}
	arrival, err := arrivalOf(r)
	if err != nil {
		return nil, err
	}
	arrival.Spec = spec
	if r.GetValidateOnly() {
		found, err := m.machines().CheckImport(ctx, arrival)
		if err != nil || found == nil {
			return &controllerv1.ImportMachineResponse{}, err
		}
		return &controllerv1.ImportMachineResponse{Machine: m.message(found), Known: true}, nil
	}
	imported, known, err := m.machines().Import(ctx, r.GetRequestId(), arrival)
	if err != nil {
		return nil, err
	}
	return &controllerv1.ImportMachineResponse{Machine: m.message(imported), Known: known}, nil
}

// arrivalOf reads what is imported, but for its spec.
func arrivalOf(r *controllerv1.ImportMachineRequest) (machines.Arrival, error) {
	login := r.GetSsh()
	texts := [][]string{{r.GetSource(), r.GetStorePath(), login.GetAddress(), login.GetUser(), r.GetAddress(), r.GetAgentless()}}
	if err := checkTexts(texts); err != nil {
		return machines.Arrival{}, err
	}
	if len(r.GetSource()) == 0 || len(r.GetSource()) > maxRequestID {
		return machines.Arrival{}, usage("an import says what it was read from, in 1 to 128 bytes")
	}
	if login.GetPort() > 65535 {
		return machines.Arrival{}, usage(fmt.Sprintf("%d is no port", login.GetPort()))
	}
	for _, content := range [][]byte{
		r.GetDriverConfig(), r.GetSshKey(), r.GetAuthorityCertificate(), r.GetAuthorityKey(), r.GetServerCertificate(), r.GetServerKey(),
	} {
		if len(content) > maxImported {
			return machines.Arrival{}, usage(fmt.Sprintf("what is imported has a part of more than %d bytes", maxImported))
		}
	}
	if (len(r.GetServerCertificate()) == 0) != (len(r.GetServerKey()) == 0) {
		return machines.Arrival{}, usage("the engine's certificate and its key come together")
	}
	return machines.Arrival{
		Name: r.GetName(), Key: r.GetSshKey(), Address: r.GetAddress(), Agentless: r.GetAgentless(),
		SSH:       driver.SSH{Address: login.GetAddress(), Port: uint16(login.GetPort()), User: login.GetUser(), HostKeys: login.GetHostKeys()}, //nolint:gosec // checked above
		Authority: r.GetAuthorityCertificate(), AuthorityKey: r.GetAuthorityKey(),
		Import: machines.Import{
			Source: r.GetSource(), Config: r.GetDriverConfig(), StorePath: r.GetStorePath(),
			ServerCertificate: r.GetServerCertificate(), ServerKey: r.GetServerKey(),
		},
	}, nil
}
