package tunnel

import (
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"syscall"

	"mctl/internal/agent/tunnel/login"
	"mctl/internal/fault"
	"mctl/internal/filetree"
	tunnelv1 "mctl/proto/mctl/tunnel/v1"
)

// copy has our own program, as the user, read or write a tree of files as a tar stream: what the user may not see or change,
// the kernel refuses.
func (s *Server) copy(c *channel, user login.Account, wanted *tunnelv1.Copy) error {
	args := []string{s.config.Program, "copy", "--from-host"}
	if wanted.GetToHost() {
		args[2] = "--to-host"
	}
	if wanted.GetRecursive() {
		args = append(args, "--recursive")
	}
	args = append(args, "--", wanted.GetPath())
	return s.run(c, user, &exec.Cmd{Path: s.config.Program, Args: args, Env: s.accounts.Environment(user, nil)}, wanted.GetToHost())
}

// Copy is what our program does when it is called with "copy": it reads or writes a tree of files and returns the exit code.
// It runs as the user whose files they are.
func Copy(args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	// The end of the streams ends it, and it cleans up then.
	signal.Ignore(syscall.SIGHUP)
	if err := copyTree(args, stdin, stdout); err != nil {
		for _, one := range sentences(err) {
			fmt.Fprintln(stderr, one)
		}
		return 1
	}
	return 0
}

func copyTree(args []string, stdin io.Reader, stdout io.Writer) error {
	recursive := len(args) == 4 && args[1] == "--recursive"
	if len(args) < 3 || len(args) == 4 && !recursive || len(args) > 4 || args[len(args)-2] != "--" {
		return fault.New("tunnel.Copy", fault.Invalid, "", "copy --to-host|--from-host [--recursive] -- PATH")
	}
	path := filetree.Home(os.Getenv("HOME"), args[len(args)-1])
	if args[0] == "--to-host" {
		return filetree.Receive(stdin, path, filetree.Asked{Anything: true})
	}
	return filetree.Send(stdout, path, recursive)
}

// sentences takes joined errors apart.
func sentences(err error) []error {
	if joined, ok := err.(interface{ Unwrap() []error }); ok { //nolint:errorlint // the outermost alone
		return joined.Unwrap()
	}
	return []error{err}
}
