package state

import (
	"encoding/json"
	"os"
	"strings"
	"testing"

	controllerv1 "mctl/proto/mctl/controller/v1"
)

func machine(name string) *controllerv1.Machine {
	return &controllerv1.Machine{
		Name: name, Uid: "uid",
		Spec: &controllerv1.MachineSpec{
			Driver: "generic",
			DriverOptions: []*controllerv1.DriverOption{
				{Name: "generic-engine-port", Values: []string{"2377"}},
				{Name: "generic-ip-address", Values: []string{"203.0.113.7"}},
				{Name: "generic-ssh-key", Content: []byte("secret")},
				{Name: "generic-ssh-user", Values: []string{"<&>"}},
				{Name: "generic-user-id", Values: []string{"7"}},
				{Name: "generic-open", Values: []string{"80"}},
				{Name: "generic-fast", Values: []string{"true"}},
			},
			Engine:  &controllerv1.EngineSpec{Labels: []string{"a=b"}, StorageDriver: "overlay2", InstallUrl: "https://get.example.com/?a&b"},
			TlsSans: []string{"web.example.com"},
		},
		Status: &controllerv1.MachineStatus{
			State: "Running", Address: "203.0.113.9", Authority: "default",
			Ssh: &controllerv1.SSHEndpoint{Address: "203.0.113.9", Port: 2222, User: "debian"},
		},
	}
}

// schema is what the driver says of its flags.
func schema() []*controllerv1.DriverFlag {
	flag := func(name string, t controllerv1.DriverFlag_Type, preset ...string) *controllerv1.DriverFlag {
		return &controllerv1.DriverFlag{Name: "generic-" + name, Type: t, Kind: controllerv1.DriverFlag_KIND_VALUE, DefaultValues: preset}
	}
	secret := func(name string, kind controllerv1.DriverFlag_Kind) *controllerv1.DriverFlag {
		return &controllerv1.DriverFlag{Name: "generic-" + name, Type: controllerv1.DriverFlag_TYPE_STRING, Kind: kind}
	}
	return []*controllerv1.DriverFlag{
		flag("ip-address", controllerv1.DriverFlag_TYPE_STRING),
		flag("ssh-user", controllerv1.DriverFlag_TYPE_STRING, "root"),
		flag("ssh-port", controllerv1.DriverFlag_TYPE_INT, "2200"),
		flag("engine-port", controllerv1.DriverFlag_TYPE_INT, "2376"),
		secret("ssh-key", controllerv1.DriverFlag_KIND_FILE),
		secret("token", controllerv1.DriverFlag_KIND_SECRET),
		flag("user-id", controllerv1.DriverFlag_TYPE_STRING),
		flag("open", controllerv1.DriverFlag_TYPE_STRING_LIST),
		flag("ranges", controllerv1.DriverFlag_TYPE_STRING_LIST, "0.0.0.0/0"),
		flag("tags", controllerv1.DriverFlag_TYPE_STRING_LIST),
		flag("fast", controllerv1.DriverFlag_TYPE_BOOL, "false"),
		flag("slow", controllerv1.DriverFlag_TYPE_BOOL, "false"),
		flag("empty", controllerv1.DriverFlag_TYPE_STRING),
	}
}

// The whole document, in docker-machine's order.
const view = `{
    "ConfigVersion": 3,
    "Driver": {
        "IPAddress": "203.0.113.9",
        "MachineName": "web",
        "SSHUser": "debian",
        "SSHPort": 2222,
        "SSHKeyPath": "DIR/machines/web/id_rsa",
        "StorePath": "DIR",
        "SwarmMaster": false,
        "SwarmHost": "",
        "SwarmDiscovery": "",
        "EnginePort": 2377,
        "SSHKey": "redacted",
        "Token": "",
        "UserID": "7",
        "Open": [
            "80"
        ],
        "Ranges": [
            "0.0.0.0/0"
        ],
        "Tags": [],
        "Fast": true,
        "Slow": false,
        "Empty": ""
    },
    "DriverName": "generic",
    "HostOptions": {
        "Driver": "",
        "Memory": 0,
        "Disk": 0,
        "EngineOptions": {
            "ArbitraryFlags": [],
            "Dns": null,
            "GraphDir": "",
            "Env": [],
            "Ipv6": false,
            "InsecureRegistry": [],
            "Labels": [
                "a=b"
            ],
            "LogLevel": "",
            "StorageDriver": "overlay2",
            "SelinuxEnabled": false,
            "TlsVerify": true,
            "RegistryMirror": [],
            "InstallURL": "https://get.example.com/?a&b"
        },
        "SwarmOptions": {
            "IsSwarm": false,
            "Address": "",
            "Discovery": "",
            "Agent": false,
            "Master": false,
            "Host": "tcp://0.0.0.0:3376",
            "Image": "swarm:latest",
            "Strategy": "spread",
            "Heartbeat": 0,
            "Overcommit": 0,
            "ArbitraryFlags": [],
            "ArbitraryJoinFlags": [],
            "Env": null,
            "IsExperimental": false
        },
        "AuthOptions": {
            "CertDir": "DIR/certs/default",
            "CaCertPath": "DIR/certs/default/ca.pem",
            "CaPrivateKeyPath": "DIR/certs/default/ca-key.pem",
            "CaCertRemotePath": "",
            "ServerCertPath": "DIR/machines/web/server.pem",
            "ServerKeyPath": "DIR/machines/web/server-key.pem",
            "ClientKeyPath": "DIR/certs/default/key.pem",
            "ServerCertRemotePath": "",
            "ServerKeyRemotePath": "",
            "ClientCertPath": "DIR/certs/default/cert.pem",
            "ServerCertSANs": [
                "web.example.com"
            ],
            "StorePath": "DIR/machines/web"
        }
    },
    "Name": "web"
}`

