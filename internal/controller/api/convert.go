package api

import (
	"fmt"
	"net"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"golang.org/x/crypto/ssh"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	"mctl/internal/controller/driver"
	machines "mctl/internal/controller/machine"
	"mctl/internal/fault"
	"mctl/internal/host"
	controllerv1 "mctl/proto/mctl/controller/v1"
)

// Bounds of a spec, so that one record fits the store and a label fits a line.
const (
	maxList    = 256     // entries of any list
	maxText    = 4 << 10 // bytes of any text
	maxContent = 256 << 10
	maxSpec    = 512 << 10 // bytes of all together; the store takes twice as much

	maxLabelKey   = 63
	maxLabelValue = 255
)

var installs = map[controllerv1.EngineInstall]host.Install{
	controllerv1.EngineInstall_ENGINE_INSTALL_UNSPECIFIED: host.InstallAuto,
	controllerv1.EngineInstall_ENGINE_INSTALL_AUTO:        host.InstallAuto,
	controllerv1.EngineInstall_ENGINE_INSTALL_DOCKER:      host.InstallDocker,
	controllerv1.EngineInstall_ENGINE_INSTALL_DISTRO:      host.InstallDistro,
	controllerv1.EngineInstall_ENGINE_INSTALL_SCRIPT:      host.InstallScript,
	controllerv1.EngineInstall_ENGINE_INSTALL_NONE:        host.InstallNone,
}

// specOf reads what a caller asks for; fault.Invalid names what is wrong.
func specOf(m *controllerv1.MachineSpec) (machines.Spec, error) {
	if size := proto.Size(m); size > maxSpec {
		return machines.Spec{}, usage(fmt.Sprintf("the options have %d bytes together, and %d are the limit", size, maxSpec))
	}
	e := m.GetEngine()
	install, ok := installs[e.GetInstall()]
	if !ok {
		return machines.Spec{}, usage("unknown way to install the engine")
	}
	if e.GetPort() > 65535 {
		return machines.Spec{}, usage(fmt.Sprintf("%d is no port", e.GetPort()))
	}
	spec := machines.Spec{
		Driver: m.GetDriver(), Options: driver.Options{}, Port: uint16(e.GetPort()), TLSSANs: m.GetTlsSans(),
		AuthorizedKeys: m.GetSshAuthorizedKeys(), Rollback: m.GetRollback(), Credential: m.GetCredential(),
		Engine: host.Engine{
			Install: install, InstallURL: e.GetInstallUrl(), StorageDriver: e.GetStorageDriver(), Labels: e.GetLabels(),
			Env: e.GetEnv(), InsecureRegistries: e.GetInsecureRegistries(), RegistryMirrors: e.GetRegistryMirrors(), Options: e.GetOptions(),
		},
		Waits: machines.Waits{
			SSH: m.GetWaits().GetSsh().AsDuration(), Install: m.GetWaits().GetInstall().AsDuration(), Agent: m.GetWaits().GetAgent().AsDuration(),
		},
	}
	lists := [][]string{
		spec.TLSSANs, spec.AuthorizedKeys, spec.Engine.Labels, spec.Engine.Env, spec.Engine.InsecureRegistries,
		spec.Engine.RegistryMirrors, spec.Engine.Options, {spec.Driver, spec.Credential, spec.Engine.InstallURL, spec.Engine.StorageDriver},
	}
	for _, option := range m.GetDriverOptions() {
		if err := checkTexts([][]string{{option.GetName()}}); err != nil {
			return machines.Spec{}, err
		}
		if _, twice := spec.Options[option.GetName()]; twice {
			return machines.Spec{}, usage(fmt.Sprintf("--%s is given twice", option.GetName()))
		}
		if len(option.GetContent()) > maxContent {
			return machines.Spec{}, usage(fmt.Sprintf("the content of --%s is longer than %d bytes", option.GetName(), maxContent))
		}
		spec.Options[option.GetName()] = driver.Option{Values: option.GetValues(), Content: option.GetContent()}
		lists = append(lists, option.GetValues())
	}
	if len(spec.Options) > maxList {
		return machines.Spec{}, usage("too many options")
	}
	if err := checkTexts(lists); err != nil {
		return machines.Spec{}, err
	}
	return spec, checkForms(spec)
}

