package create

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/pflag"
	"google.golang.org/protobuf/types/known/durationpb"

	"mctl/internal/fault"
	"mctl/internal/mctl/argv"
	"mctl/internal/mctl/cli"
	"mctl/internal/mctl/driverflags"
	controllerv1 "mctl/proto/mctl/controller/v1"
)

// newFlags are the flags that do not depend on the driver, with docker-machine's names and variables.
func newFlags() *pflag.FlagSet {
	flags := pflag.NewFlagSet("create", pflag.ContinueOnError)
	flags.StringP("driver", "d", "", "Driver to create machine with.")
	flags.String("plugin-binary", "", "Program of a third-party driver, where it is not called docker-machine-driver-NAME, such as docker-machine itself")
	flags.String("engine-install", "auto", "Where Docker comes from: auto, docker, distro, script or none")
	flags.String("adopt-restart", "live", "Whether a dockerd that listens on the port itself is restarted: live (if its containers go on), now or never")
	flags.String("engine-install-url", "", "Custom URL to use for engine installation")
	flags.StringArray("engine-opt", nil, "Specify arbitrary flags to include with the created engine in the form flag=value")
	flags.StringArray("engine-insecure-registry", nil, "Specify insecure registries to allow with the created engine")
	flags.StringArray("engine-registry-mirror", nil, "Specify registry mirrors to use")
	flags.StringArray("engine-label", nil, "Specify labels for the created engine")
	flags.String("engine-storage-driver", "", "Specify a storage driver to use with the engine")
	flags.StringArray("engine-env", nil, "Specify environment variables to set in the engine")
	addSwarmFlags(flags)
	flags.StringArray("tls-san", nil, "Support extra SANs for TLS certs")
	flags.Duration("wait-ssh", 5*time.Minute, "How long the host may take until it can be logged in to")
	flags.Duration("wait-install", 10*time.Minute, "How long the installation of Docker may take")
	flags.Duration("wait-agent", 2*time.Minute, "How long the agent may take to connect")
	flags.Duration("wait-boot", 30*time.Minute, "How long a host that joins by its user data may take")
	flags.String("link", "auto", "How the host's agent connects: direct, ssh (the controller comes over SSH), or auto for either")
	flags.Bool("rollback", false, "Remove everything again when the creation fails")
	flags.Bool("no-wait", false, "Return as soon as the machine is asked for")
	flags.Bool("dry-run", false, "Check everything and say what would be made; nothing is")
	flags.String("credential", "", "Name of a stored credential to use, see the command credential")
	for name, variable := range map[string]string{
		"driver": "MACHINE_DRIVER", "engine-install": "MCTL_ENGINE_INSTALL",
		"engine-install-url": "MACHINE_DOCKER_INSTALL_URL", "engine-registry-mirror": "ENGINE_REGISTRY_MIRROR",
		"swarm-image": "MACHINE_SWARM_IMAGE",
	} {
		argv.FromEnv(flags, name, variable)
	}
	return flags
}

// readSpec makes the wish of flags and environment.
func readSpec(env *cli.Env, flags *pflag.FlagSet, driver *controllerv1.Driver) (*controllerv1.MachineSpec, error) {
	engine, err := readEngine(env, flags)
	if err != nil {
		return nil, err
	}
	spec := &controllerv1.MachineSpec{
		Driver: driver.GetName(), Engine: engine, TlsSans: env.Strings(flags, "tls-san"),
		Power: controllerv1.PowerState_POWER_STATE_RUNNING, Waits: &controllerv1.Waits{},
	}
	spec.Rollback, _ = flags.GetBool("rollback")
	for name, wait := range map[string]**durationpb.Duration{
		"wait-ssh": &spec.Waits.Ssh, "wait-install": &spec.Waits.Install, "wait-agent": &spec.Waits.Agent, "wait-boot": &spec.Waits.Boot,
	} {
		value, _ := flags.GetDuration(name)
		if value < 0 || value > 24*time.Hour {
			return nil, cli.Usagef("invalid value %q for flag -%s", value, name).WithHint("give a time such as 90s or 10m, 24h at most")
		}
		if value > 0 && flags.Changed(name) { // else the controller knows best
			*wait = durationpb.New(value)
		}
	}
	link, _ := flags.GetString("link")
	var ok bool
	if spec.Link, ok = map[string]controllerv1.LinkMode{
		"auto": controllerv1.LinkMode_LINK_MODE_AUTO, "direct": controllerv1.LinkMode_LINK_MODE_DIRECT, "ssh": controllerv1.LinkMode_LINK_MODE_SSH,
	}[link]; !ok {
		return nil, cli.Usagef("invalid value %q for flag -link: it is auto, direct or ssh", link).WithHint("leave it out for auto")
	}
	if spec.Swarm, err = readSwarm(env, flags); err != nil {
		return nil, err
	}
	spec.Credential, _ = flags.GetString("credential")
	if spec.DriverOptions, err = driverflags.Read(env, flags, driver, spec.GetCredential()); err != nil {
		return nil, precheck(err)
	}
	return spec, nil
}

