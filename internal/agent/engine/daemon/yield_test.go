package daemon

import (
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

const dockerMachines = "/usr/bin/dockerd -H tcp://0.0.0.0:2376 -H unix:///var/run/docker.sock --storage-driver overlay2 --tlsverify " +
	"--tlscacert /etc/docker/ca.pem --tlscert /etc/docker/server.pem --tlskey /etc/docker/server-key.pem --label provider=generic"

func TestAListenerGoesAndWithTheLastTheTLSOptions(t *testing.T) {
	for command, want := range map[string]string{
		dockerMachines: "/usr/bin/dockerd -H unix:///var/run/docker.sock --storage-driver overlay2 --label provider=generic",
		"dockerd -Htcp://:2376 --host=fd:// --tls=true":                      "dockerd --host=fd://",
		"dockerd -H 0.0.0.0:2376 -H tcp://127.0.0.1:2375 --tlsverify":        "dockerd -H tcp://127.0.0.1:2375 --tlsverify",
		"dockerd -H tcp://127.0.0.1:2375 --tlsverify --tlscert /a":           "",
		"dockerd -H tcp://0.0.0.0 --tlsverify":                               "dockerd",
		"dockerd -H tcp://0.0.0.0":                                           "",
		"dockerd -H tcp://[::]:2376 -H tcp://10.0.0.1:2376 -D --tlskey=/key": "dockerd -D",
		"dockerd -H fd:// --metrics-addr 0.0.0.0:2376":                       "",
		"dockerd -H tcp://0.0.0.0:2376 --tls=false --label tls=x":            "dockerd --label tls=x",
		"dockerd -H unix:///2376 -H fd:// -H tcp://x:0":                      "",
	} {
		words := strings.Fields(command)
		y := NewYield(ParseArguments(words[1:]), Document{}, 2376)
		if y.Needed() != (want != "") {
			t.Errorf("%s: yields %q", command, y.Hosts)
		}
		keep, left := y.Arguments(words), []string{}
		for i, word := range words {
			if keep[i] {
				left = append(left, word)
			}
		}
		if want == "" {
			want = command
		}
		if got := strings.Join(left, " "); got != want {
			t.Errorf("%s\nbecame %s\nwant   %s", command, got, want)
		}
	}
}

func TestADaemonJSONYieldsAndGetsBackWhatNobodyElseChanged(t *testing.T) {
	const theirs = `{"hosts": ["unix:///var/run/docker.sock", "tcp://0.0.0.0:2376"], "mtu": 1400, "tlsverify": true, "tlscacert": "/etc/docker/ca.pem"}`
	for name, c := range map[string]struct{ later, back string }{
		"untouched":   {`{"hosts": ["unix:///var/run/docker.sock"], "mtu": 1400}`, `{"hosts": ["unix:///var/run/docker.sock", "tcp://0.0.0.0:2376"], "mtu": 1400, "tlsverify": true, "tlscacert": "/etc/docker/ca.pem"}`},
		"another mtu": {`{"mtu": 1500, "hosts": ["unix:///var/run/docker.sock"]}`, `{"mtu": 1500, "hosts": ["unix:///var/run/docker.sock", "tcp://0.0.0.0:2376"], "tlsverify": true, "tlscacert": "/etc/docker/ca.pem"}`},
		"other hosts": {`{"hosts": ["fd://"], "tlsverify": false}`, `{"hosts": ["fd://"], "tlsverify": false, "tlscacert": "/etc/docker/ca.pem"}`},
	} {
		former := document(t, theirs)
		y := NewYield(nil, former, 2376)
		if left := y.Document(former); len(Changed(left, document(t, `{"hosts": ["unix:///var/run/docker.sock"], "mtu": 1400}`))) != 0 {
			t.Fatalf("left %s", left.Bytes())
		}
		if !slices.Equal(y.Files, []string{"/etc/docker/ca.pem"}) {
			t.Errorf("files %q", y.Files)
		}
		back := y.Back(document(t, c.later), former)
		if diff := cmp.Diff(Changed(back, document(t, c.back)), []string(nil)); diff != "" {
			t.Errorf("%s: back as %s", name, back.Bytes())
		}
	}
	one := document(t, `{"hosts": ["tcp://0.0.0.0:2376"]}`)
	if left := NewYield(nil, one, 2376).Document(one); !left.Empty() {
		t.Errorf("left %s", left.Bytes())
	}
}
