package sshtest

import (
	"fmt"
	"io"

	"golang.org/x/crypto/ssh"
)

// loopbackPort is what a pretended host says when it is asked for a free port.
const loopbackPort = 40001

// forward is what a client listens at.
type forward struct {
	server *ssh.ServerConn
	port   bool
}

// Forwards is where clients listen by now, sockets by their paths and ports as "127.0.0.1:PORT".
func (h *Host) Forwards() []string {
	h.mu.Lock()
	defer h.mu.Unlock()
	var all []string
	for where := range h.forwards {
		all = append(all, where)
	}
	return all
}

// ConnectTo connects to where a client listens, as a program on the host does.
func (h *Host) ConnectTo(where string) (io.ReadWriteCloser, error) {
	h.mu.Lock()
	f, ok := h.forwards[where]
	h.mu.Unlock()
	if !ok {
		return nil, fmt.Errorf("nobody listens at %s", where)
	}
	kind, payload := "forwarded-streamlocal@openssh.com", ssh.Marshal(struct{ Path, Reserved string }{where, ""})
	if f.port {
		kind, payload = "forwarded-tcpip", ssh.Marshal(struct {
			Address       string
			Port          uint32
			Origin        string
			OriginatePort uint32
		}{"127.0.0.1", loopbackPort, "127.0.0.1", 40002})
	}
	channel, requests, err := f.server.OpenChannel(kind, payload)
	if err != nil {
		return nil, err
	}
	h.workers.Go(func() { ssh.DiscardRequests(requests) })
	return channel, nil
}

// global answers what a client asks of the whole connection.
func (h *Host) global(server *ssh.ServerConn, requests <-chan *ssh.Request) {
	for request := range requests {
		switch request.Type {
		case "streamlocal-forward@openssh.com":
			var asked struct{ Path string }
			granted := !h.NoSockets && ssh.Unmarshal(request.Payload, &asked) == nil
			if granted {
				h.listen(asked.Path, forward{server: server})
			}
			_ = request.Reply(granted, nil)
		case "tcpip-forward":
			if granted := !h.NoPorts; granted {
				h.listen(fmt.Sprintf("127.0.0.1:%d", loopbackPort), forward{server: server, port: true})
			}
			_ = request.Reply(!h.NoPorts, ssh.Marshal(struct{ Port uint32 }{loopbackPort}))
		default:
			_ = request.Reply(request.Type == "keepalive@openssh.com" || request.Type == "cancel-streamlocal-forward@openssh.com", nil)
		}
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	for where, f := range h.forwards {
		if f.server == server {
			delete(h.forwards, where)
		}
	}
}

func (h *Host) listen(where string, f forward) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.forwards[where] = f
}
