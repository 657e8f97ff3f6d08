package api

import (
	"bytes"
	"context"
	"crypto/tls"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	healthv1 "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/metadata"
	reflectionv1 "google.golang.org/grpc/reflection/grpc_reflection_v1"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/durationpb"

	machines "mctl/internal/controller/machine"
	"mctl/internal/host"
	controllerv1 "mctl/proto/mctl/controller/v1"
)

func TestHealthAndReflectionAnswer(t *testing.T) {
	w := newWorld(t)
	conn := w.local()
	health, err := healthv1.NewHealthClient(conn).Check(t.Context(), &healthv1.HealthCheckRequest{})
	if err != nil || health.GetStatus() != healthv1.HealthCheckResponse_SERVING {
		t.Errorf("%v, %v", health, err)
	}
	stream, err := reflectionv1.NewServerReflectionClient(conn).ServerReflectionInfo(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if err := stream.Send(&reflectionv1.ServerReflectionRequest{MessageRequest: &reflectionv1.ServerReflectionRequest_ListServices{}}); err != nil {
		t.Fatal(err)
	}
	listed, err := stream.Recv()
	if err != nil || !strings.Contains(listed.String(), "mctl.controller.v1.MachineService") {
		t.Errorf("%v, %v", listed, err)
	}
}

func TestRefusedCallsDoNotFillTheLog(t *testing.T) {
	var log lockedBuffer
	w := newWorld(t, func(c *Config) { c.Logger = hclog.New(&hclog.LoggerOptions{Output: &log, Level: hclog.Info}) })
	client := controllerv1.NewSystemServiceClient(w.remote(nil))
	for range 2 * refusals {
		if _, err := client.GetInfo(t.Context(), &controllerv1.GetInfoRequest{}); status.Code(err) != codes.PermissionDenied {
			t.Fatal(err)
		}
	}
	machine := controllerv1.NewMachineServiceClient(w.local())
	if _, err := machine.GetMachine(t.Context(), &controllerv1.GetMachineRequest{Name: strings.Repeat("x", 1<<20)}); status.Code(err) != codes.NotFound {
		t.Fatal(err)
	}
	text := log.String()
	if lines := strings.Count(text, "call refused"); lines < refusals || lines > refusals*3/2 || len(text) > lines*1000+4*maxBrief {
		t.Errorf("%d lines, %d bytes", lines, len(text))
	}
}

type lockedBuffer struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.Write(p)
}

func (b *lockedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.String()
}

func TestOlderTLSAndPlaintextAreRefused(t *testing.T) {
	w := newWorld(t)
	user := w.enrolled("user:alice")
	for name, change := range map[string]func(*tls.Config){
		"TLS 1.2": func(c *tls.Config) { c.MinVersion, c.MaxVersion = tls.VersionTLS12, tls.VersionTLS12 },
		"TLS 1.3": func(*tls.Config) {},
	} {
		config := &tls.Config{InsecureSkipVerify: true, NextProtos: []string{"h2"}, Certificates: []tls.Certificate{*user}}
		change(config)
		conn, err := tls.Dial("tcp", w.address, config)
		if err == nil {
			conn.Close()
		}
		if (err == nil) != (name == "TLS 1.3") {
			t.Errorf("%s: %v", name, err)
		}
	}
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	plain := w.dial(w.address, insecure.NewCredentials())
	if _, err := controllerv1.NewSystemServiceClient(plain).GetInfo(ctx, &controllerv1.GetInfoRequest{}); status.Code(err) != codes.Unavailable {
		t.Errorf("plaintext: %v", err)
	}
}

func create(t *testing.T, client controllerv1.MachineServiceClient, name string, labels ...string) {
	t.Helper()
	if _, err := client.CreateMachine(t.Context(), &controllerv1.CreateMachineRequest{
		Name: name, Spec: &controllerv1.MachineSpec{Driver: "pretend", Engine: &controllerv1.EngineSpec{Labels: labels}},
	}); err != nil {
		t.Fatal(err)
	}
}

