package link

import (
	"math"
	"slices"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	"mctl/internal/host"
	agentv1 "mctl/proto/mctl/agent/v1"
)

func desiredOf(m *agentv1.Desired) host.Desired {
	e, f := m.GetEngine(), m.GetFront()
	wish := host.Desired{
		Generation: m.GetGeneration(),
		Engine: host.Engine{
			Install: host.Install(e.GetInstall()), InstallURL: e.GetInstallUrl(), StorageDriver: e.GetStorageDriver(),
			Labels: e.GetLabels(), Env: e.GetEnv(), InsecureRegistries: e.GetInsecureRegistries(),
			RegistryMirrors: e.GetRegistryMirrors(), Options: e.GetOptions(), Upgrade: e.GetUpgrade(),
			Provision: e.GetProvision(), RepositoryReachable: e.GetDockerRepositoryReachable(), AdoptRestart: host.AdoptRestart(e.GetAdoptRestart()),
			SwarmMember: e.GetSwarmMember(),
		},
		Front: host.Front{
			Port: uint16(min(f.GetPort(), math.MaxUint16)), SANs: f.GetSans(), ClientCA: f.GetClientCa(), Rotation: f.GetRotation(),
			SwarmPort: uint16(min(f.GetSwarmPort(), math.MaxUint16)), Certificate: f.GetServerCertificate(), Key: f.GetServerKey(),
		},
	}
	if r := m.GetRelease(); r != nil {
		wish.Release = &host.Release{PurgeEngine: r.GetPurgeEngine()}
	}
	return wish
}

func appliedMessage(a host.Applied) *agentv1.Applied {
	m := &agentv1.Applied{
		Generation: a.Generation, Digest: a.Digest, Released: a.Released,
		Engine: &agentv1.EngineFacts{
			Version: a.Engine.Version, Source: a.Engine.Source, StorageDriver: a.Engine.StorageDriver, AwaitsRestart: a.Engine.AwaitsRestart,
		},
		Front: &agentv1.FrontFacts{Port: uint32(a.Front.Port), CertificateSerial: a.Front.CertificateSerial},
	}
	if !a.Front.CertificateExpiry.IsZero() {
		m.Front.CertificateExpireTime = timestamppb.New(a.Front.CertificateExpiry)
	}
	if f := a.Failure; f != nil {
		m.Failure = &agentv1.Failure{Kind: f.Kind, Message: f.Message, Hint: f.Hint}
	}
	return m
}

func factsMessage(f host.Facts) *agentv1.HostFacts {
	return &agentv1.HostFacts{
		Hostname: f.Hostname, Os: f.OS, Arch: f.Arch, Kernel: f.Kernel, Cpus: f.CPUs, MemoryBytes: f.MemoryBytes, BootId: f.BootID,
	}
}

func factMessage(e host.Event) *agentv1.Fact {
	return &agentv1.Fact{Type: e.Type, Time: timestamppb.New(e.Time), Message: e.Message, Attributes: e.Attributes}
}

// healthDelta says what changed between two looks; before is nil for the first of a session, now is nil while nothing is
// known. Figures are rounded to what a person would call a change, so that an idle host says next to nothing.
func healthDelta(before, now *host.Health) *agentv1.Health {
	if now == nil {
		return &agentv1.Health{Delta: true}
	}
	m := &agentv1.Health{Delta: before != nil}
	if before == nil {
		before = &host.Health{}
	}
	a, b := rounded(*before), rounded(*now)
	all := !m.GetDelta()
	m.CpuPercent = changed(all, a.CPUPercent, b.CPUPercent)
	m.Load1 = changed(all, a.Load1, b.Load1)
	m.MemoryTotalBytes = changed(all, a.MemoryTotal, b.MemoryTotal)
	m.MemoryAvailableBytes = changed(all, a.MemoryAvailable, b.MemoryAvailable)
	m.BootTimeSeconds = changed(all, a.BootTime.Unix(), b.BootTime.Unix())
	m.EngineUp = changed(all, a.EngineUp, b.EngineUp)
	m.EnginePingMicros = changed(all, a.EnginePing.Microseconds(), b.EnginePing.Microseconds())
	m.ContainersRunning = changed(all, a.ContainersRunning, b.ContainersRunning)
	m.ContainersStopped = changed(all, a.ContainersStopped, b.ContainersStopped)
	m.ContainersUnhealthy = changed(all, a.ContainersUnhealthy, b.ContainersUnhealthy)
	m.ContainersRestarting = changed(all, a.ContainersRestart, b.ContainersRestart)
	if !slices.Equal(a.Disks, b.Disks) {
		for _, d := range b.Disks {
			m.Disks = append(m.Disks, &agentv1.DiskUsage{Path: d.Path, TotalBytes: d.Total, AvailableBytes: d.Available})
		}
	}
	return m
}

func changed[T comparable](all bool, before, now T) *T {
	if !all && before == now {
		return nil
	}
	return &now
}

const mebibyte = 1 << 20

func rounded(h host.Health) host.Health {
	h.CPUPercent = math.Round(h.CPUPercent)
	h.Load1 = math.Round(h.Load1*10) / 10
	h.MemoryAvailable = h.MemoryAvailable / (16 * mebibyte) * (16 * mebibyte)
	h.EnginePing = (h.EnginePing + time.Millisecond - 1).Truncate(time.Millisecond) // no engine answers in no time
	h.Disks = slices.Clone(h.Disks)
	for i := range h.Disks {
		h.Disks[i].Available = h.Disks[i].Available / (16 * mebibyte) * (16 * mebibyte)
	}
	return h
}
