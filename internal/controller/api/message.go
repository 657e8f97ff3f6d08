package api

import (
	"net"
	"slices"
	"strconv"
	"strings"
	"time"

	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	machines "mctl/internal/controller/machine"
	"mctl/internal/host"
	controllerv1 "mctl/proto/mctl/controller/v1"
)

var phases = map[machines.Phase]controllerv1.Phase{
	machines.Pending: controllerv1.Phase_PHASE_PENDING, machines.Creating: controllerv1.Phase_PHASE_CREATING,
	machines.Booting: controllerv1.Phase_PHASE_BOOTING, machines.Joining: controllerv1.Phase_PHASE_JOINING,
	machines.Installing: controllerv1.Phase_PHASE_INSTALLING, machines.Running: controllerv1.Phase_PHASE_RUNNING,
	machines.Stopping: controllerv1.Phase_PHASE_STOPPING, machines.Stopped: controllerv1.Phase_PHASE_STOPPED,
	machines.Starting: controllerv1.Phase_PHASE_STARTING, machines.Deleting: controllerv1.Phase_PHASE_DELETING,
	machines.Importing: controllerv1.Phase_PHASE_IMPORTING,
}

// message is a machine as callers see it: record and live facts, without secrets.
func (m *machineService) message(found *machines.Machine) *controllerv1.Machine {
	view := m.machines().View(found)
	return &controllerv1.Machine{
		Name: found.Name, Uid: found.UID, ResourceVersion: versionText(found.Revision), Generation: found.Generation,
		CreateTime: timestamppb.New(found.Created), Spec: specMessage(found.Spec), Status: statusMessage(found, view),
		Labels: found.Labels,
	}
}

// inView is a machine as much as a caller wants of it.
func (m *machineService) inView(view controllerv1.MachineView, found *machines.Machine) *controllerv1.Machine {
	switch view {
	case controllerv1.MachineView_MACHINE_VIEW_BASIC:
		return m.basic(found, m.machines().View(found))
	case controllerv1.MachineView_MACHINE_VIEW_LIVE:
		seen := m.machines().View(found)
		message := m.basic(found, seen)
		message.Status.Link = linkMessage(found, seen)
		if h := seen.Observed.Health; h != nil {
			message.Status.Health = healthMessage(h)
		}
		return message
	case controllerv1.MachineView_MACHINE_VIEW_UNSPECIFIED, controllerv1.MachineView_MACHINE_VIEW_FULL:
	}
	return m.message(found)
}

// basic is a machine as lists show it. It is what a page of a thousand costs.
func (m *machineService) basic(found *machines.Machine, view machines.View) *controllerv1.Machine {
	return &controllerv1.Machine{
		Name: found.Name, Uid: found.UID, Generation: found.Generation,
		Spec: &controllerv1.MachineSpec{Driver: found.Spec.Driver, Engine: engineMessage(found.Spec), Swarm: swarmMessage(found.Spec.Swarm)},
		Status: &controllerv1.MachineStatus{
			Phase: phases[found.Status.Phase], ObservedGeneration: found.Status.ObservedGeneration, State: view.State, Progress: view.Progress,
			Error: view.Error, Address: found.Address(), Url: urlOf(found), Engine: &controllerv1.EngineStatus{Version: found.Status.Engine.Version},
			Swarm: swarmStatus(found),
		},
	}
}

func specMessage(s machines.Spec) *controllerv1.MachineSpec {
	message := &controllerv1.MachineSpec{
		Driver: s.Driver, Power: controllerv1.PowerState_POWER_STATE_RUNNING, Force: s.Force, TlsSans: s.TLSSANs,
		SshAuthorizedKeys: s.AuthorizedKeys, Rollback: s.Rollback, Credential: s.Credential,
		Counters: &controllerv1.Counters{
			Restart: s.Restart, Provision: s.Provision, Upgrade: s.Upgrade, RegenerateCerts: s.Regenerate, Retry: s.Retry,
		},
		Engine: engineMessage(s), Link: controllerv1.LinkMode_LINK_MODE_AUTO, Swarm: swarmMessage(s.Swarm), DrainTimeout: drainMessage(s.Drain),
	}
	for wire, link := range links {
		if link == s.Link && wire != controllerv1.LinkMode_LINK_MODE_UNSPECIFIED {
			message.Link = wire
		}
	}
	if s.Power == machines.PowerOff {
		message.Power = controllerv1.PowerState_POWER_STATE_STOPPED
	}
	if s.Deleted {
		message.Deletion = &controllerv1.Deletion{Force: s.DeleteForce, Persist: s.DeletePersist, Abandon: s.DeleteAbandon, Release: s.DeleteRelease, PurgeEngine: s.PurgeEngine}
	}
	if s.Waits != (machines.Waits{}) {
		message.Waits = &controllerv1.Waits{
			Ssh: durationpb.New(s.Waits.SSH), Install: durationpb.New(s.Waits.Install), Agent: durationpb.New(s.Waits.Agent),
			Boot: durationpb.New(s.Waits.Boot),
		}
	}
	for name, option := range s.Options {
		message.DriverOptions = append(message.DriverOptions, &controllerv1.DriverOption{Name: name, Values: option.Values})
	}
	slices.SortFunc(message.DriverOptions, func(a, b *controllerv1.DriverOption) int { return strings.Compare(a.Name, b.Name) })
	return message
}

