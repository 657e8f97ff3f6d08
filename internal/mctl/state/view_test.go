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
				{Name: "generic-engine-port", Values: []string{"2376"}},
				{Name: "generic-ip-address", Values: []string{"203.0.113.7"}},
				{Name: "generic-ssh-key", Content: []byte("secret")},
				{Name: "generic-ssh-user", Values: []string{"<&>"}},
				{Name: "generic-user-id", Values: []string{"007"}},
				{Name: "generic-open", Values: []string{"80", "443"}},
				{Name: "generic-fast", Values: []string{"true"}},
				{Name: "generic-empty"},
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
        "EnginePort": 2376,
        "UserID": "007",
        "Open": [
            "80",
            "443"
        ],
        "Fast": true
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
	if err := dir.WriteView(machine("web")); err != nil {
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

func TestViewOfAMachineInTheMakingIsWhole(t *testing.T) {
	text, err := ViewOf(&controllerv1.Machine{Name: "new", Spec: &controllerv1.MachineSpec{Driver: "fake"}}, Dir{Root: "/s"}).JSON()
	if err != nil {
		t.Fatal(err)
	}
	var all struct {
		Driver struct{ SSHPort, SSHKeyPath any }
	}
	if err := json.Unmarshal(text, &all); err != nil || all.Driver.SSHPort != 22.0 || all.Driver.SSHKeyPath != "" {
		t.Errorf("%v, %+v", err, all)
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
}