// Callers must be able to tell a controller that stops from their own end, and it must not wait for those who wait.
func TestAStopEndsStreamsAndWaitsAtOnceAndSaysSo(t *testing.T) {
	w := newWorld(t)
	conn := w.local()
	client := controllerv1.NewMachineServiceClient(conn)
	create(t, client, "web")
	watch, err := client.WatchMachines(t.Context(), &controllerv1.WatchMachinesRequest{})
	if err != nil {
		t.Fatal(err)
	}
	events, err := controllerv1.NewEventServiceClient(conn).WatchEvents(t.Context(), &controllerv1.WatchEventsRequest{Follow: true})
	if err != nil {
		t.Fatal(err)
	}
	for range 2 { // the picture
		if _, err := watch.Recv(); err != nil {
			t.Fatal(err)
		}
	}
	ends := make(chan error, 3)
	go func() {
		_, err := client.WaitMachine(t.Context(), &controllerv1.WaitMachineRequest{Name: "web"})
		ends <- err
	}()
	go func() { _, err := watch.Recv(); ends <- err }()
	go func() { _, err := events.Recv(); ends <- err }()
	select {
	case err := <-ends:
		t.Fatalf("before the stop: %v", err)
	case <-time.After(100 * time.Millisecond):
	}
	began := time.Now()
	w.stop()
	for range 3 {
		if err := <-ends; status.Code(err) != codes.Unavailable || !strings.Contains(err.Error(), "stopping") {
			t.Errorf("got %v", err)
		}
	}
	if took := time.Since(began); took > stopLimit/2 {
		t.Errorf("it took %s", took)
	}
}

func TestWhoFallsBehindIsToldOrLooksAnew(t *testing.T) {
	w := newWorld(t)
	client := controllerv1.NewMachineServiceClient(w.local())
	create(t, client, "web")
	w.store.behind.Store(1)
	watch, err := client.WatchMachines(t.Context(), &controllerv1.WatchMachinesRequest{SinceResourceVersion: "1"})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := watch.Recv(); status.Code(err) != codes.OutOfRange {
		t.Errorf("a watch: %v", err)
	}
	w.store.behind.Store(3)
	waited := make(chan error, 1)
	go func() {
		_, err := client.WaitMachine(t.Context(), &controllerv1.WaitMachineRequest{Name: "web"})
		waited <- err
	}()
	for w.store.behind.Load() >= 0 { // it looked three times in vain
		select {
		case err := <-waited:
			t.Fatalf("a wait: %v", err)
		case <-time.After(time.Millisecond):
		}
	}
	w.step("web")
	if err := <-waited; err != nil {
		t.Errorf("a wait: %v", err)
	}
}

func TestWaitsThatNothingEnds(t *testing.T) {
	w := newWorld(t)
	client := controllerv1.NewMachineServiceClient(w.local())
	create(t, client, "web")
	wait := func(r *controllerv1.WaitMachineRequest) codes.Code {
		r.Timeout = durationpb.New(50 * time.Millisecond)
		_, err := client.WaitMachine(t.Context(), r)
		return status.Code(err)
	}
	for name, c := range map[string]struct {
		request *controllerv1.WaitMachineRequest
		code    codes.Code
	}{
		"nothing happens":       {&controllerv1.WaitMachineRequest{Name: "web"}, codes.DeadlineExceeded},
		"it is not removed":     {&controllerv1.WaitMachineRequest{Name: "web", Deleted: true}, codes.DeadlineExceeded},
		"unknown":               {&controllerv1.WaitMachineRequest{Name: "none"}, codes.NotFound},
		"unknown, so it's gone": {&controllerv1.WaitMachineRequest{Name: "none", Deleted: true}, codes.OK},
	} {
		if got := wait(c.request); got != c.code {
			t.Errorf("%s: %s", name, got)
		}
	}
}

func TestWhatACallerMaySendIsBounded(t *testing.T) {
	w := newWorld(t)
	client := controllerv1.NewMachineServiceClient(w.local())
	if _, err := client.GetMachine(t.Context(), &controllerv1.GetMachineRequest{Name: strings.Repeat("x", maxMessage+1)}); status.Code(err) != codes.ResourceExhausted {
		t.Errorf("a message: %v", status.Code(err))
	}
	if _, err := client.GetMachine(t.Context(), &controllerv1.GetMachineRequest{Name: strings.Repeat("x", 1<<20)}); status.Code(err) != codes.NotFound {
		t.Errorf("a name: %v", status.Code(err))
	}
	ctx := metadata.AppendToOutgoingContext(t.Context(), "x", strings.Repeat("x", maxHeaders))
	if _, err := client.GetMachine(ctx, &controllerv1.GetMachineRequest{Name: "web"}); status.Code(err) == codes.NotFound {
		t.Error("headers without measure reached the handler")
	}
	if _, err := client.CreateMachine(t.Context(), &controllerv1.CreateMachineRequest{Name: "web", Spec: &controllerv1.MachineSpec{
		Driver: "pretend", TlsSans: manyOf(250, strings.Repeat("x", 3000)),
	}}); status.Code(err) != codes.InvalidArgument || !strings.Contains(err.Error(), "together") {
		t.Errorf("a spec: %v", err)
	}
	if _, err := client.CreateMachine(t.Context(), &controllerv1.CreateMachineRequest{Name: "web", Spec: &controllerv1.MachineSpec{
		Driver: "pretend", DriverOptions: []*controllerv1.DriverOption{{Name: "\x1b[2J"}},
	}}); status.Code(err) != codes.InvalidArgument || strings.Contains(err.Error(), "\x1b") {
		t.Errorf("an option's name: %v", err)
	}
}

