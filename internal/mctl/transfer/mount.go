package transfer

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"

	"github.com/spf13/cobra"

	"mctl/internal/fault"
	"mctl/internal/mctl/cli"
	"mctl/internal/mctl/shell"
)

func newMount(env *cli.Env) *cobra.Command {
	var unmount bool
	command := &cobra.Command{
		Use: "mount [arg...]", Short: "Mount or unmount a directory from a machine with SSHFS.",
		Long:    "Arguments are [[user@]machine:]path [mountpoint]. The machine is `default` and the mount point is the path, unless they are given.",
		Example: "mctl mount web:/var/www /mnt\nmctl mount -u web:/var/www /mnt",
		RunE: func(command *cobra.Command, args []string) error {
			if len(args) < 1 || len(args) > 2 {
				return improper(env, command, "name a directory of a machine, and where it shall appear")
			}
			from := parse(args[0])
			at := from.path
			if len(args) == 2 {
				at = args[1]
			}
			if at == "" {
				return improper(env, command, "name the directory where it shall appear")
			}
			if unmount {
				return takeAway(command.Context(), env, at)
			}
			return mount(command.Context(), env, from, at)
		},
	}
	command.Flags().BoolVarP(&unmount, "unmount", "u", false, "Unmount instead of mount")
	return command
}

// mount has a directory of a host appear at a directory here, as long as the host is there and nobody takes it away.
func mount(ctx context.Context, env *cli.Env, from location, at string) error {
	program, err := find("mount feature", "sshfs")
	if err != nil {
		return err
	}
	if from.machine == "" {
		from.machine = "default"
	}
	host, err := from.host(ctx, env)
	if err != nil {
		return err
	}
	if err := checkMountPoint(at); err != nil {
		return err
	}
	// sshfs has logged in when it goes to the background, and reads the file no more.
	config, done, err := writeConfig(host.Config(host.Name))
	if err != nil {
		return err
	}
	defer done()
	what := host.Name + ":" + from.path
	err = run(ctx, env, shell.Program{Path: program, Args: []string{"-F", config, what, plainPath(at)}}, map[string]string{"from": what, "at": at})
	var exit cli.Exit
	if errors.As(err, &exit) && exit.Code != cli.ExitInterrupted {
		// sshfs keeps to itself what ssh says.
		exit.Sentence, exit.Hint = fmt.Sprintf("sshfs can't mount %q at %q", what, at), "`mctl ssh "+host.Name+" true` tells whether the host lets you in"
		return exit
	}
	return err
}

// checkMountPoint says in a sentence what fuse says in its own words.
func checkMountPoint(at string) error {
	info, err := os.Stat(at)
	refuse := func(sentence, hint string) error {
		return fault.New("transfer.mount", fault.Precondition, at, fmt.Sprintf("%q %s", at, sentence)).WithHint(hint)
	}
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return refuse("does not exist here", "make the directory first, or name another one")
	case errors.Is(err, syscall.ENOTCONN):
		return refuse("is mounted already, from a host that is gone", "take it away with `mctl mount -u`")
	case err != nil:
		return fault.E("transfer.mount", fault.Precondition, at, err).WithHint("name another directory")
	case !info.IsDir():
		return refuse("is no directory", "name a directory")
	}
	return nil
}

// takeAway ends a mount. Nobody is asked, since the machine may be gone.
func takeAway(ctx context.Context, env *cli.Env, at string) error {
	names := []string{"fusermount", "fusermount3"}
	if runtime.GOOS != "linux" {
		names = append(names, "umount")
	}
	program, err := find("unmount option", names...)
	if err != nil {
		return err
	}
	args := []string{"-u", plainPath(at)}
	if filepath.Base(program) == "umount" {
		args = args[1:]
	}
	return run(ctx, env, shell.Program{Path: program, Args: args}, map[string]string{"unmounted": at})
}

// plainPath is a path that no program takes for an option.
func plainPath(path string) string {
	if strings.HasPrefix(path, "-") {
		return "./" + path
	}
	return path
}
