package sshlink

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"net"
	"strconv"
	"strings"

	"mctl/internal/controller/bootstrap/login"
	"mctl/internal/fault"
)

// socketDir is made by the agent, and belongs to the user that we log in as.
const socketDir = "/run/mctl-link/"

// portCommand leaves the loopback port that it reads from standard input where the agent looks for it.
const portCommand = `sh -c 'umask 077; cat >` + socketDir + `port.new && mv -f ` + socketDir + `port.new ` + socketDir + `port'`

// socket is where agents connect on the host.
type socket struct {
	net.Listener
	where string
}

// open has the host listen for its agent: at a socket with a fresh name, since sshd removes no old ones and a dead sshd may
// hold one for hours; at a loopback port where it forwards no unix sockets.
func open(ctx context.Context, c *login.Connection) (socket, error) {
	random := make([]byte, 8)
	_, _ = rand.Read(random) // documented never to fail
	path := socketDir + hex.EncodeToString(random) + ".sock"
	listener, refused := c.ListenUnix(path)
	if refused == nil {
		return socket{listener, path}, nil
	}
	if !fault.Is(refused, fault.Precondition) {
		return socket{}, refused
	}
	listener, port, err := c.ListenLoopback()
	if err != nil {
		return socket{}, err
	}
	text := strconv.Itoa(int(port))
	out, err := c.Run(ctx, commandLimit, portCommand, strings.NewReader(text+"\n"), nil)
	if err == nil && out.Status != 0 {
		err = fault.E("sshlink.open", fault.Unavailable, c.Machine, fmt.Errorf("the agent on %s is not ready for the SSH connection: %s", c.Address, out.Complaint())).
			WithHint("see `journalctl -u mctl-agent` on the host")
	}
	if err != nil {
		listener.Close()
		return socket{}, err
	}
	return socket{listener, "127.0.0.1:" + text}, nil
}