func manyOf(n int, text string) []string {
	all := make([]string, n)
	for i := range all {
		all[i] = text
	}
	return all
}

func TestAPageFitsWhatClientsTake(t *testing.T) {
	w := newWorld(t)
	client := controllerv1.NewMachineServiceClient(w.local()) // with gRPC's own limit of 4 MiB
	label := "a=" + strings.Repeat("x", 4000)
	names := []string{"a", "b", "c", "d", "e", "f", "g", "h", "i", "j", "k", "l"}
	for _, name := range names {
		create(t, client, name, manyOf(100, label)...)
	}
	var seen []string
	pages := 0
	for token := ""; ; {
		page, err := client.ListMachines(t.Context(), &controllerv1.ListMachinesRequest{PageToken: token})
		if err != nil {
			t.Fatal(err)
		}
		pages++
		for _, m := range page.GetMachines() {
			seen = append(seen, m.GetName())
		}
		if token = page.GetNextPageToken(); token == "" {
			break
		}
	}
	if strings.Join(seen, "") != strings.Join(names, "") || pages < 2 {
		t.Errorf("%v on %d pages", seen, pages)
	}
}

// A watcher sees the states of a record in the order in which they were, whatever live facts are told in between.
func TestAWatchNeverGoesBack(t *testing.T) {
	w := newWorld(t)
	client := controllerv1.NewMachineServiceClient(w.local())
	create(t, client, "web")
	watch, err := client.WatchMachines(t.Context(), &controllerv1.WatchMachinesRequest{})
	if err != nil {
		t.Fatal(err)
	}
	const edits = 200
	go func() {
		for range edits {
			if _, err := w.service.Edit(t.Context(), "", "retry", "web", 0, func(s *machines.Spec) { s.Retry++ }); err != nil {
				t.Error(err)
				return
			}
			w.server.Touch("web")
		}
	}()
	last := uint64(0)
	for last < edits+1 {
		seen, err := watch.Recv()
		if err != nil {
			t.Fatal(err)
		}
		if seen.GetType() == controllerv1.WatchMachinesResponse_TYPE_SYNCED {
			continue
		}
		if now := seen.GetMachine().GetGeneration(); now < last {
			t.Fatalf("generation %d after %d", now, last)
		} else {
			last = now
		}
	}
}

func TestReportsOfHealthReachThoseWhoAskForThem(t *testing.T) {
	w := newWorld(t)
	client := controllerv1.NewMachineServiceClient(w.local())
	for _, name := range []string{"db", "runner", "web"} {
		create(t, client, name)
	}
	w.seen.Store(&host.Observed{Connected: true, Health: &host.Health{CPUPercent: 12.5, EngineUp: true}})
	open := func(r *controllerv1.WatchMachinesRequest, names ...string) grpc.ServerStreamingClient[controllerv1.WatchMachinesResponse] {
		t.Helper()
		watch, err := client.WatchMachines(t.Context(), r)
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range append(names, "") {
			if seen, err := watch.Recv(); err != nil || seen.GetMachine().GetName() != name {
				t.Fatalf("%v, %v, want %q in the first picture", seen, err, name)
			}
		}
		return watch
	}
	all := open(&controllerv1.WatchMachinesRequest{}, "db", "runner", "web")
	live := open(&controllerv1.WatchMachinesRequest{Name: "db", Names: []string{"web"}, Health: true, View: controllerv1.MachineView_MACHINE_VIEW_LIVE}, "db", "web")
	w.server.Reported("runner") // which nobody asked for
	w.server.Reported("web")
	seen, err := live.Recv()
	if m := seen.GetMachine(); err != nil || m.GetName() != "web" || m.GetStatus().GetHealth().GetCpuPercent() != 12.5 || !m.GetStatus().GetLink().GetConnected() || m.GetCreateTime() != nil {
		t.Errorf("%v, %v", seen, err)
	}
	w.server.Touch("db")
	for _, watch := range []grpc.ServerStreamingClient[controllerv1.WatchMachinesResponse]{all, live} {
		if seen, err := watch.Recv(); err != nil || seen.GetMachine().GetName() != "db" {
			t.Errorf("%v, %v: mere reports go to those alone who want them", seen, err)
		}
	}
}
