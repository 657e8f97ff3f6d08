package api

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"time"

	machines "mctl/internal/controller/machine"
	"mctl/internal/controller/store"
	"mctl/internal/fault"
	controllerv1 "mctl/proto/mctl/controller/v1"
)

const (
	maxPage      = 1000
	maxPageBytes = 3 << 20 // of records; gRPC's clients take 4 MiB where nobody tells them otherwise
	maxRequestID = 128
	defaultWait  = 10 * time.Minute
)

// machineService implements controllerv1.MachineServiceServer; its proto says what each call promises.
type machineService struct {
	controllerv1.UnimplementedMachineServiceServer
	server *Server
}

func (m *machineService) machines() *machines.Service { return m.server.config.Machines }

func (m *machineService) GetMachine(ctx context.Context, r *controllerv1.GetMachineRequest) (*controllerv1.GetMachineResponse, error) {
	found, err := m.machines().Get(ctx, r.GetName())
	if err != nil {
		return nil, err
	}
	return &controllerv1.GetMachineResponse{Machine: m.message(found)}, nil
}

func (m *machineService) ListMachines(ctx context.Context, r *controllerv1.ListMachinesRequest) (*controllerv1.ListMachinesResponse, error) {
	all, revision, err := m.machines().List(ctx)
	if err != nil {
		return nil, err
	}
	size := int(r.GetPageSize())
	if size <= 0 || size > maxPage {
		size = maxPage
	}
	// A token is the last name of the page before: it stays good while machines come and go.
	start := 0
	if token := r.GetPageToken(); token != "" {
		for start < len(all) && machines.NaturalCompare(all[start].Name, token) <= 0 {
			start++
		}
	}
	page := all[start:min(start+size, len(all))]
	for i, bytes := 0, 0; i < len(page); i++ {
		if bytes += page[i].Size; bytes > maxPageBytes && i > 0 {
			page = page[:i]
		}
	}
	response := &controllerv1.ListMachinesResponse{
		Machines: make([]*controllerv1.Machine, len(page)), ResourceVersion: versionText(revision),
	}
	for i, found := range page {
		response.Machines[i] = m.inView(r.GetView(), found)
	}
	if start+len(page) < len(all) {
		response.NextPageToken = page[len(page)-1].Name
	}
	return response, nil
}

func (m *machineService) CreateMachine(ctx context.Context, r *controllerv1.CreateMachineRequest) (*controllerv1.CreateMachineResponse, error) {
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
	made, err := m.machines().Create(ctx, r.GetRequestId(), r.GetName(), spec, r.GetValidateOnly())
	if err != nil {
		return nil, err
	}
	response := &controllerv1.CreateMachineResponse{Machine: m.message(made)}
	if r.GetValidateOnly() {
		response.Plan, err = m.machines().Plan(ctx, made)
	}
	return response, err
}

func (m *machineService) DeleteMachine(ctx context.Context, r *controllerv1.DeleteMachineRequest) (*controllerv1.DeleteMachineResponse, error) {
	at, err := checkWrite(r)
	if err != nil {
		return nil, err
	}
	drain, err := drainOf(r.GetDrainTimeout())
	if err != nil {
		return nil, err
	}
	deleted, err := m.machines().Delete(ctx, r.GetRequestId(), r.GetName(), at, machines.Deletion{
		Force: r.GetForce(), Persist: r.GetPersist(), Abandon: r.GetAbandon(), Release: r.GetRelease(), Purge: r.GetPurgeEngine(), Drain: drain,
	})
	if err != nil {
		return nil, err
	}
	return &controllerv1.DeleteMachineResponse{Machine: m.message(deleted)}, nil
}

func (m *machineService) StartMachine(ctx context.Context, r *controllerv1.StartMachineRequest) (*controllerv1.StartMachineResponse, error) {
	edited, err := m.edit(ctx, r, "start", func(s *machines.Spec) { s.Power, s.Force = machines.PowerOn, false })
	return &controllerv1.StartMachineResponse{Machine: edited}, err
}

func (m *machineService) StopMachine(ctx context.Context, r *controllerv1.StopMachineRequest) (*controllerv1.StopMachineResponse, error) {
	drain, err := drainOf(r.GetDrainTimeout())
	if err != nil {
		return nil, err
	}
	edited, err := m.edit(ctx, r, "stop", func(s *machines.Spec) { s.Power, s.Force, s.Drain = machines.PowerOff, r.GetForce(), drain })
	return &controllerv1.StopMachineResponse{Machine: edited}, err
}

func (m *machineService) RestartMachine(ctx context.Context, r *controllerv1.RestartMachineRequest) (*controllerv1.RestartMachineResponse, error) {
	edited, err := m.edit(ctx, r, "restart", func(s *machines.Spec) { s.Power, s.Force, s.Restart = machines.PowerOn, false, s.Restart+1 })
	return &controllerv1.RestartMachineResponse{Machine: edited}, err
}

func (m *machineService) ProvisionMachine(ctx context.Context, r *controllerv1.ProvisionMachineRequest) (*controllerv1.ProvisionMachineResponse, error) {
	edited, err := m.edit(ctx, r, "provision", func(s *machines.Spec) { s.Provision++ })
	return &controllerv1.ProvisionMachineResponse{Machine: edited}, err
}

