package controller

import (
	"context"
	"errors"
	"io"
	"os"
	"time"

	"github.com/spf13/cobra"

	"mctl/internal/fault"
	"mctl/internal/mctl/cli"
	"mctl/internal/mctl/state"
)

const (
	// lookAgain is how often a log that is followed is looked at.
	lookAgain = 200 * time.Millisecond
	// tail is how much of a long log is shown.
	tail = 256 << 10
)

func newLogs(env *cli.Env) *cobra.Command {
	var follow bool
	command := &cobra.Command{
		Use: "logs", Short: "Show what the controller logged", Args: cobra.NoArgs,
		RunE: func(command *cobra.Command, _ []string) error { return logs(command.Context(), env, follow) },
	}
	command.Flags().BoolVarP(&follow, "follow", "f", false, "Go on with new lines as they come")
	return command
}

// logs shows the end of the log, and, with follow, what comes.
func logs(ctx context.Context, env *cli.Env, follow bool) error {
	local, err := env.Local()
	if err != nil {
		return err
	}
	path := local.Dir.ControllerLog()
	file, err := os.Open(path)
	if errors.Is(err, os.ErrNotExist) {
		return fault.New("controller.logs", fault.NotFound, path, "no controller has run for "+local.Dir.Root)
	}
	if err != nil {
		return state.Trouble(path, err)
	}
	defer file.Close()
	if info, err := file.Stat(); err == nil && info.Size() > tail {
		if _, err := file.Seek(-tail, io.SeekEnd); err != nil {
			return state.Trouble(path, err)
		}
	}
	look := time.NewTicker(lookAgain)
	defer look.Stop()
	for {
		if _, err := io.Copy(env.Out, file); err != nil {
			return state.Trouble(path, err)
		}
		if !follow {
			return nil
		}
		select {
		case <-ctx.Done():
			return nil
		case <-look.C:
		}
	}
}