func engineMessage(s machines.Spec) *controllerv1.EngineSpec {
	message := &controllerv1.EngineSpec{
		InstallUrl: s.Engine.InstallURL, StorageDriver: s.Engine.StorageDriver, Labels: s.Engine.Labels, Env: s.Engine.Env,
		InsecureRegistries: s.Engine.InsecureRegistries, RegistryMirrors: s.Engine.RegistryMirrors, Options: s.Engine.Options,
		Port: uint32(s.Port),
	}
	for wire, install := range installs {
		if install == s.Engine.Install && wire != controllerv1.EngineInstall_ENGINE_INSTALL_UNSPECIFIED {
			message.Install = wire
		}
	}
	for wire, restart := range restarts {
		if restart == s.Engine.AdoptRestart && wire != controllerv1.AdoptRestart_ADOPT_RESTART_UNSPECIFIED {
			message.AdoptRestart = wire
		}
	}
	return message
}

func urlOf(m *machines.Machine) string {
	if m.Address() == "" {
		return ""
	}
	return "tcp://" + net.JoinHostPort(m.Address(), strconv.Itoa(int(m.EnginePort())))
}

func statusMessage(m *machines.Machine, view machines.View) *controllerv1.MachineStatus {
	s := m.Status
	message := &controllerv1.MachineStatus{
		Phase: phases[s.Phase], PhaseTime: timestamp(s.PhaseTime), ObservedGeneration: s.ObservedGeneration,
		State: view.State, Progress: view.Progress, Error: view.Error, Address: m.Address(), Url: urlOf(m), Authority: s.Authority, ProviderId: s.ProviderID,
		Ssh: &controllerv1.SSHEndpoint{Address: s.SSH.Address, Port: uint32(s.SSH.Port), User: s.SSH.User, HostKeys: s.SSH.HostKeys},
		Host: &controllerv1.HostStatus{
			Hostname: s.Host.Hostname, Os: s.Host.OS, Arch: s.Host.Arch, Kernel: s.Host.Kernel,
			Cpus: s.Host.CPUs, MemoryBytes: s.Host.MemoryBytes, AgentVersion: s.AgentVersion,
		},
		Engine: &controllerv1.EngineStatus{
			Version: s.Engine.Version, Source: s.Engine.Source, StorageDriver: s.Engine.StorageDriver, Port: uint32(m.EnginePort()),
			CertificateExpireTime: timestamp(s.Front.CertificateExpiry), CertificateSerial: s.Front.CertificateSerial,
			AwaitsRestart: s.Engine.AwaitsRestart,
		},
		Link: linkMessage(m, view), Agentless: s.Agentless, Swarm: swarmStatus(m),
	}
	if m.Import != nil {
		message.ImportSource = m.Import.Source
	}
	if f := s.Failure; f != nil {
		message.Failure = &controllerv1.Failure{Kind: f.Kind, Message: f.Message, Hint: f.Hint, Time: timestamp(f.Time)}
	}
	if h := view.Observed.Health; h != nil {
		message.Health = healthMessage(h)
	}
	return message
}

func healthMessage(h *host.Health) *controllerv1.Health {
	message := &controllerv1.Health{
		Time: timestamp(h.Time), CpuPercent: h.CPUPercent, Load1: h.Load1,
		MemoryTotalBytes: h.MemoryTotal, MemoryAvailableBytes: h.MemoryAvailable,
		EngineUp: h.EngineUp, EnginePing: durationpb.New(h.EnginePing),
		ContainersRunning: h.ContainersRunning, ContainersStopped: h.ContainersStopped,
		ContainersUnhealthy: h.ContainersUnhealthy, ContainersRestarting: h.ContainersRestart,
	}
	if !h.BootTime.IsZero() {
		message.Uptime = durationpb.New(h.Time.Sub(h.BootTime))
	}
	for _, d := range h.Disks {
		message.Disks = append(message.Disks, &controllerv1.DiskUsage{Path: d.Path, TotalBytes: d.Total, AvailableBytes: d.Available})
	}
	return message
}

func timestamp(t time.Time) *timestamppb.Timestamp {
	if t.IsZero() {
		return nil
	}
	return timestamppb.New(t)
}
