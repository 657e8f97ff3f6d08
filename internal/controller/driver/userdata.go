package driver

import (
	"context"
	"fmt"

	"mctl/internal/fault"
)

// UserDataBooter is a driver whose hosts can join with nobody logging in to them: they run a text of ours as they boot. Create
// hands it over where Machine.UserData is set.
type UserDataBooter interface {
	// BootUserData hands other user data to a host that is there, in place of the former, and has it boot with them: a running
	// host is restarted. It may be repeated.
	BootUserData(ctx context.Context, m Machine) (Instance, error)
}

// UserData is what a host runs as it boots, each time.
type UserData struct {
	Script string // fixed: defines the shell function mctl_join, which reads Values from standard input
	Values []byte // lines of a word and a value; they hold a secret that is of use once
}

// String keeps the secret out of logs.
func (UserData) String() string { return "redacted" }

// GoString keeps the secret out of logs.
func (UserData) GoString() string { return "redacted" }

// The values of a bootstrap flag.
const (
	BootstrapSSH      = "ssh"
	BootstrapUserData = "userdata"
)

// BootstrapFlag is the flag of a driver that is a UserDataBooter.
func BootstrapFlag(driver, env string) Flag {
	return Flag{
		Name: driver + "-bootstrap", Env: env, Type: String, Kind: Value, Default: []string{BootstrapSSH},
		Usage: "How the agent gets to the host: ssh, or userdata, for which the controller needs --advertise",
	}
}

// ParseBootstrap reads it; fault.Invalid for another value.
func ParseBootstrap(driver string, opts Options) (userData bool, err error) {
	switch value := opts.String(driver + "-bootstrap"); value {
	case "", BootstrapSSH:
		return false, nil
	case BootstrapUserData:
		return true, nil
	default:
		return false, fault.E(driver+".Validate", fault.Invalid, driver+"-bootstrap", fmt.Errorf("--%s-bootstrap: bad value %q", driver, value)).
			WithHint("it is ssh or userdata").WithReason(fault.ReasonUsage)
	}
}
