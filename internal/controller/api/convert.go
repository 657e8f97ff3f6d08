package api

import (
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/crypto/ssh"
	"google.golang.org/protobuf/proto"

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

var restarts = map[controllerv1.AdoptRestart]host.AdoptRestart{
	controllerv1.AdoptRestart_ADOPT_RESTART_UNSPECIFIED: host.AdoptLive,
	controllerv1.AdoptRestart_ADOPT_RESTART_NEVER:       host.AdoptNever,
	controllerv1.AdoptRestart_ADOPT_RESTART_LIVE:        host.AdoptLive,
	controllerv1.AdoptRestart_ADOPT_RESTART_NOW:         host.AdoptNow,
}

// specOf reads what a caller asks for; fault.Invalid names what is wrong.
func specOf(m *controllerv1.MachineSpec) (machines.Spec, error) {
	if size := proto.Size(m); size > maxSpec {
		return machines.Spec{}, usage(fmt.Sprintf("the options have %d bytes together, and %d are the limit", size, maxSpec))
	}
	e, err := m.GetEngine(), error(nil)
	install, ok := installs[e.GetInstall()]
	if !ok {
		return machines.Spec{}, usage("unknown way to install the engine")
	}
	adopt, ok := restarts[e.GetAdoptRestart()]
	if !ok {
		return machines.Spec{}, usage("unknown way to restart an engine that is adopted")
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
			AdoptRestart: adopt,
		},
		Waits: machines.Waits{
			SSH: m.GetWaits().GetSsh().AsDuration(), Install: m.GetWaits().GetInstall().AsDuration(), Agent: m.GetWaits().GetAgent().AsDuration(), Boot: m.GetWaits().GetBoot().AsDuration(),
		},
	}
	if spec.Swarm, err = swarmOf(m.GetSwarm()); err != nil {
		return machines.Spec{}, err
	}
	if spec.Link, ok = links[m.GetLink()]; !ok {
		return machines.Spec{}, usage("unknown link mode")
	}
	lists := [][]string{
		spec.TLSSANs, spec.AuthorizedKeys, spec.Engine.Labels, spec.Engine.Env, spec.Engine.InsecureRegistries,
		spec.Engine.RegistryMirrors, spec.Engine.Options, m.GetSwarm().GetOptions(), m.GetSwarm().GetJoinOptions(),
		{m.GetSwarm().GetImage(), m.GetSwarm().GetHost()}, {spec.Driver, spec.Credential, spec.Engine.InstallURL, spec.Engine.StorageDriver},
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

func usage(sentence string) *fault.Error {
	return fault.New("api.specOf", fault.Invalid, "", sentence).WithReason(fault.ReasonUsage)
}
