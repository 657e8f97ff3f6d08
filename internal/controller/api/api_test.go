package api

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"os"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/hashicorp/go-hclog"
	"go.uber.org/goleak"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/peer"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/emptypb"

	"mctl/internal/buildinfo"
	"mctl/internal/controller/driver"
	"mctl/internal/controller/event"
	machines "mctl/internal/controller/machine"
	"mctl/internal/fault"
	"mctl/internal/host"
	agentv1 "mctl/proto/mctl/agent/v1"
	controllerv1 "mctl/proto/mctl/controller/v1"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// methods lists every registered method.
func methods(t *testing.T, s *Server) map[string]grpc.MethodInfo {
	t.Helper()
	server, stop := s.build(insecure.NewCredentials())
	defer stop()
	found := map[string]grpc.MethodInfo{}
	for service, info := range server.GetServiceInfo() {
		for _, m := range info.Methods {
			found["/"+service+"/"+m.Name] = m
		}
	}
	return found
}

func TestEveryMethodHasARowAndEveryRowAMethod(t *testing.T) {
	w := newWorld(t)
	found := methods(t, w.server)
	for method := range found {
		if access[method] == 0 {
			t.Errorf("%s has no row in the access table: nobody can call it", method)
		}
	}
	for method := range access {
		if _, ok := found[method]; !ok {
			t.Errorf("the access table has a row for %s, which is not served", method)
		}
	}
}

// call invokes a method with an empty message and returns the code that comes back first.
func call(t *testing.T, conn *grpc.ClientConn, method string, info grpc.MethodInfo) codes.Code {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
	defer cancel()
	if !info.IsClientStream && !info.IsServerStream {
		return status.Code(conn.Invoke(ctx, method, &emptypb.Empty{}, &emptypb.Empty{}))
	}
	stream, err := conn.NewStream(ctx, &grpc.StreamDesc{ClientStreams: true, ServerStreams: true}, method)
	if err != nil {
		return status.Code(err)
	}
	_ = stream.SendMsg(&emptypb.Empty{})
	_ = stream.CloseSend()
	err = stream.RecvMsg(&emptypb.Empty{})
	if errors.Is(err, io.EOF) {
		return codes.OK
	}
	return status.Code(err)
}

func TestEveryIdentityAgainstEveryMethod(t *testing.T) {
	w := newWorld(t)
	agent := w.enrolled("machine:1")
	user := w.enrolled("user:alice")
	revoked := w.enrolled("user:bob")
	if err := w.ca.Revoke(t.Context(), "user:bob"); err != nil {
		t.Fatal(err)
	}
	identities := map[string]struct {
		conn *grpc.ClientConn
		may  []caller
	}{
		"unix socket":    {w.local(), []caller{anyone, operator, local}},
		"user":           {w.remote(user), []caller{anyone, operator, renewer}},
		"agent":          {w.remote(agent), []caller{anyone, machine, renewer}},
		"docker client":  {w.remote(w.dockerClient()), []caller{anyone}},
		"revoked user":   {w.remote(revoked), []caller{anyone}},
		"no certificate": {w.remote(nil), []caller{anyone}},
	}
	for name, id := range identities {
		for method, info := range methods(t, w.server) {
			allowed := false
			for _, c := range id.may {
				allowed = allowed || access[method] == c
			}
			if code := call(t, id.conn, method, info); (code == codes.PermissionDenied) == allowed {
				t.Errorf("%s calls %s: %s, allowed %v", name, method, code, allowed)
			}
		}
	}
	w.set(w.now().Add(200 * 24 * time.Hour)) // the agent's certificate lasts 90 days
	expired := w.remote(agent)
	for method, info := range methods(t, w.server) {
		code := call(t, expired, method, info)
		if allowed := access[method] == anyone || access[method] == renewer; (code == codes.PermissionDenied) == allowed {
			t.Errorf("an expired agent calls %s: %s", method, code)
		}
	}
}