// checkForms refuses what no host could fulfil, before one is made for it.
func checkForms(spec machines.Spec) error {
	if err := spec.Engine.Check(); err != nil {
		return usage(err.Error())
	}
	for _, name := range spec.TLSSANs {
		if err := host.CheckSAN(name); err != nil {
			return usage(err.Error())
		}
	}
	for _, line := range spec.AuthorizedKeys {
		if _, _, _, rest, err := ssh.ParseAuthorizedKey([]byte(line)); err != nil || len(rest) > 0 {
			return usage("an SSH key that shall be let in is no line of authorized_keys")
		}
	}
	return nil
}

// checkTexts refuses what no flag can mean: lists and texts without measure, and control characters, which would end up
// in files line by line.
func checkTexts(lists [][]string) error {
	for _, list := range lists {
		if len(list) > maxList {
			return usage(fmt.Sprintf("a list has more than %d entries", maxList))
		}
		for _, text := range list {
			if len(text) > maxText {
				return usage(fmt.Sprintf("a value is longer than %d bytes", maxText))
			}
			if strings.ContainsFunc(text, unicode.IsControl) {
				return usage(fmt.Sprintf("the value %q has a control character", text))
			}
		}
	}
	return nil
}

// checkLabels refuses labels that no list could show.
func checkLabels(labels map[string]string) error {
	if len(labels) == 0 || len(labels) > machines.MaxLabels {
		return usage(fmt.Sprintf("give 1 to %d labels", machines.MaxLabels))
	}
	for key, value := range labels {
		switch {
		case key == "" || len(key) > maxLabelKey || len(value) > maxLabelValue:
			return usage(fmt.Sprintf("the label %.80q is empty or too long: keys have 1 to %d bytes, values at most %d", key, maxLabelKey, maxLabelValue))
		case !utf8.ValidString(key + value):
			return usage(fmt.Sprintf("the label %q is no text", key))
		case strings.ContainsFunc(key+value, unicode.IsControl):
			return usage(fmt.Sprintf("the label %q has a control character", key+"="+value))
		}
	}
	return nil
}

func usage(sentence string) error {
	return fault.New("api.specOf", fault.Invalid, "", sentence).WithReason(fault.ReasonUsage)
}

var phases = map[machines.Phase]controllerv1.Phase{
	machines.Pending: controllerv1.Phase_PHASE_PENDING, machines.Creating: controllerv1.Phase_PHASE_CREATING,
	machines.Booting: controllerv1.Phase_PHASE_BOOTING, machines.Joining: controllerv1.Phase_PHASE_JOINING,
	machines.Installing: controllerv1.Phase_PHASE_INSTALLING, machines.Running: controllerv1.Phase_PHASE_RUNNING,
	machines.Stopping: controllerv1.Phase_PHASE_STOPPING, machines.Stopped: controllerv1.Phase_PHASE_STOPPED,
	machines.Starting: controllerv1.Phase_PHASE_STARTING, machines.Deleting: controllerv1.Phase_PHASE_DELETING,
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

// basic is a machine as lists show it. It is what a page of a thousand costs.
func (m *machineService) basic(found *machines.Machine) *controllerv1.Machine {
	view := m.machines().View(found)
	return &controllerv1.Machine{
		Name: found.Name, Uid: found.UID, Generation: found.Generation,
		Spec: &controllerv1.MachineSpec{Driver: found.Spec.Driver, Engine: engineMessage(found.Spec)},
		Status: &controllerv1.MachineStatus{
			Phase: phases[found.Status.Phase], ObservedGeneration: found.Status.ObservedGeneration, State: view.State, Progress: view.Progress,
			Error: view.Error, Address: found.Address(), Url: urlOf(found), Engine: &controllerv1.EngineStatus{Version: found.Status.Engine.Version},
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
		Engine: engineMessage(s),
	}
	if s.Power == machines.PowerOff {
		message.Power = controllerv1.PowerState_POWER_STATE_STOPPED
	}
	if s.Deleted {
		message.Deletion = &controllerv1.Deletion{Force: s.DeleteForce, Persist: s.DeletePersist, PurgeEngine: s.PurgeEngine}
	}
	if s.Waits != (machines.Waits{}) {
		message.Waits = &controllerv1.Waits{
			Ssh: durationpb.New(s.Waits.SSH), Install: durationpb.New(s.Waits.Install), Agent: durationpb.New(s.Waits.Agent),
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
		},
		Link: &controllerv1.LinkStatus{Connected: view.Observed.Connected, Time: timestamp(view.Observed.Since)},
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
