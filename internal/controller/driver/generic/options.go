package generic

import (
	"fmt"
	"net/netip"
	"regexp"
	"strconv"
	"strings"

	"mctl/internal/controller/driver"
	"mctl/internal/fault"
)

const (
	flagAddress    = "generic-ip-address"
	flagUser       = "generic-ssh-user"
	flagKey        = "generic-ssh-key"
	flagSSHPort    = "generic-ssh-port"
	flagEnginePort = "generic-engine-port"
)

var (
	// Labels of letters, digits and hyphens; underscores because people have them.
	dnsName = regexp.MustCompile(`^[A-Za-z0-9_]([A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?(\.[A-Za-z0-9_]([A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?)*\.?$`)
	// POSIX names, and what directories make of them: name@domain, name.surname.
	userName = regexp.MustCompile(`^[A-Za-z0-9_][A-Za-z0-9_.@-]{0,63}$`)
	allDigit = regexp.MustCompile(`^[0-9.]+$`)
)

// Flags are docker-machine's.
func (Driver) Flags() []driver.Flag {
	return []driver.Flag{
		{
			Name: flagAddress, Env: "GENERIC_IP_ADDRESS", Type: driver.String, Kind: driver.Value, Required: true,
			Usage: "IP address or DNS name of the host",
		}, {
			Name: flagUser, Env: "GENERIC_SSH_USER", Type: driver.String, Kind: driver.Value, Default: []string{defaultUser},
			Usage: "SSH user: root, or one that may sudo without a password",
		}, {
			Name: flagKey, Env: "GENERIC_SSH_KEY", Type: driver.String, Kind: driver.File,
			Usage: "private SSH key; the ssh-agent is used if there is none",
		}, {
			Name: flagSSHPort, Env: "GENERIC_SSH_PORT", Type: driver.Int, Kind: driver.Value, Default: []string{strconv.Itoa(defaultSSHPort)},
			Usage: "SSH port",
		}, {
			Name: flagEnginePort, Env: "GENERIC_ENGINE_PORT", Type: driver.Int, Kind: driver.Value,
			Default: []string{strconv.Itoa(defaultEnginePort)}, Usage: "port on which Docker shall be served",
		},
	}
}

// Validate checks address, user, ports and the content of the key. A bad key has fault.ReasonPrecheck, since it is the file
// that is wrong and not how the command was used.
func (Driver) Validate(opts driver.Options) error {
	if err := validateAddress(opts.String(flagAddress)); err != nil {
		return err
	}
	if user, given := opts[flagUser]; given && !userName.MatchString(opts.String(flagUser)) {
		return invalid(flagUser, fmt.Sprintf("bad user name %q", strings.Join(user.Values, " ")), "")
	}
	for _, name := range []string{flagSSHPort, flagEnginePort} {
		if _, given := opts[name]; !given {
			continue
		}
		if number, err := strconv.ParseUint(opts.String(name), 10, 16); err != nil || number == 0 {
			return invalid(name, fmt.Sprintf("bad port %q", opts.String(name)), "ports go from 1 to 65535")
		}
	}
	if port(opts, flagSSHPort, defaultSSHPort) == port(opts, flagEnginePort, defaultEnginePort) {
		return invalid(flagEnginePort, "the engine can't have the port of SSH", "")
	}
	if _, given := opts[flagKey]; !given {
		return nil
	}
	if _, err := driver.ParseKey(opts.Content(flagKey)); err != nil {
		return fault.E("generic.Validate", fault.Precondition, flagKey, fmt.Errorf("--%s: %w", flagKey, err)).
			WithHint(fault.HintOf(err)).WithReason(fault.ReasonPrecheck)
	}
	return nil
}

func validateAddress(address string) error {
	if address == "" {
		return fault.New("generic.Validate", fault.Invalid, flagAddress, "generic driver requires the --generic-ip-address option").
			WithHint("give the flag or set GENERIC_IP_ADDRESS").WithReason(fault.ReasonUsage)
	}
	if ip, err := netip.ParseAddr(address); err == nil {
		if zone := ip.Zone(); zone != "" && !dnsName.MatchString(zone) {
			return invalid(flagAddress, fmt.Sprintf("bad zone %q", zone), "the zone is the name of a network interface")
		}
		if ip.IsUnspecified() || ip.IsMulticast() {
			return invalid(flagAddress, fmt.Sprintf("%s is no host's address", address), "")
		}
		return nil
	}
	if len(address) > 253 || !dnsName.MatchString(address) || allDigit.MatchString(address) {
		return invalid(flagAddress, fmt.Sprintf("bad address %q", address), "give an IP address or a DNS name, without port or scheme")
	}
	return nil
}

func invalid(flag, sentence, hint string) error {
	return fault.E("generic.Validate", fault.Invalid, flag, fmt.Errorf("--%s: %s", flag, sentence)).WithHint(hint).WithReason(fault.ReasonUsage)
}
