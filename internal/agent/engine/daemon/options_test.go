package daemon

import (
	"encoding/json"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"mctl/internal/fault"
	"mctl/internal/host"
)

func TestOptionsBecomeKeysOfTheirType(t *testing.T) {
	tests := map[string]struct {
		options []string
		want    string
	}{
		"text":                {[]string{"bip=10.1.0.1/24", "log-driver=journald"}, `{"bip":"10.1.0.1/24","log-driver":"journald"}`},
		"numbers":             {[]string{"mtu=1400", "shutdown-timeout=5"}, `{"mtu":1400,"shutdown-timeout":5}`},
		"booleans":            {[]string{"debug", "iptables=false", "live-restore=true"}, `{"debug":true,"iptables":false,"live-restore":true}`},
		"lists":               {[]string{"dns=1.1.1.1", "dns=8.8.8.8", "dns-opt=ndots:1", "dns-search=x"}, `{"dns":["1.1.1.1","8.8.8.8"],"dns-opts":["ndots:1"],"dns-search":["x"]}`},
		"names in plural":     {[]string{"label=a=b", "insecure-registry=r", "registry-mirror=m", "exec-opt=e=1", "storage-opt=s=1"}, `{"labels":["a=b"],"insecure-registries":["r"],"registry-mirrors":["m"],"exec-opts":["e=1"],"storage-opts":["s=1"]}`},
		"log options":         {[]string{"log-opt=max-size=10m", "log-opt=max-file=3"}, `{"log-opts":{"max-size":"10m","max-file":"3"}}`},
		"ulimits":             {[]string{"default-ulimit=nofile=10:20", "default-ulimit=core=0"}, `{"default-ulimits":{"nofile":{"Name":"nofile","Soft":10,"Hard":20},"core":{"Name":"core","Soft":0,"Hard":0}}}`},
		"runtimes":            {[]string{"add-runtime=kata=/bin/kata"}, `{"runtimes":{"kata":{"path":"/bin/kata"}}}`},
		"address pools":       {[]string{"default-address-pool=base=10.0.0.0/8,size=24"}, `{"default-address-pools":[{"base":"10.0.0.0/8","size":24}]}`},
		"network options":     {[]string{"default-network-opt=bridge=mtu=1", "default-network-opt=bridge=x=2"}, `{"default-network-opts":{"bridge":{"mtu":"1","x":"2"}}}`},
		"proxies":             {[]string{"http-proxy=http://p", "no-proxy=a,b"}, `{"proxies":{"http-proxy":"http://p","no-proxy":"a,b"}}`},
		"features":            {[]string{"feature=containerd-snapshotter=true"}, `{"features":{"containerd-snapshotter":true}}`},
		"the last one counts": {[]string{"mtu=1", "mtu=2"}, `{"mtu":2}`},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			settings, err := Translate(parsed(t, test.options...), nil)
			if err != nil || len(settings.Flags) != 0 {
				t.Fatalf("%v, flags %v", err, settings.Flags)
			}
			var want, got any
			if err := json.Unmarshal([]byte(test.want), &want); err != nil {
				t.Fatal(err)
			}
			if err := json.Unmarshal(encode(settings.Keys), &got); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func parsed(t *testing.T, texts ...string) []Option {
	t.Helper()
	var options []Option
	for _, text := range texts {
		o, err := ParseOption(text)
		if err != nil {
			t.Fatal(err)
		}
		options = append(options, o)
	}
	return options
}

func TestWrongOptionsAreRefused(t *testing.T) {
	for _, text := range []string{
		"", "=x", "--debug", "-D", "a b=c", "1x", "mtu=big", "mtu", "bip=", "debug=perhaps", "log-opt=x", "log-opt==x", "default-ulimit=a=b",
		"default-address-pool=base=x", "default-address-pool=base=x,size=y", "default-address-pool=other=x", "feature=a=b", "add-runtime=x=",
		"default-network-opt=a=b", "host=unix:///x", "tls", "tlsverify=false", "tlscert=/x", "config-file=/x", "pidfile=/x", "label=a\nb", "label=\xff",
	} {
		o, err := ParseOption(text)
		if err == nil {
			_, err = Translate([]Option{o}, nil)
		}
		if !fault.Is(err, fault.Invalid) {
			t.Errorf("%q: %v", text, err)
		}
	}
}

func TestUnknownAndHeldOptionsStayFlags(t *testing.T) {
	options := parsed(t, "brand-new=1", "rootless", "mtu=1400", "label=a=b", "containerd-plugins-namespace=p")
	settings, err := Translate(options, map[string]bool{"mtu": true})
	if err != nil {
		t.Fatal(err)
	}
	want := Settings{Keys: map[string]any{"labels": []any{"a=b"}}, Flags: []Option{options[0], options[1], options[2], options[4]}}
	if diff := cmp.Diff(want, settings); diff != "" {
		t.Error(diff)
	}
}

func TestNoKeyIsEverBesideItsFlag(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		flags := []string{"mtu=1400", "label=a=b", "debug", "log-opt=a=b", "http-proxy=x", "brand-new=1", "default-ulimit=core=1"}
		chosen := rapid.SliceOf(rapid.SampledFrom(flags)).Draw(t, "options")
		held := map[string]bool{}
		for _, flag := range rapid.SliceOf(rapid.SampledFrom([]string{"mtu", "label", "debug", "log-opt", "http-proxy"})).Draw(t, "held") {
			held[flag] = true
		}
		var options []Option
		for _, text := range chosen {
			o, err := ParseOption(text)
			if err != nil {
				t.Fatal(err)
			}
			options = append(options, o)
		}
		settings, err := Translate(options, held)
		if err != nil {
			t.Fatal(err)
		}
		for flag := range held {
			s, _ := settingOf(flag)
			if s.kind == proxy {
				s.key = "proxies"
			}
			if _, both := settings.Keys[s.key]; both {
				t.Fatalf("%s is flag and key", flag)
			}
		}
		for _, o := range options {
			if s, known := settingOf(o.Flag); known && !held[o.Flag] && s.kind != proxy && settings.Keys[s.key] == nil {
				t.Fatalf("%s is lost", o)
			}
		}
	})
}

