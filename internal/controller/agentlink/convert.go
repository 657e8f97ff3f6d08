package agentlink

import (
	"slices"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	"mctl/internal/fault"
	"mctl/internal/host"
	agentv1 "mctl/proto/mctl/agent/v1"
)

func desiredMessage(d host.Desired) *agentv1.Desired {
	e := d.Engine
	message := &agentv1.Desired{
		Generation: d.Generation, Digest: d.Digest(),
		Engine: &agentv1.EngineDesired{
			Install: string(e.Install), InstallUrl: e.InstallURL, StorageDriver: e.StorageDriver, Labels: e.Labels, Env: e.Env,
			InsecureRegistries: e.InsecureRegistries, RegistryMirrors: e.RegistryMirrors, Options: e.Options,
			Upgrade: e.Upgrade, Provision: e.Provision, DockerRepositoryReachable: e.RepositoryReachable,
			AdoptRestart: string(e.AdoptRestart), SwarmMember: e.SwarmMember,
		},
		Front: &agentv1.FrontDesired{
			Port: uint32(d.Front.Port), Sans: d.Front.SANs, ClientCa: d.Front.ClientCA, Rotation: d.Front.Rotation,
			ServerCertificate: d.Front.Certificate, ServerKey: d.Front.Key,
			SwarmPort: uint32(d.Front.SwarmPort),
		},
	}
	if d.Release != nil {
		message.Release = &agentv1.Release{PurgeEngine: d.Release.PurgeEngine}
	}
	return message
}

func factsOf(m *agentv1.HostFacts) host.Facts {
	return host.Facts{
		Hostname: host.Line(m.GetHostname()), OS: host.Line(m.GetOs()), Arch: host.Line(m.GetArch()), Kernel: host.Line(m.GetKernel()),
		CPUs: m.GetCpus(), MemoryBytes: m.GetMemoryBytes(), BootID: host.Line(m.GetBootId()),
	}
}

func appliedOf(m *agentv1.Applied) host.Applied {
	applied := host.Applied{
		Generation: m.GetGeneration(), Digest: m.GetDigest(), Released: m.GetReleased(),
		Engine: host.EngineFacts{
			Version: host.Line(m.GetEngine().GetVersion()), Source: host.Line(m.GetEngine().GetSource()), StorageDriver: host.Line(m.GetEngine().GetStorageDriver()),
			AwaitsRestart: host.Line(m.GetEngine().GetAwaitsRestart()),
		},
		Front: host.FrontFacts{
			Port: uint16(m.GetFront().GetPort()), CertificateExpiry: moment(m.GetFront().GetCertificateExpireTime()),
			CertificateSerial: host.Line(m.GetFront().GetCertificateSerial()),
		},
	}
	if f := m.GetFailure(); f != nil {
		applied.Failure = &host.Failure{Kind: string(fault.ParseKind(f.GetKind())), Message: host.Line(f.GetMessage()), Hint: host.Line(f.GetHint())}
	}
	return applied
}

// moment is the zero time for one that no calendar has: it could not be told to others.
func moment(t *timestamppb.Timestamp) time.Time {
	if !t.IsValid() {
		return time.Time{}
	}
	return t.AsTime()
}

// mergeHealth lays a delta over what was known. The result is a new value: others may hold the old one.
func mergeHealth(before *host.Health, m *agentv1.Health, now time.Time) *host.Health {
	merged := host.Health{}
	if before != nil && m.GetDelta() {
		merged = *before
	}
	merged.Time = now
	set(&merged.CPUPercent, m.CpuPercent)
	set(&merged.Load1, m.Load1)
	set(&merged.MemoryTotal, m.MemoryTotalBytes)
	set(&merged.MemoryAvailable, m.MemoryAvailableBytes)
	set(&merged.EngineUp, m.EngineUp)
	set(&merged.ContainersRunning, m.ContainersRunning)
	set(&merged.ContainersStopped, m.ContainersStopped)
	set(&merged.ContainersUnhealthy, m.ContainersUnhealthy)
	set(&merged.ContainersRestart, m.ContainersRestarting)
	if m.BootTimeSeconds != nil {
		merged.BootTime = moment(&timestamppb.Timestamp{Seconds: m.GetBootTimeSeconds()})
	}
	if m.EnginePingMicros != nil {
		merged.EnginePing = time.Duration(m.GetEnginePingMicros()) * time.Microsecond
	}
	if len(m.GetDisks()) > 0 {
		merged.Disks = make([]host.Disk, 0, len(m.GetDisks()))
		for _, d := range m.GetDisks()[:min(len(m.GetDisks()), maxDisks)] {
			merged.Disks = append(merged.Disks, host.Disk{Path: host.Line(d.GetPath()[:min(len(d.GetPath()), maxAttribute)]), Total: d.GetTotalBytes(), Available: d.GetAvailableBytes()})
		}
	}
	return &merged
}

func set[T any](target, value *T) {
	if value != nil {
		*target = *value
	}
}

// What an agent may say, so that a hostile one can't fill the controller's memory or a terminal.
const (
	maxAttributes = 16
	maxAttribute  = 256 // bytes of its name, and of its value
	maxDisks      = 32
)

// known are the events that a host may report; links are the controller's own to judge.
var known = []string{
	host.EventProgress, host.EventEngineUp, host.EventEngineDown,
	host.EventContainerDied, host.EventContainerOOM, host.EventContainerUnhealthy,
}

func eventOf(m *agentv1.Fact, now time.Time) (host.Event, bool) {
	if !slices.Contains(known, m.GetType()) {
		return host.Event{}, false
	}
	e := host.Event{Type: m.GetType(), Time: now, Message: host.Line(m.GetMessage()), Attributes: map[string]string{}}
	for key, value := range m.GetAttributes() {
		if len(e.Attributes) == maxAttributes {
			break
		}
		e.Attributes[host.Line(key[:min(len(key), maxAttribute)])] = host.Line(value[:min(len(value), maxAttribute)])
	}
	return e, true
}
