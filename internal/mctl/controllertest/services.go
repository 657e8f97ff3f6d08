package controllertest

import (
	"context"
	"fmt"
	"maps"
	"os"
	"path"
	"slices"
	"strings"
	"unicode"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	"mctl/internal/fault"
	controllerv1 "mctl/proto/mctl/controller/v1"
)

func (c *Controller) unary(ctx context.Context, request any, info *grpc.UnaryServerInfo, handle grpc.UnaryHandler) (any, error) {
	if err := c.admit(info.FullMethod); err != nil {
		return nil, err
	}
	response, err := handle(ctx, request)
	return response, statusOf(err)
}

func (c *Controller) stream(server any, stream grpc.ServerStream, info *grpc.StreamServerInfo, handle grpc.StreamHandler) error {
	if err := c.admit(info.FullMethod); err != nil {
		return err
	}
	return statusOf(handle(server, stream))
}

func (c *Controller) admit(method string) error {
	method = path.Base(method)
	c.mu.Lock()
	c.calls = append(c.calls, method)
	refuse := c.Refuse
	c.mu.Unlock()
	if refuse == nil {
		return nil
	}
	return statusOf(refuse(method))
}

// statusOf tells a fault as a controller does. Other errors go as they are.
func statusOf(err error) error {
	kind, known := map[fault.Kind]codes.Code{
		fault.Invalid: codes.InvalidArgument, fault.NotFound: codes.NotFound, fault.Exists: codes.AlreadyExists, fault.Conflict: codes.Aborted,
		fault.Denied: codes.PermissionDenied, fault.Quota: codes.ResourceExhausted, fault.Unavailable: codes.Unavailable,
		fault.Precondition: codes.FailedPrecondition, fault.Resync: codes.OutOfRange,
	}[fault.KindOf(err)]
	if err == nil || !known || fault.SubjectOf(err) == "" && fault.HintOf(err) == "" && fault.ReasonOf(err) == "" && fault.Is(err, fault.Unavailable) {
		return err
	}
	s, detailErr := status.New(kind, err.Error()).WithDetails(
		&errdetails.ErrorInfo{Reason: fault.ReasonOf(err), Domain: "mctl", Metadata: map[string]string{"kind": string(fault.KindOf(err)), "subject": fault.SubjectOf(err)}},
		&errdetails.Help{Links: []*errdetails.Help_Link{{Description: fault.HintOf(err)}}},
	)
	if detailErr != nil {
		return detailErr
	}
	return s.Err()
}

// GetMachine implements controllerv1.MachineServiceServer, as the others here do.
func (c *Controller) GetMachine(_ context.Context, r *controllerv1.GetMachineRequest) (*controllerv1.GetMachineResponse, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	m, err := c.find(r.GetName())
	return &controllerv1.GetMachineResponse{Machine: m}, err
}

// ListMachines gives two machines a page, so that who forgets the others is found out.
func (c *Controller) ListMachines(_ context.Context, r *controllerv1.ListMachinesRequest) (*controllerv1.ListMachinesResponse, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	names := c.names()
	start := slices.Index(names, r.GetPageToken()) + 1
	end := min(start+2, len(names))
	response := &controllerv1.ListMachinesResponse{}
	for _, name := range names[start:end] {
		response.Machines = append(response.Machines, proto.CloneOf(c.machines[name]))
	}
	if end < len(names) {
		response.NextPageToken = names[end-1]
	}
	return response, nil
}

func (c *Controller) CreateMachine(_ context.Context, r *controllerv1.CreateMachineRequest) (*controllerv1.CreateMachineResponse, error) {
	c.mu.Lock()
	_, there := c.machines[r.GetName()]
	c.mu.Unlock()
	if there {
		return nil, fault.New("controllertest", fault.Exists, r.GetName(), `Docker machine "`+r.GetName()+`" already exists`)
	}
	m := Running(r.GetName(), "127.0.0.1")
	m.Spec, m.Status.ObservedGeneration = r.GetSpec(), 0
	m.Status.Phase, m.Status.State = controllerv1.Phase_PHASE_CREATING, "Starting"
	c.Put(m)
	return &controllerv1.CreateMachineResponse{Machine: m}, c.act("CreateMachine", m.GetName())
}

