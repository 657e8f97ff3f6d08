package state

import (
	"bytes"
	"encoding/json"
	"path/filepath"
	"strconv"
	"strings"
	"unicode"

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

// SwarmOptions are those of legacy Swarm, which there is none of.
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

// ViewOf returns docker-machine's view of a machine whose files are in d.
func ViewOf(m *controllerv1.Machine, d Dir) View {
	spec, engine := m.GetSpec(), m.GetSpec().GetEngine()
	certs, folder := filepath.Join(d.Certs(), m.GetStatus().GetAuthority()), d.Machine(m.GetName())
	return View{
		ConfigVersion: 3,
		Driver:        driverView(m, d),
		DriverName:    spec.GetDriver(),
		Name:          m.GetName(),
		HostOptions: HostOptions{
			EngineOptions: EngineOptions{
				ArbitraryFlags: list(engine.GetOptions()), Env: list(engine.GetEnv()), InsecureRegistry: list(engine.GetInsecureRegistries()),
				Labels: list(engine.GetLabels()), StorageDriver: engine.GetStorageDriver(), TlsVerify: true,
				RegistryMirror: list(engine.GetRegistryMirrors()), InstallURL: engine.GetInstallUrl(),
			},
			SwarmOptions: SwarmOptions{
				Host: "tcp://0.0.0.0:3376", Image: "swarm:latest", Strategy: "spread",
				ArbitraryFlags: []string{}, ArbitraryJoinFlags: []string{},
			},
			AuthOptions: AuthOptions{
				CertDir: certs, CaCertPath: filepath.Join(certs, "ca.pem"), CaPrivateKeyPath: filepath.Join(certs, "ca-key.pem"),
				ServerCertPath: folder.File("server.pem"), ServerKeyPath: folder.File("server-key.pem"),
				ClientKeyPath: filepath.Join(certs, "key.pem"), ClientCertPath: filepath.Join(certs, "cert.pem"),
				ServerCertSANs: list(spec.GetTlsSans()), StorePath: folder.Path,
			},
		},
	}
}

// Driver is docker-machine's driver object: what every driver had, then the driver's own flags under names such as
// EnginePort. Secrets and files are left out.
type Driver struct {
	IPAddress      string
	MachineName    string
	SSHUser        string
	SSHPort        uint32
	SSHKeyPath     string
	StorePath      string
	SwarmMaster    bool
	SwarmHost      string
	SwarmDiscovery string

	options []option
}

type option struct {
	name  string
	value any
}

// MarshalJSON implements json.Marshaler.
func (d Driver) MarshalJSON() ([]byte, error) {
	type base Driver // without this method
	text, err := marshal(base(d), "")
	if err != nil {
		return nil, err
	}
	var taken map[string]any
	if err := json.Unmarshal(text, &taken); err != nil {
		return nil, err
	}
	text = bytes.TrimSuffix(text, []byte("}"))
	for _, o := range d.options {
		if _, there := taken[o.name]; there {
			continue // what every driver had tells how it is, the flag only how it was wished
		}
		taken[o.name] = nil
		pair, err := marshal(map[string]any{o.name: o.value}, "")
		if err != nil {
			return nil, err
		}
		text = append(append(text, ','), pair[1:len(pair)-1]...)
	}
	return append(text, '}'), nil
}

func driverView(m *controllerv1.Machine, d Dir) Driver {
	ssh, folder := m.GetStatus().GetSsh(), d.Machine(m.GetName())
	view := Driver{
		IPAddress: m.GetStatus().GetAddress(), MachineName: m.GetName(), SSHUser: ssh.GetUser(), SSHPort: ssh.GetPort(), StorePath: d.Root,
	}
	if view.SSHPort == 0 {
		view.SSHPort = 22
	}
	if folder.HasKey() {
		view.SSHKeyPath = folder.Key()
	}
	for _, o := range m.GetSpec().GetDriverOptions() {
		if values := o.GetValues(); len(values) > 0 {
			view.options = append(view.options, option{FieldName(m.GetSpec().GetDriver(), o.GetName()), typed(values)})
		}
	}
	return view
}

// FieldName is how a flag is called in the driver object: --generic-engine-port of driver generic is EnginePort.
func FieldName(driver, flag string) string {
	acronyms := map[string]string{"ip": "IP", "ssh": "SSH", "cpu": "CPU", "id": "ID", "url": "URL", "vpc": "VPC"}
	var name strings.Builder
	for word := range strings.SplitSeq(strings.TrimPrefix(flag, driver+"-"), "-") {
		if acronym, ok := acronyms[word]; ok {
			name.WriteString(acronym)
			continue
		}
		for i, r := range word {
			if i == 0 {
				r = unicode.ToUpper(r)
			}
			name.WriteRune(r)
		}
	}
	return name.String()
}

// typed guesses the type of a flag, which the record does not tell: what looks like a number or a truth and nothing else.
func typed(values []string) any {
	if len(values) > 1 {
		return values
	}
	if number, err := strconv.Atoi(values[0]); err == nil && strconv.Itoa(number) == values[0] {
		return number
	}
	if values[0] == "true" || values[0] == "false" {
		return values[0] == "true"
	}
	return values[0]
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
func (d Dir) WriteView(m *controllerv1.Machine) error {
	folder := d.Machine(m.GetName())
	if _, ours := folder.Mark(); !ours {
		return nil
	}
	text, err := ViewOf(m, d).JSON()
	if err != nil {
		return err
	}
	return folder.Write(configFile, text, 0o600)
}

// ForeignDriver tells the driver of a foreign folder, as its config.json has it, or nothing.
func (f Folder) ForeignDriver() string {
	text, err := readBounded(f.File(configFile))
	if err != nil {
		return ""
	}
	var view struct{ DriverName string }
	if json.Unmarshal(text, &view) != nil {
		return ""
	}
	return view.DriverName
}