func (m *machineService) UpgradeMachine(ctx context.Context, r *controllerv1.UpgradeMachineRequest) (*controllerv1.UpgradeMachineResponse, error) {
	edited, err := m.edit(ctx, r, "upgrade", func(s *machines.Spec) { s.Power, s.Force, s.Upgrade = machines.PowerOn, false, s.Upgrade+1 })
	return &controllerv1.UpgradeMachineResponse{Machine: edited}, err
}

func (m *machineService) RegenerateCertificates(ctx context.Context, r *controllerv1.RegenerateCertificatesRequest) (*controllerv1.RegenerateCertificatesResponse, error) {
	edited, err := m.edit(ctx, r, "regenerate", func(s *machines.Spec) { s.Regenerate++ })
	return &controllerv1.RegenerateCertificatesResponse{Machine: edited}, err
}

func (m *machineService) RetryMachine(ctx context.Context, r *controllerv1.RetryMachineRequest) (*controllerv1.RetryMachineResponse, error) {
	edited, err := m.edit(ctx, r, "retry", func(s *machines.Spec) { s.Retry++ })
	return &controllerv1.RetryMachineResponse{Machine: edited}, err
}

func (m *machineService) UpdateLabels(ctx context.Context, r *controllerv1.UpdateLabelsRequest) (*controllerv1.UpdateLabelsResponse, error) {
	at, err := checkWrite(r)
	if err != nil {
		return nil, err
	}
	if err := checkLabels(r.GetLabels()); err != nil {
		return nil, err
	}
	labelled, err := m.machines().Label(ctx, r.GetRequestId(), r.GetName(), at, r.GetLabels())
	if err != nil {
		return nil, err
	}
	return &controllerv1.UpdateLabelsResponse{Machine: m.message(labelled)}, nil
}

// writeRequest is what every write of a machine carries.
type writeRequest interface {
	GetRequestId() string
	GetName() string
	GetResourceVersion() string
}

func (m *machineService) edit(ctx context.Context, r writeRequest, method string, change func(*machines.Spec)) (*controllerv1.Machine, error) {
	at, err := checkWrite(r)
	if err != nil {
		return nil, err
	}
	edited, err := m.machines().Edit(ctx, r.GetRequestId(), method, r.GetName(), at, change)
	if err != nil {
		return nil, err
	}
	return m.message(edited), nil
}

func (m *machineService) WaitMachine(ctx context.Context, r *controllerv1.WaitMachineRequest) (*controllerv1.WaitMachineResponse, error) {
	limit := defaultWait
	if r.GetTimeout() != nil {
		limit = r.GetTimeout().AsDuration()
	}
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	wait := wait{request: r, generation: r.GetGeneration()}
	for {
		found, err := m.waitOnce(ctx, &wait)
		if fault.Is(err, fault.Resync) {
			continue // it fell behind, and looks anew
		}
		if err != nil || found == nil {
			return &controllerv1.WaitMachineResponse{}, err
		}
		return &controllerv1.WaitMachineResponse{Machine: m.message(found)}, nil
	}
}

// wait is what somebody waits for. The machine is the one that had the name at first.
type wait struct {
	request    *controllerv1.WaitMachineRequest
	uid        string
	generation uint64
}

// waitOnce returns the machine when the wait is over, nil for one that is gone.
func (m *machineService) waitOnce(ctx context.Context, w *wait) (*machines.Machine, error) {
	name := w.request.GetName()
	all, revision, err := m.machines().List(ctx)
	if err != nil {
		return nil, err
	}
	i := slices.IndexFunc(all, func(found *machines.Machine) bool { return found.Name == name })
	switch {
	case i < 0 && w.uid == "" && !w.request.GetDeleted():
		return nil, machines.NotFound(name)
	case i < 0 || w.uid != "" && w.uid != all[i].UID:
		return nil, nil
	}
	now := all[i]
	if w.uid = now.UID; w.generation == 0 {
		w.generation = now.Generation
	}
	if waited(now, w.generation, w.request.GetDeleted()) {
		return now, nil
	}
	for change, err := range m.machines().Watch(ctx, revision) {
		switch {
		case err != nil:
			return nil, err
		case change.Machine.Name != name:
		case change.Deleted:
			return nil, nil
		case waited(change.Machine, w.generation, w.request.GetDeleted()):
			return change.Machine, nil
		}
	}
	return nil, context.Cause(ctx)
}

// waited reports whether a machine has come where somebody waits for it to be, or is parked on the way.
func waited(m *machines.Machine, generation uint64, deleted bool) bool {
	if m.Status.Failure != nil {
		return true
	}
	return !deleted && m.Status.ObservedGeneration >= generation
}

func checkRequestID(id string) error {
	if len(id) > maxRequestID {
		return fault.E("api.checkRequestID", fault.Invalid, "", fmt.Errorf("a request id has at most %d bytes", maxRequestID))
	}
	return nil
}

func checkWrite(r writeRequest) (store.Revision, error) {
	if err := checkRequestID(r.GetRequestId()); err != nil {
		return 0, err
	}
	return versionOf(r.GetResourceVersion())
}

// versionOf reads a resource version; empty is zero.
func versionOf(text string) (store.Revision, error) {
	if text == "" {
		return 0, nil
	}
	n, err := strconv.ParseUint(text, 10, 64)
	if err != nil {
		return 0, fault.New("api.versionOf", fault.Invalid, "", "that is no resource version")
	}
	return store.Revision(n), nil
}

func versionText(r store.Revision) string { return strconv.FormatUint(uint64(r), 10) }