// ImportMachine takes note of a machine that runs at once; the same source once more is known.
func (c *Controller) ImportMachine(_ context.Context, r *controllerv1.ImportMachineRequest) (*controllerv1.ImportMachineResponse, error) {
	c.mu.Lock()
	known, there := c.machines[r.GetName()]
	c.mu.Unlock()
	switch {
	case there && known.GetStatus().GetImportSource() == r.GetSource():
		return &controllerv1.ImportMachineResponse{Machine: known, Known: true}, nil
	case there:
		return nil, fault.New("controllertest", fault.Exists, r.GetName(), `Docker machine "`+r.GetName()+`" already exists`)
	}
	for _, label := range r.GetSpec().GetEngine().GetLabels() {
		if strings.ContainsFunc(label, unicode.IsControl) {
			return nil, fault.New("controllertest", fault.Invalid, "", fmt.Sprintf("the value %q has a control character", label)).WithReason(fault.ReasonUsage)
		}
	}
	if r.GetValidateOnly() {
		return &controllerv1.ImportMachineResponse{}, nil
	}
	m := Running(r.GetName(), r.GetAddress())
	m.Spec, m.Status.ImportSource = r.GetSpec(), r.GetSource()
	c.Put(m)
	return &controllerv1.ImportMachineResponse{Machine: m}, c.act("ImportMachine", m.GetName())
}

// ExportMachine knows no secrets but the machine's name.
func (c *Controller) ExportMachine(_ context.Context, r *controllerv1.ExportMachineRequest) (*controllerv1.ExportMachineResponse, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	m, err := c.find(r.GetName())
	response := &controllerv1.ExportMachineResponse{Machine: m, AuthorityCertificate: []byte("authority")}
	if r.GetWithSecrets() {
		response.AuthorityKey, response.SshKey = []byte("authority's key"), []byte("key to "+r.GetName())
		response.DriverConfig, response.StorePath = []byte(`{"Token":"hunter2","StorePath":"/old","SSHKeyPath":"/elsewhere/key"}`), "/old"
	}
	if c.Exported != nil && err == nil {
		c.Exported(response)
	}
	return response, err
}

func (c *Controller) DeleteMachine(_ context.Context, r *controllerv1.DeleteMachineRequest) (*controllerv1.DeleteMachineResponse, error) {
	m, err := c.edit("DeleteMachine", r.GetName(), func(m *controllerv1.Machine) {
		m.Spec.Deletion = &controllerv1.Deletion{
			Force: r.GetForce(), Persist: m.GetSpec().GetDeletion().GetPersist() || r.GetPersist(), PurgeEngine: r.GetPurgeEngine(),
		}
	})
	if r.GetRelease() && err == nil {
		c.mu.Lock()
		c.released = append(c.released, r.GetName())
		c.mu.Unlock()
	}
	return &controllerv1.DeleteMachineResponse{Machine: m}, err
}

func (c *Controller) StartMachine(_ context.Context, r *controllerv1.StartMachineRequest) (*controllerv1.StartMachineResponse, error) {
	m, err := c.edit("StartMachine", r.GetName(), func(m *controllerv1.Machine) { m.Spec.Power = controllerv1.PowerState_POWER_STATE_RUNNING })
	return &controllerv1.StartMachineResponse{Machine: m}, err
}

func (c *Controller) StopMachine(_ context.Context, r *controllerv1.StopMachineRequest) (*controllerv1.StopMachineResponse, error) {
	m, err := c.edit("StopMachine", r.GetName(), func(m *controllerv1.Machine) {
		m.Spec.Power, m.Spec.Force = controllerv1.PowerState_POWER_STATE_STOPPED, r.GetForce()
	})
	return &controllerv1.StopMachineResponse{Machine: m}, err
}

func (c *Controller) RestartMachine(_ context.Context, r *controllerv1.RestartMachineRequest) (*controllerv1.RestartMachineResponse, error) {
	m, err := c.edit("RestartMachine", r.GetName(), func(m *controllerv1.Machine) { m.Spec.Power = controllerv1.PowerState_POWER_STATE_RUNNING })
	return &controllerv1.RestartMachineResponse{Machine: m}, err
}

func (c *Controller) ProvisionMachine(_ context.Context, r *controllerv1.ProvisionMachineRequest) (*controllerv1.ProvisionMachineResponse, error) {
	m, err := c.edit("ProvisionMachine", r.GetName(), func(*controllerv1.Machine) {})
	return &controllerv1.ProvisionMachineResponse{Machine: m}, err
}

func (c *Controller) UpgradeMachine(_ context.Context, r *controllerv1.UpgradeMachineRequest) (*controllerv1.UpgradeMachineResponse, error) {
	m, err := c.edit("UpgradeMachine", r.GetName(), func(m *controllerv1.Machine) { m.Spec.Power = controllerv1.PowerState_POWER_STATE_RUNNING })
	return &controllerv1.UpgradeMachineResponse{Machine: m}, err
}

