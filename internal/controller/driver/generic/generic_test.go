package generic

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/pem"
	"maps"
	"net"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/crypto/ssh"

	"mctl/internal/controller/driver"
	"mctl/internal/controller/driver/drivertest"
	"mctl/internal/fault"
)

func key(t *testing.T, passphrase string) []byte {
	t.Helper()
	_, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	block, err := ssh.MarshalPrivateKey(private, "")
	if passphrase != "" {
		block, err = ssh.MarshalPrivateKeyWithPassphrase(private, "", []byte(passphrase))
	}
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(block)
}

// options resolves what a caller gives, name and value in turn.
func options(t *testing.T, pairs ...string) driver.Options {
	t.Helper()
	given := driver.Options{}
	for pair := range slices.Chunk(pairs, 2) {
		given[pair[0]] = driver.Option{Values: pair[1:]}
	}
	resolved, err := driver.Resolve("generic", New().Flags(), given)
	if err != nil {
		t.Fatal(err)
	}
	return resolved
}

func TestFlagsAreDockerMachines(t *testing.T) {
	want := map[string][2]string{
		"generic-engine-port": {"GENERIC_ENGINE_PORT", "2376"},
		"generic-ip-address":  {"GENERIC_IP_ADDRESS", ""},
		"generic-ssh-user":    {"GENERIC_SSH_USER", "root"},
		"generic-ssh-key":     {"GENERIC_SSH_KEY", ""},
		"generic-ssh-port":    {"GENERIC_SSH_PORT", "22"},
	}
	got := map[string][2]string{}
	for _, flag := range New().Flags() {
		got[flag.Name] = [2]string{flag.Env, strings.Join(flag.Default, " ")}
		if (flag.Name == flagKey) != (flag.Kind == driver.File) {
			t.Errorf("--%s has kind %v", flag.Name, flag.Kind)
		}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestWithoutAnAddressNothingGoes(t *testing.T) {
	_, err := driver.Resolve("generic", New().Flags(), nil)
	if fault.ReasonOf(err) != fault.ReasonUsage {
		t.Errorf("resolve: %v", err)
	}
	if err := New().Validate(driver.Options{}); !fault.Is(err, fault.Invalid) || !strings.Contains(err.Error(), "generic driver requires the --generic-ip-address option") {
		t.Errorf("validate: %v", err)
	}
}

func TestAddressesThatAreTaken(t *testing.T) {
	for _, address := range []string{"192.0.2.1", "2001:db8::1", "fe80::1%eth0", "web", "web.example.com", "web.example.com.", "my_host", "1web", "127.0.0.1"} {
		if err := New().Validate(options(t, flagAddress, address)); err != nil {
			t.Errorf("%q: %v", address, err)
		}
	}
}

func TestBadOptionsNameTheirFlag(t *testing.T) {
	bad := map[string][]string{
		flagAddress: {
			"-oProxyCommand=x", "a b", "a\nb", "a\x1b[31m", "$(id)", "web;id", "tcp://web", "web:22", "[::1]", "0.0.0.0", "::", "224.0.0.1",
			"300.1.2.3", "fe80::1%a;b", "a..b", ".web", strings.Repeat("a.", 130) + "a", strings.Repeat("a", 64),
		},
		flagUser:       {"", "-l", "a b", "a\nb", "$(id)", "root;id", "é", strings.Repeat("a", 65)},
		flagSSHPort:    {"0", "-1", "65536"},
		flagEnginePort: {"0", "-1", "65536", "22"},
	}
	for _, name := range slices.Sorted(maps.Keys(bad)) {
		for _, value := range bad[name] {
			given := options(t, flagAddress, "192.0.2.1", name, value)
			err := New().Validate(given)
			if !fault.Is(err, fault.Invalid) || fault.SubjectOf(err) != name || fault.ReasonOf(err) != fault.ReasonUsage {
				t.Errorf("--%s %q: %v", name, value, err)
				continue
			}
			if strings.ContainsAny(err.Error(), "\n\x1b") {
				t.Errorf("--%s %q: the sentence carries control characters", name, value)
			}
		}
	}
}

func TestAKeyThatCannotBeUsedIsRefusedBeforeAnythingIsMade(t *testing.T) {
	for name, c := range map[string]struct {
		content    []byte
		says, hint string
	}{
		"passphrase": {key(t, "open sesame"), "passphrase", "ssh-agent"},
		"garbage":    {[]byte("hunter2"), "neither in OpenSSH's format", "private key"},
		"empty":      {nil, "empty", "private key"},
	} {
		t.Run(name, func(t *testing.T) {
			given := options(t, flagAddress, "192.0.2.1")
			given[flagKey] = driver.Option{Content: c.content}
			err := New().Validate(given)
			if fault.ReasonOf(err) != fault.ReasonPrecheck || !strings.Contains(err.Error(), c.says) || !strings.Contains(fault.HintOf(err), c.hint) {
				t.Errorf("%v, hint %q, reason %q", err, fault.HintOf(err), fault.ReasonOf(err))
			}
		})
	}
	given := options(t, flagAddress, "192.0.2.1")
	given[flagKey] = driver.Option{Content: key(t, "")}
	if err := New().Validate(given); err != nil {
		t.Errorf("a good key: %v", err)
	}
}

func TestCreateMakesNothingAndSaysWhereTheHostIs(t *testing.T) {
	content := key(t, "")
	m := driver.Machine{Name: "web", Options: options(t, flagAddress, "192.0.2.1", flagUser, "admin", flagSSHPort, "2222", flagEnginePort, "3376")}
	m.Options[flagKey] = driver.Option{Content: content}
	want := driver.Instance{
		ID: "192.0.2.1", Power: driver.Running, Addresses: []string{"192.0.2.1"}, Port: 3376,
		SSH: driver.SSH{Address: "192.0.2.1", Port: 2222, User: "admin"},
	}
	for range 2 {
		got, err := New().Create(t.Context(), m)
		if diff := cmp.Diff(want, got); err != nil || diff != "" {
			t.Error(err, diff)
		}
	}
	target, err := New().Target(m)
	if diff := cmp.Diff(driver.Target{SSH: want.SSH, Key: content, EnginePort: 3376}, target); err != nil || diff != "" {
		t.Error(err, diff)
	}
	m.Options = options(t, flagAddress, "web.example.com")
	target, err = New().Target(m)
	if err != nil || target.Key != nil || target.SSH.User != "root" || target.SSH.Port != 22 || target.EnginePort != 2376 {
		t.Errorf("defaults: %+v, %v", target, err)
	}
}

// host listens where a host's sshd would, and returns the machine; silent stops it.
func host(t *testing.T) (m driver.Machine, silent func()) {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { listener.Close() })
	port := strconv.Itoa(listener.Addr().(*net.TCPAddr).Port)
	return driver.Machine{Name: "web", Options: options(t, flagAddress, "127.0.0.1", flagSSHPort, port)}, func() { listener.Close() }
}

func TestContract(t *testing.T) {
	drivertest.RunAdopter(t, func(t *testing.T) drivertest.Adoption {
		m, silent := host(t)
		return drivertest.Adoption{
			New: func() driver.Driver { return New() }, Machine: m, Silence: silent,
			There: func() bool {
				return answers(t.Context(), driver.SSH{Address: "127.0.0.1", Port: instance(m).SSH.Port}) == nil
			},
		}
	})
}

func TestPowerIsWhatTheSSHPortSays(t *testing.T) {
	m, silent := host(t)
	if got, err := New().Inspect(t.Context(), m); err != nil || got.Power != driver.Running {
		t.Errorf("listening: %+v, %v", got, err)
	}
	if got, err := New().Start(t.Context(), m); err != nil || got.Power != driver.Running {
		t.Errorf("start of a running host: %+v, %v", got, err)
	}
	silent()
	if got, err := New().Inspect(t.Context(), m); err != nil || got.Power != driver.Unknown || got.Addresses == nil {
		t.Errorf("silent: %+v, %v", got, err)
	}
	if _, err := New().Start(t.Context(), m); !fault.Is(err, fault.Precondition) || fault.HintOf(err) == "" {
		t.Errorf("start of a silent host: %v", err)
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	for name, act := range map[string]func(context.Context, driver.Machine) (driver.Instance, error){"inspect": New().Inspect, "start": New().Start} {
		if _, err := act(ended, m); !fault.Is(err, fault.Unavailable) {
			t.Errorf("%s that was given up: %v", name, err)
		}
	}
}

func TestAHostThatWasThereIsNeverPoweredOff(t *testing.T) {
	m, _ := host(t)
	for force, says := range map[bool]string{false: "does not support stop", true: "does not support kill"} {
		_, err := New().Stop(t.Context(), m, force)
		if !fault.Is(err, fault.Precondition) || !strings.Contains(err.Error(), says) || fault.HintOf(err) == "" {
			t.Errorf("force %v: %v", force, err)
		}
	}
	for range 2 {
		if err := New().Delete(t.Context(), m); err != nil {
			t.Errorf("delete: %v", err)
		}
	}
}

func TestItIsNeverChosenUnasked(t *testing.T) {
	if info := New().Info(); info.Name != "generic" || info.Rank != 0 || info.Unusable != "" {
		t.Errorf("%+v", info)
	}
}
