package controller

import (
	"context"
	"encoding/json"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	"go.uber.org/goleak"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	"mctl/internal/controller/ca"
	"mctl/internal/fault"
	controllerv1 "mctl/proto/mctl/controller/v1"
)

func TestMain(m *testing.M) {
	if state := os.Getenv("CONTROLLER_TEST_STATE"); state != "" {
		runAsProcess(state)
		return
	}
	goleak.VerifyTestMain(m)
}

// runAsProcess is a controller of its own, which says on standard output how its start went.
func runAsProcess(state string) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	config := newConfig(state, filepath.Join(os.Getenv("CONTROLLER_TEST_SOCKET")))
	config.Ready = func(r Readiness) { _ = json.NewEncoder(os.Stdout).Encode(r) }
	if err := Run(ctx, config); err != nil {
		_ = json.NewEncoder(os.Stdout).Encode(Readiness{Error: err.Error(), Hint: fault.HintOf(err)})
		os.Exit(1)
	}
}

func newConfig(state, socket string) Config {
	return Config{
		StateDir: state, Socket: socket, Listen: "127.0.0.1:0", Lifetimes: ca.DefaultLifetimes(), Logger: hclog.NewNullLogger(),
		Ready: func(Readiness) {},
	}
}

// start runs a controller in this process until the returned function is called.
func start(t *testing.T, config Config) (Readiness, func() error) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	ready, done := make(chan Readiness, 1), make(chan error, 1)
	config.Ready = func(r Readiness) { ready <- r }
	go func() { done <- Run(ctx, config) }()
	stop := func() error { cancel(); return <-done }
	select {
	case r := <-ready:
		return r, stop
	case err := <-done:
		cancel()
		return Readiness{Error: err.Error(), Hint: fault.HintOf(err)}, func() error { return err }
	}
}

func dial(t *testing.T, socket string) *grpc.ClientConn {
	t.Helper()
	conn, err := grpc.NewClient("unix:"+socket, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return conn
}

func TestAControllerServesAndStopsWhenTold(t *testing.T) {
	state, socket := t.TempDir(), filepath.Join(t.TempDir(), "s")
	ready, stop := start(t, newConfig(state, socket))
	if !ready.Ready {
		t.Fatalf("%+v", ready)
	}
	client := controllerv1.NewSystemServiceClient(dial(t, socket))
	info, err := client.GetInfo(t.Context(), &controllerv1.GetInfoRequest{})
	if err != nil || info.GetControllerId() == "" || info.GetPid() != int64(os.Getpid()) {
		t.Fatalf("%v, %v", info, err)
	}
	if _, err := client.Shutdown(t.Context(), &controllerv1.ShutdownRequest{}); err != nil {
		t.Fatal(err)
	}
	if err := stop(); err != nil {
		t.Error(err)
	}
	ready, stop = start(t, newConfig(state, socket))
	again, err := controllerv1.NewSystemServiceClient(dial(t, socket)).GetInfo(t.Context(), &controllerv1.GetInfoRequest{})
	if err != nil || again.GetControllerId() != info.GetControllerId() {
		t.Errorf("after a restart: %v, %v", again, err)
	}
	if err := stop(); err != nil || !ready.Ready {
		t.Error(err)
	}
}

func TestAStoreWhoseSealKeyIsGoneIsRefusedAndGetsNoOther(t *testing.T) {
	state, socket := t.TempDir(), filepath.Join(t.TempDir(), "s")
	_, stop := start(t, newConfig(state, socket))
	if err := stop(); err != nil {
		t.Fatal(err)
	}
	key := filepath.Join(state, "mctl", "seal.key")
	content, err := os.ReadFile(key)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(key); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		ready, stop := start(t, newConfig(state, socket))
		if err := stop(); !fault.Is(err, fault.Precondition) || !strings.Contains(ready.Error, "is missing") || ready.Hint == "" {
			t.Errorf("%+v, %v", ready, err)
		}
		if _, err := os.Stat(key); err == nil {
			t.Fatal("another key was made")
		}
	}
	if err := os.WriteFile(key, content, 0o600); err != nil {
		t.Fatal(err)
	}
	ready, stop := start(t, newConfig(state, socket))
	if err := stop(); err != nil || !ready.Ready {
		t.Errorf("with the key put back: %+v, %v", ready, err)
	}
}

