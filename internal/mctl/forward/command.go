// Package forward makes what a machine's host serves to itself reachable here, through the host's agent: ports, and Docker
// behind a socket of the caller's own.
package forward

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"mctl/internal/mctl/cli"
	"mctl/internal/mctl/dial"
	"mctl/internal/mctl/tunnel"
	tunnelv1 "mctl/proto/mctl/tunnel/v1"
)

// Commands returns the commands that forward.
func Commands(env *cli.Env) []*cobra.Command {
	var docker bool
	var readyFD int
	command := &cobra.Command{
		Use: "forward NAME [LOCAL:]PORT...", Short: "Forward ports of this computer to ports of a machine's host, through its agent",
		Long: "It listens on 127.0.0.1 and connects to the host's loopback address, until it is interrupted. LOCAL is the port here,\n" +
			"0 for any that is free; without it both ports are the same. The host needs no open port.",
		Example: "mctl forward web 8080:80\nmctl forward web 0:5432 9090\nmctl forward --docker web",
		Args:    cobra.ArbitraryArgs, ValidArgsFunction: cli.CompleteMachine(env),
		RunE: func(command *cobra.Command, args []string) error {
			if docker {
				return serveDocker(command.Context(), env, args, readyFD)
			}
			return forward(command.Context(), env, args)
		},
	}
	flags := command.Flags()
	flags.BoolVar(&docker, "docker", false, "Forward a socket for the docker CLI, as env --via agent does in the background")
	flags.IntVar(&readyFD, "ready-fd", -1, "")
	flags.Lookup("ready-fd").Hidden = true
	return []*cobra.Command{command}
}

// ports is one pair.
type ports struct{ local, remote uint16 }

func parse(text string) (ports, error) {
	local, remote, two := strings.Cut(text, ":")
	if !two {
		remote = local
	}
	l, localErr := strconv.ParseUint(local, 10, 16)
	r, remoteErr := strconv.ParseUint(remote, 10, 16)
	if errors.Join(localErr, remoteErr) != nil || r == 0 {
		return ports{}, cli.Usagef("%q is no pair of ports", text).WithHint("give LOCAL:PORT, such as 8080:80")
	}
	return ports{uint16(l), uint16(r)}, nil
}

// row is a forward as it is told.
type row struct {
	Machine string `json:"machine"`
	Address string `json:"address"`
	Port    uint16 `json:"port"`
}

func forward(ctx context.Context, env *cli.Env, args []string) error {
	if len(args) < 2 {
		return cli.Usagef("Error: Expected a machine name and ports as arguments").WithHint("such as `mctl forward web 8080:80`")
	}
	var pairs []ports
	for _, text := range args[1:] {
		pair, err := parse(text)
		if err != nil {
			return err
		}
		pairs = append(pairs, pair)
	}
	m, err := env.Get(ctx, args[0])
	if err != nil {
		return err
	}
	client, err := env.Client(ctx)
	if err != nil {
		return err
	}
	f := forwarder{env: env, client: client, machine: m.GetName()}
	defer f.group.Wait()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	rows := []row{}
	for _, pair := range pairs {
		listener, err := new(net.ListenConfig).Listen(ctx, "tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(int(pair.local))))
		if err != nil {
			return cli.Failf("can't listen on port %d: %w", pair.local, err).WithHint("take another one, or 0 for any that is free")
		}
		defer listener.Close()
		context.AfterFunc(ctx, func() { _ = listener.Close() })
		rows = append(rows, row{m.GetName(), listener.Addr().String(), pair.remote})
		f.group.Go(func() { f.serve(ctx, listener, pair.remote) })
	}
	for _, r := range rows {
		if env.JSON() {
			if err := env.Stream(r); err != nil {
				return err
			}
			continue
		}
		env.Printf("Forwarding %s to port %d of %s\n", r.Address, r.Port, r.Machine)
	}
	<-ctx.Done()
	return cli.Exit{Code: cli.ExitInterrupted}
}

// forwarder carries connections to one machine.
type forwarder struct {
	env     *cli.Env
	client  *dial.Client
	machine string
	group   sync.WaitGroup
	saying  sync.Mutex
}

// acceptPause is how long a process that has no descriptor left waits for one.
const acceptPause = 100 * time.Millisecond

// serve carries what connects until the listener is closed.
func (f *forwarder) serve(ctx context.Context, listener net.Listener, port uint16) {
	pause := time.NewTicker(acceptPause)
	defer pause.Stop()
	for {
		conn, err := listener.Accept()
		if errors.Is(err, net.ErrClosed) || ctx.Err() != nil {
			return
		}
		if err != nil {
			f.env.Debugf("no connection is taken: %v", err)
			select {
			case <-pause.C:
				continue
			case <-ctx.Done():
				return
			}
		}
		f.group.Go(func() { f.carry(ctx, conn.(*net.TCPConn), port) })
	}
}

// carry carries one connection. One that comes to nothing is told; the next may.
func (f *forwarder) carry(ctx context.Context, here *net.TCPConn, port uint16) {
	unhook := context.AfterFunc(ctx, func() { _ = here.Close() })
	defer unhook()
	there, err := tunnel.Dial(ctx, f.client, f.machine, &tunnelv1.Forward{Port: uint32(port)})
	if err != nil {
		_ = here.SetLinger(0) // a reset, as whom nobody answers gets
		_ = here.Close()
		if ctx.Err() == nil {
			f.saying.Lock()
			defer f.saying.Unlock()
			f.env.Complain(fmt.Errorf("%s: %w", f.machine, err))
		}
		return
	}
	tunnel.Splice(here, there)
}