func TestAStrangerOnTheSocketIsRefused(t *testing.T) {
	w := newWorld(t)
	for uid, allowed := range map[uint32]bool{0: true, uint32(os.Getuid()): true, uint32(os.Getuid()) + 1: false, 65534: false} {
		ctx := peer.NewContext(t.Context(), &peer.Peer{AuthInfo: PeerCredentials{UID: uid}})
		if _, err := w.server.authorize(ctx, controllerv1.SystemService_GetInfo_FullMethodName); (err == nil) != allowed {
			t.Errorf("user %d: %v", uid, err)
		}
	}
	for name, p := range map[string]*peer.Peer{"no credentials": {}, "plain TCP": {AuthInfo: insecureInfo{}}} {
		if _, err := w.server.authorize(peer.NewContext(t.Context(), p), agentv1.EnrollmentService_Enroll_FullMethodName); !fault.Is(err, fault.Denied) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if permitted(local, identity{subject: "user:alice"}) || permitted(operator, identity{subject: "machine:1"}) || permitted(0, identity{local: true, subject: "user:local"}) {
		t.Error("permitted")
	}
}

// insecureInfo is what gRPC tells of a connection that nobody has secured.
type insecureInfo struct{ credentials.CommonAuthInfo }

func (insecureInfo) AuthType() string { return "insecure" }

func TestAnAgentIsJudgedOnceMoreInTheMiddleOfAStream(t *testing.T) {
	w := newWorld(t)
	certificate := w.enrolled("machine:1")
	leaf, err := x509.ParseCertificate(certificate.Certificate[0])
	if err != nil {
		t.Fatal(err)
	}
	ctx, err := w.server.authorize(peer.NewContext(t.Context(), &peer.Peer{
		AuthInfo: credentials.TLSInfo{State: tls.ConnectionState{PeerCertificates: []*x509.Certificate{leaf}}},
	}), agentv1.LinkService_Connect_FullMethodName)
	if err != nil {
		t.Fatal(err)
	}
	if uid, err := w.server.MachineUID(ctx); err != nil || uid != "1" {
		t.Fatalf("%q, %v", uid, err)
	}
	if err := w.ca.Revoke(t.Context(), "machine:1"); err != nil {
		t.Fatal(err)
	}
	if _, err := w.server.MachineUID(ctx); !fault.Is(err, fault.Denied) {
		t.Errorf("after its machine was removed: %v", err)
	}
	if _, err := w.server.MachineUID(t.Context()); !fault.Is(err, fault.Denied) {
		t.Errorf("nobody: %v", err)
	}
}

func TestFaultsBecomeStatusWithReasonAndHint(t *testing.T) {
	for kind, code := range codesOf {
		err := statusOf(fault.New("op", kind, "web", "it went wrong").WithHint("do this"))
		s := status.Convert(err)
		if s.Code() != code || s.Message() != "it went wrong" {
			t.Errorf("%s: %v", kind, err)
		}
		var reason, hint string
		for _, detail := range s.Details() {
			switch d := detail.(type) {
			case *errdetails.ErrorInfo:
				reason = d.GetReason()
			case *errdetails.Help:
				hint = d.GetLinks()[0].GetDescription()
			}
		}
		if reason != strings.ToUpper(string(kind)) || hint != "do this" {
			t.Errorf("%s: reason %q, hint %q", kind, reason, hint)
		}
	}
	if s := status.Convert(statusOf(fault.New("op", "OK", "", "an unknown kind"))); s.Code() != codes.Internal {
		t.Errorf("a kind that is none of ours: %v", s)
	}
	long := status.Convert(statusOf(fault.New("op", fault.NotFound, strings.Repeat("s", 1<<20), strings.Repeat("\xff", 1<<20)).WithHint(strings.Repeat("h", 1<<20))))
	if size := proto.Size(long.Proto()); size > 20_000 || len(long.Details()) != 2 || !utf8.ValidString(long.Message()) {
		t.Errorf("a long text becomes %d bytes with %d details", size, len(long.Details()))
	}
	if s := status.Convert(statusOf(errors.New("secret inner text"))); s.Code() != codes.Internal || strings.Contains(s.Message(), "secret") {
		t.Errorf("an error that is no fault: %v", s)
	}
}

func TestAMachineFromCreateToDeleteThroughTheAPI(t *testing.T) {
	w := newWorld(t)
	client := controllerv1.NewMachineServiceClient(w.local())
	spec := &controllerv1.MachineSpec{Driver: "pretend", DriverOptions: []*controllerv1.DriverOption{{Name: "pretend-token", Content: []byte("hunter2")}}}
	watch, err := client.WatchMachines(t.Context(), &controllerv1.WatchMachinesRequest{})
	if err != nil {
		t.Fatal(err)
	}
	if first, err := watch.Recv(); err != nil || first.GetType() != controllerv1.WatchMachinesResponse_TYPE_SYNCED {
		t.Fatalf("an empty picture: %v, %v", first, err)
	}
	made, err := client.CreateMachine(t.Context(), &controllerv1.CreateMachineRequest{RequestId: "r1", Name: "web", Spec: spec})
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(made.String(), "hunter2") {
		t.Error("a secret comes back")
	}
	if seen, err := watch.Recv(); err != nil || seen.GetMachine().GetName() != "web" || seen.GetType() != controllerv1.WatchMachinesResponse_TYPE_CHANGED {
		t.Fatalf("the watch: %v, %v", seen, err)
	}
	w.step("web")
	waited, err := client.WaitMachine(t.Context(), &controllerv1.WaitMachineRequest{Name: "web"})
	if err != nil || waited.GetMachine().GetStatus().GetState() != "Running" || waited.GetMachine().GetStatus().GetUrl() != "tcp://192.0.2.7:2376" {
		t.Fatalf("%v, %v", waited, err)
	}
	w.server.Touch("web")
	for {
		seen, err := watch.Recv()
		if err != nil {
			t.Fatal(err)
		}
		if seen.GetResourceVersion() == "" { // a live change, not the record's
			break
		}
	}
	if _, err := client.StopMachine(t.Context(), &controllerv1.StopMachineRequest{Name: "web", ResourceVersion: "1"}); status.Code(err) != codes.Aborted {
		t.Errorf("an old version: %v", err)
	}
	stopped, err := client.StopMachine(t.Context(), &controllerv1.StopMachineRequest{Name: "web"})
	if err != nil || stopped.GetMachine().GetGeneration() != 2 {
		t.Fatalf("%v, %v", stopped, err)
	}
	w.step("web")
	if _, err := client.DeleteMachine(t.Context(), &controllerv1.DeleteMachineRequest{Name: "web"}); err != nil {
		t.Fatal(err)
	}
	w.step("web")
	if gone, err := client.WaitMachine(t.Context(), &controllerv1.WaitMachineRequest{Name: "web", Deleted: true}); err != nil || gone.GetMachine() != nil {
		t.Errorf("%v, %v", gone, err)
	}
	if _, err := client.GetMachine(t.Context(), &controllerv1.GetMachineRequest{Name: "web"}); status.Code(err) != codes.NotFound {
		t.Errorf("%v", err)
	}
}

func TestBadRequestsAreRefusedWithAReason(t *testing.T) {
	w := newWorld(t)
	client := controllerv1.NewMachineServiceClient(w.local())
	long := strings.Repeat("x", 5000)
	for name, c := range map[string]struct {
		request *controllerv1.CreateMachineRequest
		code    codes.Code
		reason  string
	}{
		"bad name":         {&controllerv1.CreateMachineRequest{Name: "../etc", Spec: &controllerv1.MachineSpec{Driver: "pretend"}}, codes.InvalidArgument, "INVALID"},
		"unknown driver":   {&controllerv1.CreateMachineRequest{Name: "web", Spec: &controllerv1.MachineSpec{Driver: "x"}}, codes.NotFound, "USAGE"},
		"no spec":          {&controllerv1.CreateMachineRequest{Name: "web"}, codes.NotFound, "USAGE"},
		"pre-check":        {&controllerv1.CreateMachineRequest{Name: "refused", Spec: &controllerv1.MachineSpec{Driver: "pretend"}}, codes.PermissionDenied, "PRECHECK"},
		"newline in label": {&controllerv1.CreateMachineRequest{Name: "web", Spec: &controllerv1.MachineSpec{Driver: "pretend", Engine: &controllerv1.EngineSpec{Labels: []string{"a\nb"}}}}, codes.InvalidArgument, "USAGE"},
		"long label":       {&controllerv1.CreateMachineRequest{Name: "web", Spec: &controllerv1.MachineSpec{Driver: "pretend", Engine: &controllerv1.EngineSpec{Labels: []string{long}}}}, codes.InvalidArgument, "USAGE"},
		"unknown install":  {&controllerv1.CreateMachineRequest{Name: "web", Spec: &controllerv1.MachineSpec{Driver: "pretend", Engine: &controllerv1.EngineSpec{Install: 99}}}, codes.InvalidArgument, "USAGE"},
		"no port":          {&controllerv1.CreateMachineRequest{Name: "web", Spec: &controllerv1.MachineSpec{Driver: "pretend", Engine: &controllerv1.EngineSpec{Port: 70000}}}, codes.InvalidArgument, "USAGE"},
		"long request id":  {&controllerv1.CreateMachineRequest{RequestId: long, Name: "web"}, codes.InvalidArgument, "INVALID"},
		"option twice":     {&controllerv1.CreateMachineRequest{Name: "web", Spec: &controllerv1.MachineSpec{Driver: "pretend", DriverOptions: []*controllerv1.DriverOption{{Name: "pretend-size", Values: []string{"1"}}, {Name: "pretend-size", Values: []string{"2"}}}}}, codes.InvalidArgument, "USAGE"},
	} {
		_, err := client.CreateMachine(t.Context(), c.request)
		reason := ""
		for _, detail := range status.Convert(err).Details() {
			if info, ok := detail.(*errdetails.ErrorInfo); ok {
				reason = info.GetReason()
			}
		}
		if status.Code(err) != c.code || reason != c.reason {
			t.Errorf("%s: %v, reason %q", name, err, reason)
		}
	}
	if names, err := w.service.Names(t.Context()); err != nil || len(names) != 0 {
		t.Errorf("stored: %v, %v", names, err)
	}
}

func TestPagesGoOnWhereTheLastOneEnded(t *testing.T) {
	w := newWorld(t)
	client := controllerv1.NewMachineServiceClient(w.local())
	for _, name := range []string{"n10", "n2", "n1", "a", "b"} {
		if _, err := client.CreateMachine(t.Context(), &controllerv1.CreateMachineRequest{Name: name, Spec: &controllerv1.MachineSpec{Driver: "pretend"}}); err != nil {
			t.Fatal(err)
		}
	}
	var names []string
	token := ""
	for {
		page, err := client.ListMachines(t.Context(), &controllerv1.ListMachinesRequest{PageSize: 2, PageToken: token})
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range page.GetMachines() {
			names = append(names, m.GetName())
		}
		if token = page.GetNextPageToken(); token == "" {
			break
		}
	}
	if got := strings.Join(names, " "); got != "a b n1 n2 n10" {
		t.Errorf("got %s", got)
	}
}

func TestEventsAreFilteredAndFollowed(t *testing.T) {
	w := newWorld(t)
	client := controllerv1.NewEventServiceClient(w.local())
	w.journal.Emit(event.Event{Machine: "web", Type: "A", Time: w.now()})
	w.journal.Emit(event.Event{Machine: "db", Type: "A", Time: w.now()})
	stream, err := client.WatchEvents(t.Context(), &controllerv1.WatchEventsRequest{Machine: "web", Types: []string{"A", "B"}, Follow: true})
	if err != nil {
		t.Fatal(err)
	}
	if first, err := stream.Recv(); err != nil || first.GetEvent().GetMachine() != "web" {
		t.Fatalf("%v, %v", first, err)
	}
	w.journal.Emit(event.Event{Machine: "web", Type: "C", Time: w.now()})
	w.journal.Emit(event.Event{Machine: "web", Type: "B", Time: w.now()})
	if next, err := stream.Recv(); err != nil || next.GetEvent().GetType() != "B" {
		t.Fatalf("%v, %v", next, err)
	}
}

func TestAVersionTooFarAwayIsRefused(t *testing.T) {
	w := newWorld(t, func(c *Config) { c.Info.Version = "v1.5.0" })
	drivers, system := controllerv1.NewDriverServiceClient(w.local()), controllerv1.NewSystemServiceClient(w.local())
	for version, upgrade := range map[string]string{
		"v1.5.9": "", "v1.4.0": "", "v1.6.0": "", "dev": "", "v1.3.9": "upgrade the caller", "v1.7.0": "upgrade the controller", "v2.0.0": "upgrade the controller",
	} {
		ctx := metadata.AppendToOutgoingContext(t.Context(), buildinfo.Header, version)
		_, err := drivers.ListDrivers(ctx, &controllerv1.ListDriversRequest{})
		if upgrade == "" && err != nil || upgrade != "" && (status.Code(err) != codes.FailedPrecondition || !strings.HasSuffix(status.Convert(err).Message(), upgrade)) {
			t.Errorf("%s: %v", version, err)
		}
		stream, err := controllerv1.NewEventServiceClient(w.local()).WatchEvents(ctx, &controllerv1.WatchEventsRequest{})
		if err == nil {
			_, err = stream.Recv()
		}
		if refused := status.Code(err) == codes.FailedPrecondition; refused != (upgrade != "") {
			t.Errorf("%s, a stream: %v", version, err)
		}
		// Any version may ask which this is and have it end, so that the one of its build can take over.
		if info, err := system.GetInfo(ctx, &controllerv1.GetInfoRequest{}); err != nil || info.GetVersion() != "v1.5.0" {
			t.Errorf("%s: %v, %v", version, info, err)
		}
		if _, err := system.Shutdown(ctx, &controllerv1.ShutdownRequest{}); err != nil {
			t.Errorf("%s: %v", version, err)
		}
	}
}

func TestShutdownIsForTheSocketAlone(t *testing.T) {
	w := newWorld(t)
	if _, err := controllerv1.NewSystemServiceClient(w.local()).Shutdown(t.Context(), &controllerv1.ShutdownRequest{}); err != nil {
		t.Fatal(err)
	}
	<-w.shutdowns
}

func TestDriverEnumsAreTheSameNumbersOnBothSides(t *testing.T) {
	for mine, theirs := range map[driver.FlagType]controllerv1.DriverFlag_Type{
		driver.String: controllerv1.DriverFlag_TYPE_STRING, driver.Int: controllerv1.DriverFlag_TYPE_INT,
		driver.Bool: controllerv1.DriverFlag_TYPE_BOOL, driver.StringList: controllerv1.DriverFlag_TYPE_STRING_LIST,
	} {
		if int32(mine) != int32(theirs) {
			t.Errorf("type %d is %d", mine, theirs)
		}
	}
	for mine, theirs := range map[driver.FlagKind]controllerv1.DriverFlag_Kind{
		driver.Value: controllerv1.DriverFlag_KIND_VALUE, driver.Secret: controllerv1.DriverFlag_KIND_SECRET, driver.File: controllerv1.DriverFlag_KIND_FILE,
		driver.Credential: controllerv1.DriverFlag_KIND_CREDENTIAL,
	} {
		if int32(mine) != int32(theirs) {
			t.Errorf("kind %d is %d", mine, theirs)
		}
	}
}

func TestAPanicIsAnInternalErrorAndNoEnd(t *testing.T) {
	w := newWorld(t)
	_, err := w.server.unary(context.Background(), nil, &grpc.UnaryServerInfo{FullMethod: "/x"}, func(context.Context, any) (any, error) { panic("secret") })
	if err == nil || strings.Contains(err.Error(), "secret") {
		t.Errorf("got %v", err)
	}
}

func TestABasicViewSaysInEachFieldWhatTheFullOneSays(t *testing.T) {
	w := newWorld(t)
	made, err := w.service.Create(t.Context(), "", "web", machines.Spec{Driver: "pretend", Engine: host.Engine{Labels: []string{"a=b"}}, Port: 4000}, false)
	if err != nil {
		t.Fatal(err)
	}
	made.Status.Addresses, made.Status.Engine.Version = []string{"fd00::1"}, "29.1"
	handler := &machineService{server: w.server}
	full := handler.message(made)
	for _, view := range []controllerv1.MachineView{controllerv1.MachineView_MACHINE_VIEW_BASIC, controllerv1.MachineView_MACHINE_VIEW_LIVE} {
		part := handler.inView(view, made)
		if part.GetStatus().GetUrl() != "tcp://[fd00::1]:4000" {
			t.Errorf("url %q", part.GetStatus().GetUrl())
		}
		// Whatever the view has is the same in the full one: merging it in changes nothing.
		merged := proto.CloneOf(full)
		merged.Spec.Engine.Labels = nil // lists are appended to
		proto.Merge(merged, part)
		if !proto.Equal(merged, full) {
			t.Errorf("%s %v\nfull %v", view, part, full)
		}
	}
}

func TestACallerThatGoesAwayIsNoErrorInTheLog(t *testing.T) {
	var log bytes.Buffer
	s := &Server{config: Config{Logger: hclog.New(&hclog.LoggerOptions{Output: &log}), Now: time.Now}}
	for _, err := range []error{nil, context.Canceled, status.Error(codes.Canceled, "context canceled")} {
		s.log("/a", time.Now(), err)
	}
	if log.Len() > 0 {
		t.Errorf("it was logged: %s", &log)
	}
	s.log("/a", time.Now(), errors.New("ours"))
	if !strings.Contains(log.String(), "[ERROR]") {
		t.Errorf("our own mistake was logged as %q", &log)
	}
}