func TestViewHasDockerMachinesShapeAndOrder(t *testing.T) {
	dir := newDir(t)
	folder := dir.Machine("web")
	if err := folder.Claim("uid"); err != nil {
		t.Fatal(err)
	}
	if err := folder.WriteKeys([]byte("k"), nil); err != nil {
		t.Fatal(err)
	}
	if err := folder.WriteView(ViewOf(machine("web"), dir, schema())); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(folder.File("config.json"))
	if err != nil {
		t.Fatal(err)
	}
	if got := strings.ReplaceAll(string(text), dir.Root, "DIR"); got != view {
		t.Errorf("the view is\n%s", got)
	}
	if !json.Valid(text) || strings.Contains(string(text), "secret") {
		t.Error("it is no JSON, or it tells a secret")
	}
	if info, _ := os.Stat(folder.File("config.json")); info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v", info.Mode())
	}
}

func TestViewOfAMachineInTheMakingHasWhatItIsToBe(t *testing.T) {
	m := &controllerv1.Machine{Name: "new", Spec: &controllerv1.MachineSpec{Driver: "generic", DriverOptions: []*controllerv1.DriverOption{
		{Name: "generic-ssh-user", Values: []string{"debian"}}, {Name: "generic-token", Content: []byte("canary")}, {Name: "generic-open", Values: []string{"80", "443"}},
	}}}
	for _, c := range []struct {
		flags []*controllerv1.DriverFlag
		want  string
	}{
		{schema(), `"SSHUser":"debian","SSHPort":2200,"SSHKeyPath":"","StorePath":"/s","SwarmMaster":false,"SwarmHost":"","SwarmDiscovery":"",` +
			`"EnginePort":2376,"SSHKey":"","Token":"redacted","UserID":"","Open":["80","443"],"Ranges":["0.0.0.0/0"],"Tags":[],"Fast":false,"Slow":false,"Empty":""}`},
		// A driver that is not there any more.
		{nil, `"SSHUser":"debian","SSHPort":22,"SSHKeyPath":"","StorePath":"/s","SwarmMaster":false,"SwarmHost":"","SwarmDiscovery":"","Token":"redacted","Open":["80","443"]}`},
	} {
		text, err := json.Marshal(ViewOf(m, Dir{Root: "/s"}, c.flags).Driver)
		if want := `{"IPAddress":"","MachineName":"new",` + c.want; err != nil || string(text) != want {
			t.Errorf("%s, %v, want\n%s", text, err, want)
		}
	}
}

func TestFlagsAreNamedAsDockerMachineNamedFields(t *testing.T) {
	for flag, want := range map[string]string{
		"generic-ip-address": "IPAddress", "generic-ssh-user": "SSHUser", "generic-engine-port": "EnginePort",
		"amazonec2-vpc-id": "Amazonec2VPCID", "generic": "Generic", "generic--x": "X",
	} {
		if got := FieldName("generic", flag); got != want {
			t.Errorf("--%s is %s, want %s", flag, got, want)
		}
	}
	for flag, want := range map[string]string{
		"google-project": "Project", "google-zone": "Zone", "google-machine-type": "MachineType", "google-use-internal-ip-only": "UseInternalIPOnly",
		"google-open-port": "OpenPorts", "google-username": "SSHUser", "google-auth-encoded-json": "Auth", "google-vm-labels": "Labels",
	} {
		if got := FieldName("google", flag); got != want {
			t.Errorf("--%s is %s, want %s", flag, got, want)
		}
	}
}

func TestPluginsDriverIsCalledByItsOwnName(t *testing.T) {
	for asked, want := range map[string]string{
		"generic": "generic", "plugin:generic": "generic", "plugin:generic@/usr/local/bin/docker-machine": "generic", "odd@name": "odd@name", "": "",
	} {
		if got := DriverName(&controllerv1.MachineSpec{Driver: asked}); got != want {
			t.Errorf("%q is %q, want %q", asked, got, want)
		}
	}
}
