package controller

import (
	"bufio"
	"context"
	"errors"
	"io"
	"os"
	"strings"
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
		Use: "logs", Short: "Show what the controller logged", Example: "mctl controller logs --follow", Args: cli.NoArgs,
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
		return fault.New("controller.logs", fault.NotFound, path, "no controller has run for "+local.Dir.Root).
			WithHint("`mctl controller start` starts one")
	}
	if err != nil {
		return state.Trouble(path, err)
	}
	defer file.Close()
	lines := bufio.NewReader(file)
	if info, err := file.Stat(); err == nil && info.Size() > tail {
		if _, err := file.Seek(-tail, io.SeekEnd); err != nil {
			return state.Trouble(path, err)
		}
		_, _ = lines.ReadString('\n') // the rest of a line
	}
	look := time.NewTicker(lookAgain)
	defer look.Stop()
	shown := []string{}
	for line := ""; ; {
		more, err := lines.ReadString('\n')
		line += more
		switch {
		case err == nil || errors.Is(err, io.EOF) && line != "" && !follow:
			if shown, err = show(env, strings.TrimSuffix(line, "\n"), follow, shown); err != nil {
				return err
			}
			line = ""
			continue
		case !errors.Is(err, io.EOF):
			return state.Trouble(path, err)
		case !follow:
			return env.Result(shown)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-look.C:
		}
	}
}

// show writes one line, or keeps it for the document.
func show(env *cli.Env, line string, follow bool, shown []string) ([]string, error) {
	switch {
	case !env.JSON():
		env.Printf("%s\n", line)
	case follow:
		return nil, env.Stream(map[string]string{"line": line})
	default:
		shown = append(shown, line)
	}
	return shown, nil
}
