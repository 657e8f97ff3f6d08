package tunnel

import (
	"fmt"
	"regexp"
	"strings"

	"google.golang.org/protobuf/proto"

	"mctl/internal/fault"
	tunnelv1 "mctl/proto/mctl/tunnel/v1"
)

// What a caller may ask for: a kernel takes no longer argument.
const (
	maxCommand = 128<<10 - 1
	maxEnv     = 64
	maxPath    = 4096
	maxLines   = 1_000_000
)

var (
	envPattern      = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*=[^\x00]*$`)
	terminalPattern = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9+._-]{0,63}$`)
)

// check refuses work that makes no sense.
func check(work *tunnelv1.Work) error {
	switch what := work.GetWhat().(type) {
	case *tunnelv1.Work_Exec:
		return checkExec(what.Exec)
	case *tunnelv1.Work_Forward:
		if port := what.Forward.GetPort(); what.Forward.GetDocker() != (port == 0) || port > 65535 {
			return invalid("a forward is to a port from 1 to 65535, or to Docker")
		}
		return nil
	case *tunnelv1.Work_Copy:
		return checkPath(what.Copy.GetPath())
	case *tunnelv1.Work_Logs:
		for _, unit := range what.Logs.GetUnits() {
			if _, known := tunnelv1.Unit_name[int32(unit)]; !known || unit == tunnelv1.Unit_UNIT_UNSPECIFIED {
				return invalid(fmt.Sprintf("there is no unit %d", unit))
			}
		}
		if len(what.Logs.GetUnits()) > len(tunnelv1.Unit_name) || what.Logs.GetLines() > maxLines || what.Logs.GetSince() != nil && !what.Logs.GetSince().IsValid() {
			return invalid("logs are of some units, since a time, and at most a million lines")
		}
		return nil
	}
	return invalid("a tunnel begins with what it is for")
}

func checkExec(exec *tunnelv1.Exec) error {
	if len(exec.GetCommand()) > maxCommand || strings.ContainsRune(exec.GetCommand(), 0) {
		return invalid(fmt.Sprintf("a command has at most %d bytes, and none that is zero", maxCommand))
	}
	if len(exec.GetEnv()) > maxEnv {
		return invalid(fmt.Sprintf("at most %d variables", maxEnv))
	}
	for _, pair := range exec.GetEnv() {
		if !envPattern.MatchString(pair) || len(pair) > maxPath {
			return invalid("a variable is NAME=value")
		}
	}
	if kind := exec.GetTerminal().GetType(); kind != "" && !terminalPattern.MatchString(kind) {
		return invalid("a terminal's type has letters, digits and the signs + . _ -")
	}
	return nil
}

func checkPath(path string) error {
	if len(path) > maxPath || strings.ContainsRune(path, 0) {
		return invalid(fmt.Sprintf("a path has at most %d bytes, and none that is zero", maxPath))
	}
	return nil
}

func invalid(sentence string) error {
	return fault.New("tunnel.check", fault.Invalid, "", sentence)
}

// resolve puts in what only the controller knows of a machine.
func resolve(work *tunnelv1.Work, enginePort uint16) *tunnelv1.Work {
	if !work.GetForward().GetDocker() {
		return work
	}
	resolved := proto.CloneOf(work)
	resolved.GetForward().Port = uint32(enginePort)
	return resolved
}

// name says what work is, and nothing of what a caller may want to keep to itself.
func name(work *tunnelv1.Work) string {
	switch what := work.GetWhat().(type) {
	case *tunnelv1.Work_Exec:
		if what.Exec.GetCommand() == "" {
			return "shell"
		}
		return "command"
	case *tunnelv1.Work_Forward:
		if what.Forward.GetDocker() {
			return "docker"
		}
		return fmt.Sprintf("port %d", what.Forward.GetPort())
	case *tunnelv1.Work_Copy:
		if what.Copy.GetToHost() {
			return "copy to the host"
		}
		return "copy from the host"
	case *tunnelv1.Work_Logs:
		return "logs"
	}
	return "nothing"
}
