// Command mctl makes Docker hosts and looks after them.
package main

import (
	"os"
	"runtime/debug"

	"mctl/internal/mctl"
)

func main() {
	// A command lives for milliseconds: it is done before collecting its garbage would pay.
	debug.SetGCPercent(400)
	os.Exit(mctl.Main())
}
