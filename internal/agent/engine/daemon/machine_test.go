package daemon

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"mctl/internal/host"
)

func TestFlagsOfTheUnitGoOnUnderDockerMachine(t *testing.T) {
	own := host.Engine{Labels: []string{"a=1", "a=2"}, Options: []string{"mtu=1400", "live-restore=false", "dns=192.0.2.1"}, RegistryMirrors: []string{"https://m.example.com"}}
	held := ParseArguments(strings.Fields("-H fd:// --containerd=/run/containerd/containerd.sock --tlsverify --tlscacert /x --storage-driver vfs --data-root /data " +
		"--mtu 1300 --dns 192.0.2.1 --dns=192.0.2.2 --label a=3 --label b=4 --label provider=generic -D --live-restore=false --registry-mirror https://m.example.com --insecure-registry r:5000"))
	got := Inherit(own, held)
	want := host.Engine{
		Labels: []string{"a=2", "b=4"}, Options: []string{"mtu=1400", "dns=192.0.2.1", "data-root=/data", "dns=192.0.2.2", "debug"},
		RegistryMirrors: []string{"https://m.example.com"}, InsecureRegistries: []string{"r:5000"},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if len(own.Options) != 3 || len(own.Labels) != 2 {
		t.Errorf("the machine's own options became %+v", own)
	}
	// What docker-machine has written is not inherited twice.
	command := MachineCommand(host.HandOver{Port: 2376, Provider: "generic", Engine: got})
	if diff := cmp.Diff(got, Inherit(got, ParseArguments(command[1:]))); diff != "" {
		t.Error(diff)
	}
}

func TestAKeyThatDockerMachineGivesAsAFlagIsFound(t *testing.T) {
	command := MachineCommand(host.HandOver{Port: 2376, Provider: "generic", Engine: host.Engine{StorageDriver: "overlay2", Options: []string{"mtu=1400"}}})
	for text, want := range map[string]string{
		`{}`: "", `{"debug":true,"live-restore":true,"data-root":"/x"}`: "",
		`{"hosts":[]}`: "hosts", `{"labels":["a=b"]}`: "labels", `{"tlsverify":true}`: "tlsverify", `{"storage-driver":"overlay2"}`: "storage-driver", `{"mtu":1}`: "mtu",
	} {
		document, err := ParseDocument([]byte(text))
		if err != nil {
			t.Fatal(err)
		}
		if got := Clash(command, document); got != want {
			t.Errorf("%s: %q, want %q", text, got, want)
		}
	}
}