func (c *Controller) RegenerateCertificates(_ context.Context, r *controllerv1.RegenerateCertificatesRequest) (*controllerv1.RegenerateCertificatesResponse, error) {
	m, err := c.edit("RegenerateCertificates", r.GetName(), func(*controllerv1.Machine) {})
	return &controllerv1.RegenerateCertificatesResponse{Machine: m}, err
}

func (c *Controller) RetryMachine(_ context.Context, r *controllerv1.RetryMachineRequest) (*controllerv1.RetryMachineResponse, error) {
	m, err := c.edit("RetryMachine", r.GetName(), func(*controllerv1.Machine) {})
	return &controllerv1.RetryMachineResponse{Machine: m}, err
}

func (c *Controller) UpdateLabels(_ context.Context, r *controllerv1.UpdateLabelsRequest) (*controllerv1.UpdateLabelsResponse, error) {
	c.mu.Lock()
	_, err := c.find(r.GetName())
	c.mu.Unlock()
	if err != nil {
		return nil, err
	}
	c.Change(r.GetName(), func(m *controllerv1.Machine) {
		if m.Labels == nil {
			m.Labels = map[string]string{}
		}
		maps.Copy(m.Labels, r.GetLabels())
	})
	c.mu.Lock()
	defer c.mu.Unlock()
	m, err := c.find(r.GetName())
	return &controllerv1.UpdateLabelsResponse{Machine: m}, err
}

func (c *Controller) edit(method, name string, change func(*controllerv1.Machine)) (*controllerv1.Machine, error) {
	c.mu.Lock()
	m, err := c.find(name)
	c.mu.Unlock()
	if err != nil {
		return nil, err
	}
	c.Change(name, func(m *controllerv1.Machine) {
		change(m)
		m.Generation++
		m.Status.Failure = nil
	})
	change(m)
	m.Generation++
	return m, c.act(method, name)
}

// act has the wish come true as the test says, or at once.
func (c *Controller) act(method, name string) error {
	c.mu.Lock()
	m, err := c.find(name)
	c.mu.Unlock()
	switch {
	case err != nil:
		return err
	case c.Act != nil:
		c.Act(method, m)
	case method == "DeleteMachine":
		c.Remove(name)
	default:
		c.Change(name, Reach)
	}
	return nil
}

// Reach has a machine be what it was asked to be.
func Reach(m *controllerv1.Machine) {
	m.Status.ObservedGeneration = m.GetGeneration()
	m.Status.Phase, m.Status.State = controllerv1.Phase_PHASE_RUNNING, "Running"
	if m.GetSpec().GetPower() == controllerv1.PowerState_POWER_STATE_STOPPED {
		m.Status.Phase, m.Status.State = controllerv1.Phase_PHASE_STOPPED, "Stopped"
	}
}

// Park has a machine fail.
func Park(kind fault.Kind, message, hint string) func(*controllerv1.Machine) {
	return func(m *controllerv1.Machine) {
		m.Status.State, m.Status.Error = "Error", message
		m.Status.Failure = &controllerv1.Failure{Kind: string(kind), Message: message, Hint: hint}
	}
}

func (c *Controller) ListDrivers(context.Context, *controllerv1.ListDriversRequest) (*controllerv1.ListDriversResponse, error) {
	all := slices.Clone(c.Drivers)
	for _, d := range c.Plugins {
		all = append(all, &controllerv1.Driver{Name: d.GetName(), Summary: d.GetSummary()})
	}
	return &controllerv1.ListDriversResponse{Drivers: all}, nil
}

func (c *Controller) GetDriver(_ context.Context, r *controllerv1.GetDriverRequest) (*controllerv1.GetDriverResponse, error) {
	for _, d := range slices.Concat(c.Drivers, c.Plugins) {
		if d.GetName() == r.GetName() {
			return &controllerv1.GetDriverResponse{Driver: d}, nil
		}
	}
	return nil, fault.New("controllertest", fault.NotFound, r.GetName(), "Driver not found")
}

func (c *Controller) IssueClientCertificate(_ context.Context, r *controllerv1.IssueClientCertificateRequest) (*controllerv1.IssueClientCertificateResponse, error) {
	c.mu.Lock()
	authority := c.authority
	c.mu.Unlock()
	return authority.Issue(r.GetCsr())
}

func (c *Controller) GetInfo(context.Context, *controllerv1.GetInfoRequest) (*controllerv1.GetInfoResponse, error) {
	return &controllerv1.GetInfoResponse{ControllerId: "test", Version: "test", Build: "test", Pid: int64(os.Getpid())}, nil
}
