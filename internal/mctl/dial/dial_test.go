package dial

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"mctl/internal/fault"
	"mctl/internal/mctl/profile"
	"mctl/internal/mctl/state"
	controllerv1 "mctl/proto/mctl/controller/v1"
)

func noFailure() error { return nil }

func TestStatusesBecomeFaultsWithTheControllersWords(t *testing.T) {
	explained, err := status.New(codes.FailedPrecondition, "no systemd").WithDetails(
		&errdetails.ErrorInfo{Reason: fault.ReasonPrecheck, Metadata: map[string]string{"subject": "web", "kind": "denied"}},
		&errdetails.Help{Links: []*errdetails.Help_Link{{Description: "use another host"}}},
	)
	if err != nil {
		t.Fatal(err)
	}
	unavailable, err := status.New(codes.Unavailable, "the cloud is away").WithDetails(&errdetails.ErrorInfo{Reason: "SOMETHING"})
	if err != nil {
		t.Fatal(err)
	}
	faults := translator{where: "the controller of /s", lost: noFailure}
	for name, c := range map[string]struct {
		err                 error
		kind                fault.Kind
		text, hint, subject string
		reason              string
	}{
		"with details":          {explained.Err(), fault.Denied, "no systemd", "use another host", "web", fault.ReasonPrecheck},
		"unavailable, told":     {unavailable.Err(), fault.Unavailable, "the cloud is away", "", "", ""},
		"a broken connection":   {status.Error(codes.Unavailable, "transport is closing"), fault.Unavailable, "the connection to the controller of /s broke", "see `mctl controller logs`, or try again", "", ""},
		"no answer":             {status.Error(codes.DeadlineExceeded, "x"), fault.Unavailable, "the controller of /s did not answer in time", "see `mctl controller logs`, or try again", "", ""},
		"a refused certificate": {status.Error(codes.Unavailable, `connection error: remote error: tls: "bad certificate"`), fault.Denied, "the controller of /s refuses this client's certificate: bad certificate", "ask for a new invitation and make the context anew", "", ""},
		"an older controller":   {status.Error(codes.Unimplemented, "unknown method"), fault.Precondition, "the controller is older than this mctl and does not know this command", "upgrade the controller", "", ""},
		"no text":               {status.Error(codes.Internal, "grpc: error: string field contains invalid UTF-8"), fault.Invalid, "a name or value is no valid UTF-8 text", "", "", fault.ReasonUsage},
	} {
		got := faults.fault("method", c.err)
		if !fault.Is(got, c.kind) || got.Error() != c.text || fault.HintOf(got) != c.hint || fault.SubjectOf(got) != c.subject || fault.ReasonOf(got) != c.reason {
			t.Errorf("%s: %q, kind %s, hint %q, subject %q, reason %q", name, got, fault.KindOf(got), fault.HintOf(got), fault.SubjectOf(got), fault.ReasonOf(got))
		}
	}
	for _, same := range []error{nil, io.EOF, errors.New("foreign")} {
		if got := faults.fault("method", same); !errors.Is(got, same) {
			t.Errorf("%v became %v", same, got)
		}
	}
	if got := faults.fault("method", status.Error(codes.Canceled, "x")); !errors.Is(got, context.Canceled) {
		t.Errorf("an end by the caller is %v", got)
	}
	if got := faults.fault("method", status.Error(codes.DeadlineExceeded, "x")); !errors.Is(got, context.DeadlineExceeded) {
		t.Errorf("a limit that passed is %v", got)
	}
}

func TestEveryCodeIsAKind(t *testing.T) {
	for code, want := range map[codes.Code]fault.Kind{
		codes.InvalidArgument: fault.Invalid, codes.NotFound: fault.NotFound, codes.AlreadyExists: fault.Exists, codes.Aborted: fault.Conflict,
		codes.PermissionDenied: fault.Denied, codes.Unauthenticated: fault.Unauthenticated, codes.ResourceExhausted: fault.Quota,
		codes.FailedPrecondition: fault.Precondition, codes.OutOfRange: fault.Resync, codes.Unavailable: fault.Unavailable,
		codes.DeadlineExceeded: fault.Unavailable, codes.DataLoss: fault.Internal, codes.Unknown: fault.Internal,
	} {
		if got := kindOf(code); got != want {
			t.Errorf("%s is %s, want %s", code, got, want)
		}
	}
}

