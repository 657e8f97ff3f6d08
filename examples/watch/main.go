// Command watch keeps a picture of all machines and prints what changes in it. It shows how automation follows a controller
// without missing anything: take a picture, go on from its version, resume after a broken stream, and begin anew ("resync")
// when the past is gone.
//
//	go run ./examples/watch -socket "$(cat ~/.mctl/mctl/socket)"
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"log"
	"os"
	"os/signal"
	"syscall"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"

	controllerv1 "mctl/proto/mctl/controller/v1"
)

func main() {
	socket := flag.String("socket", "", "the controller's unix socket, as <state>/mctl/socket names it")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, *socket)
	stop()
	if err != nil {
		log.Fatal(err)
	}
}

func run(ctx context.Context, socket string) error {
	// Whoever may open the socket is known by the kernel; over TCP it takes TLS 1.3 and a client certificate.
	conn, err := grpc.NewClient("unix:"+socket, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		return err
	}
	defer conn.Close()
	return follow(ctx, controllerv1.NewMachineServiceClient(conn))
}

// pause is how long to wait before a broken stream is opened again.
const pause = time.Second

// follow watches until ctx ends, over broken streams and restarts of the controller.
func follow(ctx context.Context, machines controllerv1.MachineServiceClient) error {
	p := picture{states: map[string]string{}}
	for {
		err := p.watch(ctx, machines)
		if ctx.Err() != nil {
			return nil //nolint:nilerr // it was to end
		}
		switch status.Code(err) {
		case codes.OutOfRange: // we were too slow, or away for too long
			fmt.Println("resync")
			p.version = ""
			continue
		case codes.PermissionDenied, codes.Unauthenticated, codes.InvalidArgument:
			return err // asking again would not help
		}
		log.Print(err)
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return nil
		}
	}
}

// picture is what is known of the machines.
type picture struct {
	states  map[string]string // by machine
	version string            // up to here nothing was missed; empty for no picture yet
}

// watch goes on from the picture's version until the stream breaks.
func (p *picture) watch(ctx context.Context, machines controllerv1.MachineServiceClient) error {
	stream, err := machines.WatchMachines(ctx, &controllerv1.WatchMachinesRequest{SinceResourceVersion: p.version})
	if err != nil {
		return err
	}
	fresh := map[string]bool{} // the machines of a new picture
	for {
		change, err := stream.Recv()
		if err != nil {
			return err
		}
		name, state := change.GetMachine().GetName(), change.GetMachine().GetStatus().GetState()
		switch change.GetType() {
		case controllerv1.WatchMachinesResponse_TYPE_SNAPSHOT:
			fresh[name] = true
			p.set(name, state)
			continue // the version counts once the picture is complete
		case controllerv1.WatchMachinesResponse_TYPE_SYNCED:
			for known := range p.states {
				if !fresh[known] {
					p.remove(known)
				}
			}
			fmt.Printf("%d machines\n", len(p.states))
		case controllerv1.WatchMachinesResponse_TYPE_CHANGED:
			p.set(name, state)
		case controllerv1.WatchMachinesResponse_TYPE_DELETED:
			p.remove(name)
		default:
			return errors.New("the controller is newer than this program")
		}
		if version := change.GetResourceVersion(); version != "" { // live facts have none
			p.version = version
		}
	}
}

func (p *picture) set(name, state string) {
	if before, known := p.states[name]; !known || before != state {
		p.states[name] = state
		fmt.Printf("%s: %s\n", name, state)
	}
}

func (p *picture) remove(name string) {
	delete(p.states, name)
	fmt.Printf("%s: removed\n", name)
}
