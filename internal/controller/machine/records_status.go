package machine

import (
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	"mctl/internal/controller/driver"
	"mctl/internal/host"
	recordv1 "mctl/proto/mctl/record/v1"
)

func encodeStatus(s Status) *recordv1.MachineStatus {
	record := &recordv1.MachineStatus{
		Phase: string(s.Phase), PhaseTime: timestamp(s.PhaseTime), ObservedGeneration: s.ObservedGeneration,
		ProviderId: s.ProviderID, Power: string(s.Power), Addresses: s.Addresses, Port: uint32(s.Port),
		SshAddress: s.SSH.Address, SshPort: uint32(s.SSH.Port), SshUser: s.SSH.User, SshHostKeys: s.SSH.HostKeys,
		Host: &recordv1.HostFacts{
			Hostname: s.Host.Hostname, Os: s.Host.OS, Arch: s.Host.Arch, Kernel: s.Host.Kernel,
			Cpus: s.Host.CPUs, MemoryBytes: s.Host.MemoryBytes, BootId: s.Host.BootID,
		},
		Engine: &recordv1.EngineFacts{
			Version: s.Engine.Version, Source: s.Engine.Source, StorageDriver: s.Engine.StorageDriver,
			Port: uint32(s.Front.Port), CertificateExpireTime: timestamp(s.Front.CertificateExpiry),
			CertificateSerial: s.Front.CertificateSerial, AwaitsRestart: s.Engine.AwaitsRestart,
		},
		Authority: s.Authority, AgentVersion: s.AgentVersion, ControllerEndpoints: s.Endpoints,
		DoneRestart: s.DoneRestart, DoneProvision: s.DoneProvision, AppliedDigest: s.AppliedDigest, HostGone: s.HostGone,
		Link: string(s.Link), BootWritten: s.BootWritten, Agentless: s.Agentless,
	}
	if s.Swarm != (SwarmStatus{}) {
		record.Swarm = &recordv1.SwarmStatus{
			Id: s.Swarm.ID, NodeId: s.Swarm.Node, Manager: s.Swarm.Manager, DrainTime: timestamp(s.Swarm.Draining), Drained: s.Swarm.Drained,
		}
	}
	if f := s.Failure; f != nil {
		record.Failure = &recordv1.Failure{
			Kind: f.Kind, Message: f.Message, Hint: f.Hint, Time: timestamp(f.Time), Generation: f.Generation,
		}
	}
	return record
}

func decodeStatus(r *recordv1.MachineStatus) Status {
	h, e := r.GetHost(), r.GetEngine()
	status := Status{
		Phase: Phase(r.GetPhase()), PhaseTime: moment(r.GetPhaseTime()), ObservedGeneration: r.GetObservedGeneration(),
		ProviderID: r.GetProviderId(), Power: driver.Power(r.GetPower()), Addresses: r.GetAddresses(), Port: uint16(r.GetPort()),
		SSH: driver.SSH{
			Address: r.GetSshAddress(), Port: uint16(r.GetSshPort()), User: r.GetSshUser(), HostKeys: r.GetSshHostKeys(),
		},
		Host: host.Facts{
			Hostname: h.GetHostname(), OS: h.GetOs(), Arch: h.GetArch(), Kernel: h.GetKernel(),
			CPUs: h.GetCpus(), MemoryBytes: h.GetMemoryBytes(), BootID: h.GetBootId(),
		},
		Engine: host.EngineFacts{
			Version: e.GetVersion(), Source: e.GetSource(), StorageDriver: e.GetStorageDriver(), AwaitsRestart: e.GetAwaitsRestart(),
		},
		Front: host.FrontFacts{
			Port: uint16(e.GetPort()), CertificateExpiry: moment(e.GetCertificateExpireTime()), CertificateSerial: e.GetCertificateSerial(),
		},
		Authority: r.GetAuthority(), AgentVersion: r.GetAgentVersion(), Endpoints: r.GetControllerEndpoints(),
		DoneRestart: r.GetDoneRestart(), DoneProvision: r.GetDoneProvision(), AppliedDigest: r.GetAppliedDigest(), HostGone: r.GetHostGone(),
		Link: host.Way(r.GetLink()), BootWritten: r.GetBootWritten(), Agentless: r.GetAgentless(),
		Swarm: SwarmStatus{
			ID: r.GetSwarm().GetId(), Node: r.GetSwarm().GetNodeId(), Manager: r.GetSwarm().GetManager(),
			Draining: moment(r.GetSwarm().GetDrainTime()), Drained: r.GetSwarm().GetDrained(),
		},
	}
	if f := r.GetFailure(); f != nil {
		status.Failure = &Failure{
			Kind: f.GetKind(), Message: f.GetMessage(), Hint: f.GetHint(), Time: moment(f.GetTime()), Generation: f.GetGeneration(),
		}
	}
	return status
}

// timestamp and moment keep the zero time apart from the epoch.
func timestamp(t time.Time) *timestamppb.Timestamp {
	if t.IsZero() {
		return nil
	}
	return timestamppb.New(t)
}

func moment(t *timestamppb.Timestamp) time.Time {
	if t == nil {
		return time.Time{}
	}
	return t.AsTime()
}