func TestWhyThereIsNoConnectionIsTold(t *testing.T) {
	why := fault.New("dial", fault.Precondition, "", "the store is corrupt").WithHint("restore a copy")
	faults := translator{where: "the controller", lost: func() error { return why }}
	for _, code := range []codes.Code{codes.Unavailable, codes.DeadlineExceeded} {
		if got := faults.fault("method", status.Error(code, "x")); !errors.Is(got, why) {
			t.Errorf("%s: %v", code, got)
		}
	}
}

func TestCallsOutlastAControllerThatTakesConnectionsWhileItDies(t *testing.T) {
	listener, err := net.Listen("unix", filepath.Join(t.TempDir(), "socket"))
	if err != nil {
		t.Fatal(err)
	}
	server := grpc.NewServer()
	controllerv1.RegisterSystemServiceServer(server, system{build: "well"})
	go func() { _ = server.Serve(listener) }()
	defer server.Stop()
	dying := func() net.Conn {
		ours, theirs := net.Pipe()
		_ = theirs.Close()
		return ours
	}
	died := time.Now().Add(200 * time.Millisecond)
	client, err := newClient(dying(), func(ctx context.Context) (net.Conn, error) {
		if time.Now().Before(died) {
			return dying(), nil
		}
		return new(net.Dialer).DialContext(ctx, "unix", listener.Addr().String())
	}, false, "the controller")
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	if info, err := client.System.GetInfo(t.Context(), &controllerv1.GetInfoRequest{}); err != nil || info.GetBuild() != "well" {
		t.Errorf("%v, %v", info, err)
	}
}

func TestControllerThatIsFrozenIsToldSoon(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		frozen := func() net.Conn {
			ours, theirs := net.Pipe()
			go func() { _, _ = io.Copy(io.Discard, theirs) }() // as the kernel takes it
			return ours
		}
		client, err := newClient(frozen(), func(context.Context) (net.Conn, error) { return frozen(), nil }, false, "the controller")
		if err != nil {
			t.Fatal(err)
		}
		began := time.Now()
		_, err = client.System.GetInfo(t.Context(), &controllerv1.GetInfoRequest{})
		if err == nil || err.Error() != "the controller does not answer" || fault.HintOf(err) == "" || time.Since(began) > 10*time.Second {
			t.Errorf("%v after %v", err, time.Since(began))
		}
		_ = client.Close()
		synctest.Wait()
	})
}

