// Package hosttest is a pretended host at the other end of tunnels, for tests of the client.
package hosttest

import (
	"errors"
	"fmt"
	"io"
	"net"
	"path/filepath"
	"strings"

	"mctl/internal/fault"
	"mctl/internal/filetree"
	controllerv1 "mctl/proto/mctl/controller/v1"
	tunnelv1 "mctl/proto/mctl/tunnel/v1"
)

// Host is what there is on it.
type Host struct {
	Home   string // where copies go and come from
	Docker uint32 // the port of its engine
	// Run runs a command.
	Run func(exec *tunnelv1.Exec, stdin io.Reader, stdout, stderr io.Writer) (code uint32)
}

// Serve does the work of a tunnel; it can be a controllertest.Controller's Tunnel.
func (h Host) Serve(start *controllerv1.TunnelStart, hear func() (*tunnelv1.Frame, error), say func(*tunnelv1.Frame) error) error {
	opened := func() error { return say(&tunnelv1.Frame{Kind: &tunnelv1.Frame_Opened{Opened: &tunnelv1.Opened{}}}) }
	out := writer(func(p []byte) error { return say(&tunnelv1.Frame{Kind: &tunnelv1.Frame_Data{Data: p}}) })
	complaints := writer(func(p []byte) error { return say(&tunnelv1.Frame{Kind: &tunnelv1.Frame_ErrorData{ErrorData: p}}) })
	exit := func(code uint32) error {
		return say(&tunnelv1.Frame{Kind: &tunnelv1.Frame_Exit{Exit: &tunnelv1.Exit{Code: code}}})
	}
	in := &hearer{hear: hear}
	switch work := start.GetWork(); {
	case work.GetExec() != nil:
		if err := opened(); err != nil {
			return err
		}
		return exit(h.Run(work.GetExec(), in, out, complaints))
	case work.GetCopy() != nil:
		if err := opened(); err != nil {
			return err
		}
		path := filetree.Home(h.Home, work.GetCopy().GetPath())
		err := error(nil)
		if work.GetCopy().GetToHost() {
			err = filetree.Receive(in, path, filetree.Asked{Anything: true})
		} else {
			err = filetree.Send(out, path, work.GetCopy().GetRecursive())
		}
		if err != nil {
			_, _ = fmt.Fprintln(complaints, strings.ReplaceAll(err.Error(), filepath.Dir(h.Home), ""))
			return exit(1)
		}
		return exit(0)
	case work.GetForward() != nil:
		port := work.GetForward().GetPort()
		if work.GetForward().GetDocker() {
			port = h.Docker
		}
		conn, err := net.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", port))
		if err != nil {
			return fault.New("hosttest", fault.Precondition, "", fmt.Sprintf("nobody listens on port %d of the host", port)).WithHint("have somebody listen")
		}
		defer conn.Close()
		if err := opened(); err != nil {
			return err
		}
		go func() {
			if _, err := io.Copy(conn, in); err == nil {
				_ = conn.(*net.TCPConn).CloseWrite()
			} else {
				conn.Close()
			}
		}()
		if _, err := io.Copy(out, conn); err != nil {
			return exit(0)
		}
		return errors.Join(say(&tunnelv1.Frame{Kind: &tunnelv1.Frame_End{End: &tunnelv1.End{}}}), exit(0))
	}
	return fault.New("hosttest", fault.Invalid, "", "no such work").WithHint("have other work")
}

type writer func([]byte) error

// Write implements io.Writer.
func (w writer) Write(p []byte) (int, error) { return len(p), w(p) }

// hearer reads data up to its end.
type hearer struct {
	hear func() (*tunnelv1.Frame, error)
	rest []byte
	over bool
}

// Read implements io.Reader.
func (h *hearer) Read(p []byte) (int, error) {
	for len(h.rest) == 0 {
		if h.over {
			return 0, io.EOF
		}
		frame, err := h.hear()
		if err != nil {
			return 0, err
		}
		h.rest, h.over = frame.GetData(), frame.GetEnd() != nil
	}
	n := copy(p, h.rest)
	h.rest = h.rest[n:]
	return n, nil
}
