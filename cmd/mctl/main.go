// Command mctl makes Docker hosts and looks after them.
package main

import (
	"context"
	"os"
	"os/signal"
	"runtime/debug"
	"syscall"

	"mctl/internal/mctl"
	"mctl/internal/mctl/cli"
)

func main() {
	// A command lives for milliseconds: it is done before collecting its garbage would pay.
	debug.SetGCPercent(400)
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // who asks a second time is not made to wait
	code := mctl.Run(ctx, cli.OSEnv())
	stop()
	os.Exit(code)
}