func TestControllerThatCannotComeBackIsToldAtOnce(t *testing.T) {
	l := newLocal(t, "well")
	client, err := l.Dial(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	if _, err := client.System.GetInfo(t.Context(), &controllerv1.GetInfoRequest{}); err != nil {
		t.Fatal(err)
	}
	l.behave(t, "refuse")
	if err := l.Stop(t.Context()); err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	_, err = client.System.GetInfo(t.Context(), &controllerv1.GetInfoRequest{})
	if err == nil || err.Error() != "the store is corrupt" || fault.HintOf(err) != "restore a copy" || time.Since(began) > 20*time.Second {
		t.Errorf("%v after %v", err, time.Since(began))
	}
}

// where is a way with an environment of its own.
func where(root string, variables map[string]string) Local {
	return Local{Dir: state.Dir{Root: root}, Lookup: func(name string) (string, bool) { value, ok := variables[name]; return value, ok }}
}

func TestSocketIsShortWhateverTheStateDirectoryIs(t *testing.T) {
	short := t.TempDir()
	if len(short) > 60 {
		short = "/tmp"
	}
	long := "/" + strings.Repeat("very-long-name/", 20)
	for name, runtime := range map[string]string{"a session's": short, "none": "", "too long": long, "relative": "run"} {
		socket := where(long, map[string]string{"XDG_RUNTIME_DIR": runtime}).Socket()
		if len(socket) > maxSocketPath || !filepath.IsAbs(socket) || !strings.HasSuffix(socket, ".sock") {
			t.Errorf("%s: %s", name, socket)
		}
	}
	a, b := where("/a", nil).Socket(), where("/b", nil).Socket()
	if a == b || a != where("/a", nil).Socket() {
		t.Errorf("%s and %s", a, b)
	}
}

func TestLinkToTheStateDirectoryIsTheSameOne(t *testing.T) {
	dir := t.TempDir()
	link := filepath.Join(t.TempDir(), "link")
	if err := os.Symlink(dir, link); err != nil {
		t.Fatal(err)
	}
	if a, b := where(dir, nil).Socket(), where(link, nil).Socket(); a != b {
		t.Errorf("%s and %s", a, b)
	}
}

func TestControllerIsFoundFromASessionWithAnotherRuntimeDirectory(t *testing.T) {
	l := newLocal(t, "well")
	client, err := l.Dial(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	client.Close()
	elsewhere := l
	runtime, err := os.MkdirTemp("", "x")
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(runtime)
	told := l.Lookup
	elsewhere.Lookup = func(name string) (string, bool) {
		if name == "XDG_RUNTIME_DIR" {
			return runtime, true
		}
		return told(name)
	}
	client, err = elsewhere.Dial(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	client.Close()
	if n := len(l.starts(t)); n != 1 {
		t.Errorf("%d controllers were started", n)
	}
}

func TestNobodyElseAnswersInTheControllersPlace(t *testing.T) {
	for name, prepare := range map[string]func(dir string) error{
		"others may open the directory": func(dir string) error {
			if err := os.Mkdir(dir, 0o777); err != nil {
				return err
			}
			return os.Chmod(dir, 0o777)
		},
		"a link in its place": func(dir string) error { return os.Symlink(os.TempDir(), dir) },
		"a file in its place": func(dir string) error { return os.WriteFile(dir, nil, 0o600) },
	} {
		l := newLocal(t, "well")
		if err := prepare(filepath.Dir(l.Socket())); err != nil {
			t.Fatal(err)
		}
		_, err := l.Dial(t.Context())
		if !fault.Is(err, fault.Precondition) || !strings.Contains(err.Error(), "can't be trusted") || fault.HintOf(err) == "" {
			t.Errorf("%s: %v", name, err)
		}
		_ = os.RemoveAll(filepath.Dir(l.Socket()))
	}
	if os.Getuid() == 0 {
		l := newLocal(t, "well")
		dir := filepath.Dir(l.Socket())
		if err := os.Mkdir(dir, 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.Chown(dir, 65534, 65534); err != nil {
			t.Fatal(err)
		}
		if _, err := l.Dial(t.Context()); !fault.Is(err, fault.Precondition) {
			t.Errorf("another user's directory: %v", err)
		}
	}
}

func TestNotedPlaceThatIsAnothersStandsInNobodysWay(t *testing.T) {
	l := newLocal(t, "well")
	theirs := filepath.Join(t.TempDir(), "theirs")
	if err := errors.Join(os.Mkdir(theirs, 0o700), os.Chmod(theirs, 0o755), l.Dir.MakeOwn()); err != nil {
		t.Fatal(err)
	}
	socket := filepath.Join(theirs, "x.sock")
	if err := errors.Join(os.WriteFile(socket, nil, 0o600), os.WriteFile(l.noted(), []byte(socket), 0o600)); err != nil {
		t.Fatal(err)
	}
	client, err := l.Dial(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	client.Close()
}

func TestSocketThatNobodyListensAtIsNobody(t *testing.T) {
	l := newLocal(t, "well")
	if err := makeSocketDir(filepath.Dir(l.Socket())); err != nil {
		t.Fatal(err)
	}
	listener, err := net.Listen("unix", l.Socket())
	if err != nil {
		t.Fatal(err)
	}
	listener.(*net.UnixListener).SetUnlinkOnClose(false)
	listener.Close()
	if _, err := l.DialRunning(t.Context()); !fault.Is(err, fault.NotFound) {
		t.Errorf("%v", err)
	}
}

func TestProgramIsTheNamedOneElseInPath(t *testing.T) {
	if path, err := where("/s", map[string]string{"MCTL_CONTROLLER_BIN": "/x/controller"}).program(); err != nil || path != "/x/controller" {
		t.Errorf("%s, %v", path, err)
	}
	bin := t.TempDir()
	t.Setenv("PATH", bin)
	if _, err := where("/s", nil).program(); !fault.Is(err, fault.Precondition) || fault.HintOf(err) == "" {
		t.Errorf("none: %v", err)
	}
	if err := os.WriteFile(filepath.Join(bin, "controller"), []byte("#!/bin/sh\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	if path, err := where("/s", nil).program(); err != nil || path != filepath.Join(bin, "controller") {
		t.Errorf("%s, %v", path, err)
	}
}

func TestFarControllerThatIsNotThereIsToldWithItsAddress(t *testing.T) {
	profiles := profile.Store{Dir: state.Dir{Root: t.TempDir()}}
	if _, err := Remote(t.Context(), profiles, profile.Profile{Name: "team", Endpoint: "127.0.0.1:1"}, time.Now); !fault.Is(err, fault.Precondition) {
		t.Errorf("without a key: %v", err)
	}
	_, err := dialTLS(t.Context(), "127.0.0.1:1", &tls.Config{MinVersion: tls.VersionTLS13})
	if !fault.Is(err, fault.Unavailable) || !strings.Contains(err.Error(), "127.0.0.1:1") || fault.HintOf(err) == "" {
		t.Errorf("%v", err)
	}
}