func TestReloadableKeysAreKeysOfTheTable(t *testing.T) {
	for _, flag := range []string{"label", "insecure-registry", "registry-mirror", "live-restore", "debug"} {
		if s, _ := settingOf(flag); !Reloadable(s.key) {
			t.Errorf("%s needs a restart", flag)
		}
	}
	for _, flag := range []string{"storage-driver", "log-driver", "bip", "data-root", "iptables", "dns"} {
		if s, _ := settingOf(flag); s.key == "" || Reloadable(s.key) {
			t.Errorf("%s needs no restart", flag)
		}
	}
}

func TestWishKeepsTheLastOfLabelsWithOneName(t *testing.T) {
	options, err := Wish(host.Engine{Labels: []string{"provider=mine", "a=b", "provider=nspawn"}}, func(string) {})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]Option{{Flag: "label", Value: "a=b"}, {Flag: "label", Value: "provider=nspawn"}}, options); diff != "" {
		t.Error(diff)
	}
}

func TestOverlayIsTakenAsOverlay2WithANotice(t *testing.T) {
	said := ""
	options, err := Wish(host.Engine{StorageDriver: "overlay"}, func(line string) { said = line })
	if err != nil || options[0].Value != "overlay2" || said == "" {
		t.Errorf("%v, %v, %q", options, err, said)
	}
}

func TestArgumentsOfADaemonAreRead(t *testing.T) {
	tests := map[string]struct {
		argv []string
		want []string
	}{
		"Debian's":     {[]string{"/usr/sbin/dockerd", "-H", "fd://", "--containerd=/run/containerd/containerd.sock"}, []string{"host=fd://", "containerd=/run/containerd/containerd.sock"}},
		"blank or not": {[]string{"--label", "a=b", "--label=c=d", "-lwarn", "-D", "-s=zfs"}, []string{"label=a=b", "label=c=d", "log-level=warn", "debug", "storage-driver=zfs"}},
		"bare flags":   {[]string{"--tlsverify", "--live-restore", "-H", "tcp://x"}, []string{"tlsverify", "live-restore", "host=tcp://x"}},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			var got []string
			for _, o := range ParseArguments(test.argv) {
				got = append(got, o.String())
			}
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}
