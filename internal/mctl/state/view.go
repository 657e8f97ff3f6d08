package state

import (
	"bytes"
	"cmp"
	"encoding/json"
	"path/filepath"

	controllerv1 "mctl/proto/mctl/controller/v1"
)

// View is a machine as docker-machine's config.json shows it: for readers, never read back. The order of the fields is
// docker-machine's.
type View struct {
	ConfigVersion int
	Driver        Driver
	DriverName    string
	HostOptions   HostOptions
	Name          string
	// AwaitsRestart is why dockerd still has the front's port itself. docker-machine has no such field; only inspect sets it.
	AwaitsRestart string `json:",omitempty"`
}

// HostOptions are the options that do not belong to the driver.
type HostOptions struct {
	Driver        string
	Memory        int
	Disk          int
	EngineOptions EngineOptions
	SwarmOptions  SwarmOptions
	AuthOptions   AuthOptions
}

// EngineOptions are dockerd's.
type EngineOptions struct {
	ArbitraryFlags   []string
	Dns              []string //nolint:revive // docker-machine's name
	GraphDir         string
	Env              []string
	Ipv6             bool
	InsecureRegistry []string
	Labels           []string
	LogLevel         string
	StorageDriver    string
	SelinuxEnabled   bool
	TlsVerify        bool //nolint:revive // docker-machine's name
	RegistryMirror   []string
	InstallURL       string
}

// SwarmOptions are those of the machine's swarm.
type SwarmOptions struct {
	IsSwarm            bool
	Address            string
	Discovery          string
	Agent              bool
	Master             bool
	Host               string
	Image              string
	Strategy           string
	Heartbeat          int
	Overcommit         int
	ArbitraryFlags     []string
	ArbitraryJoinFlags []string
	Env                []string
	IsExperimental     bool
}

// NewEngineOptions are those of a wish; nil is none.
func NewEngineOptions(engine *controllerv1.EngineSpec) *EngineOptions {
	return &EngineOptions{
		ArbitraryFlags: list(engine.GetOptions()), Env: list(engine.GetEnv()), InsecureRegistry: list(engine.GetInsecureRegistries()),
		Labels: list(engine.GetLabels()), StorageDriver: engine.GetStorageDriver(), TlsVerify: true,
		RegistryMirror: list(engine.GetRegistryMirrors()), InstallURL: engine.GetInstallUrl(),
	}
}

// swarmHost is docker-machine's default for where a manager is served.
const swarmHost = "tcp://0.0.0.0:3376"

// NewSwarmOptions are docker-machine's for a wish; nil is a machine that is in no swarm.
func NewSwarmOptions(swarm *controllerv1.SwarmSpec) *SwarmOptions {
	return &SwarmOptions{
		IsSwarm: swarm != nil, Agent: swarm != nil, Master: swarm.GetMaster(), Address: swarm.GetAddress(), Discovery: swarm.GetDiscovery(),
		Host: cmp.Or(swarm.GetHost(), swarmHost), Image: cmp.Or(swarm.GetImage(), "swarm:latest"), Strategy: cmp.Or(swarm.GetStrategy(), "spread"),
		ArbitraryFlags: list(swarm.GetOptions()), ArbitraryJoinFlags: list(swarm.GetJoinOptions()), IsExperimental: swarm.GetExperimental(),
	}
}

// AuthOptions say where certificates are. The controller keeps the authority's key and the host its own, so those paths
// name files that are not there.
type AuthOptions struct {
	CertDir              string
	CaCertPath           string
	CaPrivateKeyPath     string
	CaCertRemotePath     string
	ServerCertPath       string
	ServerKeyPath        string
	ClientKeyPath        string
	ServerCertRemotePath string
	ServerKeyRemotePath  string
	ClientCertPath       string
	ServerCertSANs       []string
	StorePath            string
}

// ViewOf returns docker-machine's view of a machine whose files are in d. flags are the schema of its driver; without it the
// driver object has only what was given, as text.
func ViewOf(m *controllerv1.Machine, d Dir, flags []*controllerv1.DriverFlag) View {
	spec := m.GetSpec()
	certs, folder := filepath.Join(d.Certs(), m.GetStatus().GetAuthority()), d.Machine(m.GetName())
	return View{
		ConfigVersion: 3,
		Driver:        driverView(m, d, flags),
		DriverName:    DriverName(spec),
		Name:          m.GetName(),
		HostOptions: HostOptions{
			EngineOptions: *NewEngineOptions(spec.GetEngine()),
			SwarmOptions:  *NewSwarmOptions(spec.GetSwarm()),
			AuthOptions: AuthOptions{
				CertDir: certs, CaCertPath: filepath.Join(certs, "ca.pem"), CaPrivateKeyPath: filepath.Join(certs, "ca-key.pem"),
				ServerCertPath: folder.File("server.pem"), ServerKeyPath: folder.File("server-key.pem"),
				ClientKeyPath: filepath.Join(certs, "key.pem"), ClientCertPath: filepath.Join(certs, "cert.pem"),
				ServerCertSANs: list(spec.GetTlsSans()), StorePath: folder.Path,
			},
		},
	}
}

// list is never null in JSON, as in docker-machine's files.
func list(values []string) []string {
	if values == nil {
		return []string{}
	}
	return values
}

// JSON returns the view as docker-machine wrote it: four spaces, no escapes for HTML.
func (v View) JSON() ([]byte, error) { return marshal(v, "    ") }

func marshal(v any, indent string) ([]byte, error) {
	var text bytes.Buffer
	encoder := json.NewEncoder(&text)
	encoder.SetEscapeHTML(false)
	encoder.SetIndent("", indent)
	if err := encoder.Encode(v); err != nil {
		return nil, err
	}
	return bytes.TrimRight(text.Bytes(), "\n"), nil
}

// WriteView refreshes config.json in the machine's folder, if the folder is ours.
func (f Folder) WriteView(view View) error {
	if _, ours := f.Mark(); !ours {
		return nil
	}
	text, err := view.JSON()
	if err != nil {
		return err
	}
	return f.Write(configFile, text, 0o600)
}

// ForeignDriver tells the driver of a foreign folder, as its config.json has it, or nothing.
func (f Folder) ForeignDriver() string {
	text, err := readBounded(f.File(configFile), 0)
	if err != nil {
		return ""
	}
	var view struct{ DriverName string }
	if json.Unmarshal(text, &view) != nil {
		return ""
	}
	return view.DriverName
}
