package nspawn

import (
	"errors"
	"fmt"
	"net/netip"
	"path/filepath"
	"regexp"
	"strconv"

	"mctl/internal/controller/driver"
	"mctl/internal/controller/driver/nspawn/network"
	"mctl/internal/fault"
)

const (
	flagImage  = "nspawn-image"
	flagCPUs   = "nspawn-cpus"
	flagMemory = "nspawn-memory"
	flagSubnet = network.FlagSubnet
	flagIP     = network.FlagIP
	flagUser   = "nspawn-ssh-user"
)

// minMemory is what a host with Docker needs to boot at all, in MB.
const minMemory = 128

func info(unusable string) driver.Info {
	return driver.Info{Name: "nspawn", Summary: "a Linux host on this computer, in a systemd-nspawn container", Unusable: unusable, Rank: 1}
}

// Flags is the schema of the create flags.
func (d *Driver) Flags() []driver.Flag {
	flag := func(name, env string, kind driver.FlagType, usage string, preset ...string) driver.Flag {
		return driver.Flag{Name: name, Env: env, Type: kind, Kind: driver.Value, Usage: usage, Default: preset}
	}
	return []driver.Flag{
		flag(flagImage, "NSPAWN_IMAGE", driver.String, "Root file system in place of the base image: a directory or tar file on the controller's computer"),
		flag(flagCPUs, "NSPAWN_CPUS", driver.String, "CPUs the host may use, such as 2 or 0.5 (0: all)", "0"),
		flag(flagMemory, "NSPAWN_MEMORY", driver.Int, "Memory the host may use, in MB (0: all)", "0"),
		flag(flagSubnet, "NSPAWN_SUBNET", driver.String, "Network of this controller's hosts, such as 10.128.7.0/24 (default: a free one)"),
		flag(flagIP, "NSPAWN_IP", driver.String, "Address that the host keeps (default: the next free one at each start)"),
		flag(flagUser, "NSPAWN_SSH_USER", driver.String, "User to log in as", "root"),
		driver.BootstrapFlag("nspawn", "NSPAWN_BOOTSTRAP"),
	}
}

// Validate checks options without looking at the computer.
func (d *Driver) Validate(opts driver.Options) error {
	_, err := parse(opts)
	return err
}

// settings are the options, typed.
type settings struct {
	image  string  // absolute path; empty for the base image
	cpus   float64 // zero for all
	memory int64   // bytes; zero for all
	subnet netip.Prefix
	ip     netip.Addr
	user   string
}

func parse(opts driver.Options) (settings, error) {
	s := settings{image: opts.String(flagImage), user: opts.String(flagUser)}
	if s.image != "" && !filepath.IsAbs(s.image) {
		return s, refuse(flagImage, errors.New("the path of the image must be absolute"), "the controller reads it, wherever you are")
	}
	if _, err := driver.ParseBootstrap("nspawn", opts); err != nil {
		return s, err
	}
	var err error
	if text := opts.String(flagCPUs); text != "" {
		if s.cpus, err = strconv.ParseFloat(text, 64); err != nil || !(s.cpus == 0 || s.cpus >= 0.01 && s.cpus <= 4096) {
			return s, refuse(flagCPUs, fmt.Errorf("bad number of CPUs %q", text), "give a number such as 2 or 0.5")
		}
	}
	memory := opts.Int(flagMemory)
	if memory != 0 && (memory < minMemory || memory > 1<<30) {
		return s, refuse(flagMemory, fmt.Errorf("%d MB of memory are too little or too much", memory), fmt.Sprintf("give at least %d MB", minMemory))
	}
	s.memory = int64(memory) << 20
	if s.user == "" {
		s.user = "root"
	}
	if !regexp.MustCompile(`^[a-z_][a-z0-9_-]{0,31}$`).MatchString(s.user) {
		return s, refuse(flagUser, fmt.Errorf("bad user name %q", s.user), "lower case letters, digits, - and _")
	}
	return s, s.parseAddresses(opts.String(flagSubnet), opts.String(flagIP))
}

func (s *settings) parseAddresses(subnet, ip string) error {
	var err error
	if subnet != "" {
		if s.subnet, err = netip.ParsePrefix(subnet); err != nil || !s.subnet.Addr().Is4() || s.subnet.Bits() < 16 || s.subnet.Bits() > 28 {
			return refuse(flagSubnet, fmt.Errorf("bad network %q", subnet), "give an IPv4 network of /16 to /28, such as 10.128.7.0/24")
		}
		s.subnet = s.subnet.Masked()
	}
	if ip == "" {
		return nil
	}
	if s.ip, err = netip.ParseAddr(ip); err != nil || !s.ip.Is4() {
		return refuse(flagIP, fmt.Errorf("bad address %q", ip), "give an IPv4 address")
	}
	if !s.subnet.IsValid() {
		// A pinned address may choose the network, where there is none yet.
		if !network.Usable(netip.PrefixFrom(s.ip, 24).Masked(), s.ip) {
			return refuse(flagIP, fmt.Errorf("%s is no address for a host", ip), "the first two addresses of a network and the last are taken")
		}
		return nil
	}
	if !network.Usable(s.subnet, s.ip) {
		return refuse(flagIP, fmt.Errorf("%s is no address for a host in %s", ip, s.subnet), "the first two addresses of a network and the last are taken")
	}
	return nil
}

// wish is what the network shall give the host.
func (s settings) wish() network.Wish { return network.Wish{Subnet: s.subnet, IP: s.ip} }

func refuse(flag string, err error, hint string) error {
	return fault.E("nspawn.Validate", fault.Invalid, flag, fmt.Errorf("--%s: %w", flag, err)).WithHint(hint).WithReason(fault.ReasonUsage)
}