func readEngine(env *cli.Env, flags *pflag.FlagSet) (*controllerv1.EngineSpec, error) {
	engine := &controllerv1.EngineSpec{
		InstallUrl: env.Text(flags, "engine-install-url"), StorageDriver: env.Text(flags, "engine-storage-driver"),
		Labels: env.Strings(flags, "engine-label"), Env: env.Strings(flags, "engine-env"),
		InsecureRegistries: env.Strings(flags, "engine-insecure-registry"),
		RegistryMirrors:    env.Strings(flags, "engine-registry-mirror"), Options: env.Strings(flags, "engine-opt"),
	}
	if engine.GetStorageDriver() == "overlay" {
		env.Infof("Notice: the storage driver overlay is no longer in Docker, overlay2 is used")
		engine.StorageDriver = "overlay2"
	}
	for flag, values := range map[string][]string{"engine-label": engine.GetLabels(), "engine-env": engine.GetEnv()} {
		if i := slices.IndexFunc(values, func(v string) bool { return !strings.Contains(v, "=") }); i >= 0 {
			return nil, cli.Usagef("invalid value %q for flag -%s: it should be key=value", values[i], flag).WithHint("such as --" + flag + " tier=web")
		}
	}
	install := env.Text(flags, "engine-install")
	if engine.GetInstallUrl() == "none" { // rancher-machine's way to say it
		engine.InstallUrl, install = "", "none"
	}
	engine.Install = controllerv1.EngineInstall(controllerv1.EngineInstall_value["ENGINE_INSTALL_"+strings.ToUpper(install)])
	if engine.GetInstall() == controllerv1.EngineInstall_ENGINE_INSTALL_UNSPECIFIED {
		return nil, cli.Usagef("invalid value %q for flag -engine-install: it is auto, docker, distro, script or none", install).WithHint("leave it out for auto")
	}
	restart := env.Text(flags, "adopt-restart")
	engine.AdoptRestart = controllerv1.AdoptRestart(controllerv1.AdoptRestart_value["ADOPT_RESTART_"+strings.ToUpper(restart)])
	if engine.GetAdoptRestart() == controllerv1.AdoptRestart_ADOPT_RESTART_UNSPECIFIED {
		return nil, cli.Usagef("invalid value %q for flag -adopt-restart: it is never, live or now", restart).WithHint("leave it out for live")
	}
	if engine.GetInstall() == controllerv1.EngineInstall_ENGINE_INSTALL_SCRIPT && engine.GetInstallUrl() == "" {
		return nil, cli.Usagef("--engine-install script needs --engine-install-url").WithHint("name the script's address, or leave --engine-install out")
	}
	return engine, nil
}

// precheck puts docker-machine's words around why a create is refused.
func precheck(err error) error {
	if fault.ReasonOf(err) != fault.ReasonPrecheck {
		return err
	}
	return cli.Wrap(fault.E("create", fault.KindOf(err), fault.SubjectOf(err), fmt.Errorf("%w", err)), "Error with pre-create check: \"%w\"")
}