func TestThePortIsChosenOnceAndAStrangerOnItIsNamed(t *testing.T) {
	state, socket := t.TempDir(), filepath.Join(t.TempDir(), "s")
	config := newConfig(state, socket)
	config.Listen = ""
	var ports []string
	for range 2 {
		_, stop := start(t, config)
		info, err := controllerv1.NewSystemServiceClient(dial(t, socket)).GetInfo(t.Context(), &controllerv1.GetInfoRequest{})
		if err != nil {
			t.Fatal(err)
		}
		_, port, _ := net.SplitHostPort(info.GetListenAddresses()[0])
		ports = append(ports, port)
		if err := stop(); err != nil {
			t.Fatal(err)
		}
	}
	config.Listen = "127.0.0.1:0" // on another address it is the same port
	config.Advertise = []string{"mctl.example", "mctl.example:1", "2001:db8::1", "[2001:db8::1]"}
	_, stop := start(t, config)
	info, err := controllerv1.NewSystemServiceClient(dial(t, socket)).GetInfo(t.Context(), &controllerv1.GetInfoRequest{})
	if err != nil {
		t.Fatal(err)
	}
	if err := stop(); err != nil {
		t.Fatal(err)
	}
	advertised := info.GetListenAddresses()
	_, port, _ := net.SplitHostPort(advertised[0])
	if ports = append(ports, port); ports[0] != ports[1] || ports[0] != ports[2] {
		t.Fatalf("ports %v", ports)
	}
	if advertised[1] != "mctl.example:1" || advertised[2] != "[2001:db8::1]:"+port || advertised[3] != advertised[2] {
		t.Errorf("advertised %v", advertised)
	}
	config.Listen, config.Advertise = "", nil
	stranger, err := net.Listen("tcp", ":"+ports[0])
	if err != nil {
		t.Fatal(err)
	}
	defer stranger.Close()
	if ready, _ := start(t, config); !strings.Contains(ready.Error, "is taken by another program") || ready.Hint == "" {
		t.Errorf("%+v", ready)
	}
}

func TestTwentyStartsAtOnceMakeOneController(t *testing.T) {
	state, sockets := filepath.Join(t.TempDir(), strings.Repeat("a", 100), strings.Repeat("b", 100)), t.TempDir()
	ctx, cancel := context.WithCancel(t.Context())
	var all sync.WaitGroup
	answers := make(chan Readiness, 20)
	for range 20 {
		all.Go(func() {
			command := exec.CommandContext(ctx, os.Args[0])
			command.Env = append(os.Environ(), "CONTROLLER_TEST_STATE="+state, "CONTROLLER_TEST_SOCKET="+filepath.Join(sockets, "s"))
			output, err := command.StdoutPipe()
			if err != nil {
				t.Error(err)
				return
			}
			if err := command.Start(); err != nil {
				t.Error(err)
				return
			}
			var r Readiness
			if err := json.NewDecoder(output).Decode(&r); err != nil {
				t.Error(err)
			}
			answers <- r
			_ = command.Wait()
		})
	}
	ready, already := 0, 0
	for range 20 {
		switch r := <-answers; {
		case r.Ready:
			ready++
		case r.Already:
			already++
		default:
			t.Errorf("%+v", r)
		}
	}
	cancel()
	all.Wait()
	if ready != 1 || already != 19 {
		t.Errorf("%d ready, %d already; want 1 and 19", ready, already)
	}
}

func TestAStateThatCannotBeUsedIsASentence(t *testing.T) {
	for name, prepare := range map[string]func(t *testing.T, state string){
		"a file where the socket shall be": func(*testing.T, string) {},
		"a file in the way":                func(t *testing.T, state string) { write(t, state, "mctl", "x") },
		"a corrupt store":                  func(t *testing.T, state string) { write(t, state, "mctl/store.db", strings.Repeat("garbage", 10_000)) },
		"an open seal key": func(t *testing.T, state string) {
			write(t, state, "mctl/seal.key", "x")
			if err := os.Chmod(filepath.Join(state, "mctl/seal.key"), 0o644); err != nil { //nolint:gosec // that is the test
				t.Fatal(err)
			}
		},
	} {
		state := t.TempDir()
		prepare(t, state)
		socket := filepath.Join(t.TempDir(), "s")
		if name == "a file where the socket shall be" {
			write(t, filepath.Dir(socket), "s", "precious")
		}
		ready, _ := start(t, newConfig(state, socket))
		if name == "a file where the socket shall be" {
			if content, err := os.ReadFile(socket); err != nil || string(content) != "precious" {
				t.Errorf("%s: it became %q, %v", name, content, err)
			}
		}
		if ready.Error == "" || ready.Hint == "" || strings.Contains(ready.Error, "goroutine") {
			t.Errorf("%s: %+v", name, ready)
		}
	}
}

func write(t *testing.T, state, name, content string) {
	t.Helper()
	path := filepath.Join(state, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
}
