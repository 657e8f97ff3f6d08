package tunnel

import (
	"archive/tar"
	"bytes"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"mctl/internal/frame"
	tunnelv1 "mctl/proto/mctl/tunnel/v1"
)

func (w *world) forward(port int) *operator {
	w.t.Helper()
	return w.open(&tunnelv1.Work{What: &tunnelv1.Work_Forward{Forward: &tunnelv1.Forward{Port: uint32(port)}}})
}

// serve takes one connection at the loopback address.
func serve(t *testing.T, handle func(*net.TCPConn)) (port int) {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		if conn, err := listener.Accept(); err == nil {
			defer conn.Close()
			handle(conn.(*net.TCPConn))
		}
	}()
	t.Cleanup(func() { listener.Close(); <-done })
	return listener.Addr().(*net.TCPAddr).Port
}

func TestEachDirectionOfAConnectionEndsByItself(t *testing.T) {
	w := newWorld(t)
	o := w.forward(serve(t, func(conn *net.TCPConn) {
		text, _ := io.ReadAll(conn) // up to the operator's end, and only then
		_, _ = io.WriteString(conn, strings.ToUpper(string(text)))
	}))
	o.data("first, ")
	o.data("then")
	o.end()
	if h := o.listen(nil); !h.opened || h.out != "FIRST, THEN" || !h.ended || h.exit == nil {
		t.Errorf("%+v", h)
	}
	o = w.forward(serve(t, func(conn *net.TCPConn) {
		_, _ = io.WriteString(conn, "all I say")
		_ = conn.CloseWrite()
		if text, err := io.ReadAll(conn); err != nil || string(text) != "and what I hear" {
			t.Errorf("heard %q, %v", text, err)
		}
	}))
	o.listen(func(h heard) bool { return h.ended })
	o.data("and what I hear")
	o.end()
	if h := o.listen(nil); h.exit == nil {
		t.Errorf("%+v", h)
	}
}

func TestAConnectionEndsWithItsOperatorAndWithItsServer(t *testing.T) {
	w := newWorld(t)
	gone := make(chan error, 1)
	o := w.forward(serve(t, func(conn *net.TCPConn) {
		_, _ = io.WriteString(conn, "hello")
		_, err := io.Copy(io.Discard, conn)
		gone <- err
	}))
	o.says("hello")
	o.hangUp()
	if err := <-gone; err != nil { // its end, and no reset
		t.Error(err)
	}
	o = w.forward(serve(t, func(conn *net.TCPConn) {
		_, _ = conn.Read(make([]byte, 1))
		_ = conn.SetLinger(0) // a reset
	}))
	o.data("x")
	if h := o.listen(nil); h.exit == nil || h.ended {
		t.Errorf("after a reset: %+v", h)
	}
}

func TestAPortThatNobodyServesIsOneSentence(t *testing.T) {
	w := newWorld(t)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	port := listener.Addr().(*net.TCPAddr).Port
	listener.Close()
	h := w.forward(port).listen(nil)
	if h.opened || h.failure.GetKind() != "unavailable" || !strings.HasPrefix(h.failure.GetMessage(), "nobody listens on port ") {
		t.Errorf("%+v", h)
	}
}

func (w *world) copying(path string, toHost, recursive bool) *operator {
	w.t.Helper()
	return w.open(&tunnelv1.Work{What: &tunnelv1.Work_Copy{Copy: &tunnelv1.Copy{Path: path, ToHost: toHost, Recursive: recursive}}})
}

func archive(t *testing.T, name, content string) []byte {
	t.Helper()
	var text bytes.Buffer
	w := tar.NewWriter(&text)
	if err := w.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: name, Mode: 0o640, Size: int64(len(content))}); err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(w, content); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return text.Bytes()
}

func TestFilesAreCopiedByTheirUser(t *testing.T) {
	w := newWorld(t)
	o := w.copying("", true, false)
	o.data(string(archive(t, "notes", "text")))
	o.end()
	if h := o.listen(nil); h.exit.GetCode() != 0 || h.err != "" {
		t.Fatalf("%+v", h)
	}
	if text, err := os.ReadFile(filepath.Join(w.home, "notes")); err != nil || string(text) != "text" {
		t.Errorf("%q, %v", text, err)
	}
	h := w.copying("~/notes", false, false).listen(nil)
	r := tar.NewReader(strings.NewReader(h.out))
	header, err := r.Next()
	if err != nil || header.Name != "notes" || header.Mode != 0o640 || h.exit.GetCode() != 0 {
		t.Errorf("%+v, %v, %+v", header, err, h)
	}
}

func TestAHostileCopyIsRefusedInOneSentence(t *testing.T) {
	w := newWorld(t)
	o := w.copying("", true, true)
	o.data(string(archive(t, "../evil", "text")))
	o.end()
	if h := o.listen(nil); h.exit.GetCode() != 1 || h.err != "../evil: a name that leads elsewhere, refused\n" {
		t.Errorf("%+v", h)
	}
	for path, want := range map[string]string{"--recursive": "--recursive: no such file", "none/such": "none/such: no such file", "/": "is a directory"} {
		if h := w.copying(path, false, false).listen(nil); h.exit.GetCode() != 1 || !strings.Contains(h.err, want) {
			t.Errorf("%s: %+v", path, h)
		}
	}
}

func TestACopyWhoseOperatorGoesAwayLeavesNoHalfFile(t *testing.T) {
	w := newWorld(t)
	o := w.copying("", true, false)
	text := archive(t, "half", strings.Repeat("x", 3*frame.MaxData))
	o.data(string(text[:frame.MaxData]))
	eventually(t, "a file that grows", func() bool {
		info, err := os.Stat(filepath.Join(w.home, "half"))
		return err == nil && info.Size() > 0
	})
	o.hangUp()
	eventually(t, "no file", func() bool { _, err := os.Stat(filepath.Join(w.home, "half")); return os.IsNotExist(err) })
}
