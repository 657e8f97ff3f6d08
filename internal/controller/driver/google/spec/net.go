package spec

import (
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"mctl/internal/controller/driver"
	"mctl/internal/fault"
)

// portRange is what one --google-open-port opens.
type portRange struct{ ports, protocol string }

// Accelerator is a kind of accelerator and how many; none without a type.
type Accelerator struct {
	Type  string
	Count int64
}

func (s *Spec) parseAddress(driver.Options) error {
	switch {
	case s.Address != "" && s.NoExternal:
		return refuse(FlagAddress, errors.New("a machine without external address can't have one"), "leave --"+flagInternalOnly+" out")
	case s.Reserve && s.NoExternal:
		return refuse(FlagReserve, errors.New("a machine without external address can't have one"), "leave --"+flagInternalOnly+" out")
	case s.Reserve && s.Address != "":
		return refuse(FlagReserve, errors.New("there is an address already"), "leave --"+FlagAddress+" out, or this")
	case s.Address == "" || wordPattern.MatchString(s.Address):
		return nil
	}
	if ip, err := netip.ParseAddr(s.Address); err != nil || !ip.Is4() || ip.IsUnspecified() {
		return refuse(FlagAddress, fmt.Errorf("bad address %q", s.Address), "give the name of a reserved address, or an IPv4 address")
	}
	return nil
}

func (s *Spec) parsePorts(opts driver.Options) error {
	for _, text := range opts.Strings(flagOpenPort) {
		ports, protocol, given := strings.Cut(strings.ToLower(strings.TrimSpace(text)), "/")
		if !given {
			protocol = "tcp"
		}
		from, to, isRange := strings.Cut(ports, "-")
		if !isRange {
			to = from
		}
		first, errFirst := strconv.ParseUint(from, 10, 16)
		last, errLast := strconv.ParseUint(to, 10, 16)
		if errFirst != nil || errLast != nil || first == 0 || first > last || !slices.Contains([]string{"tcp", "udp", "sctp"}, protocol) {
			return refuse(flagOpenPort, fmt.Errorf("bad port %q", text), "give port[/protocol], such as 80 or 8000-8100/udp")
		}
		s.ports = append(s.ports, portRange{ports, protocol})
	}
	return nil
}

func (s *Spec) parseRanges(opts driver.Options) error {
	var families [2]bool
	for _, given := range opts.Strings(flagRanges) {
		for _, text := range commas(given) {
			if text == "none" {
				if len(opts.Strings(flagRanges)) > 1 || len(s.ports) > 0 {
					return refuse(flagRanges, errors.New("none can't be given with networks or open ports"), "")
				}
				return nil
			}
			network, err := netip.ParsePrefix(text)
			if address, single := netip.ParseAddr(text); single == nil {
				network, err = netip.PrefixFrom(address, address.BitLen()), nil
			}
			if err != nil {
				return refuse(flagRanges, fmt.Errorf("bad network %q", text), "give a network such as 203.0.113.0/24, or none")
			}
			if network.Addr().Is4() {
				families[0] = true
			} else {
				families[1] = true
			}
			s.SourceRanges = append(s.SourceRanges, network.Masked().String())
		}
	}
	if families[0] && families[1] {
		return refuse(flagRanges, errors.New("a firewall rule takes networks of IPv4 or of IPv6, not of both"), "")
	}
	slices.Sort(s.SourceRanges)
	s.SourceRanges = slices.Compact(s.SourceRanges)
	return nil
}

func (s *Spec) parseAccelerator(opts driver.Options) error {
	text := opts.String(flagAccelerator)
	if text == "" {
		return nil
	}
	s.Accelerator.Count = 1
	for _, part := range commas(text) {
		key, value, given := strings.Cut(part, "=")
		var err error
		switch {
		case !given:
			s.Accelerator.Type = part
		case key == "type":
			s.Accelerator.Type = value
		case key == "count":
			s.Accelerator.Count, err = strconv.ParseInt(value, 10, 32)
		default:
			err = errors.New("unknown key")
		}
		if err != nil || s.Accelerator.Count < 1 || s.Accelerator.Count > 16 {
			return refuse(flagAccelerator, fmt.Errorf("bad accelerator %q", text), "give type=nvidia-tesla-t4,count=1")
		}
	}
	if !wordPattern.MatchString(s.Accelerator.Type) {
		return refuse(flagAccelerator, fmt.Errorf("bad accelerator %q", text), "give type=nvidia-tesla-t4,count=1")
	}
	return nil
}

// Metadata that the driver itself sets.
const (
	metaKeys     = "ssh-keys"
	metaUserdata = "user-data"
	metaOSLogin  = "enable-oslogin"
)

var (
	metaPattern  = regexp.MustCompile(`^[A-Za-z0-9_-]{1,128}$`)
	labelPattern = regexp.MustCompile(`^[a-z][a-z0-9_-]{0,62}$`)
	valuePattern = regexp.MustCompile(`^[a-z0-9_-]{0,63}$`)
)

func (s *Spec) parseMetadata(opts driver.Options) error {
	s.Metadata = map[string]string{}
	for _, text := range opts.Strings(flagMetadata) {
		key, value, given := strings.Cut(text, "=")
		switch {
		case !given || !metaPattern.MatchString(key):
			return refuse(flagMetadata, fmt.Errorf("bad metadata %q", key), "give key=value")
		case slices.Contains([]string{metaKeys, "sshKeys", metaUserdata, metaOSLogin, metaBoot}, key):
			return refuse(flagMetadata, fmt.Errorf("%s is set by mctl itself", key), "user data goes into --"+flagUserdata)
		}
		s.Metadata[key] = value
	}
	if data := opts.Content(flagUserdata); len(data) > 0 {
		if len(data) > maxUserdata {
			return refuse(flagUserdata, fmt.Errorf("user data of %d kB is too long", len(data)>>10), fmt.Sprintf("Google takes %d kB", maxUserdata>>10))
		}
		s.Metadata[metaUserdata] = string(data)
	}
	return nil
}

// maxUserdata is how long one value of the metadata may be.
const maxUserdata = 256 << 10

func (s *Spec) parseLabels(opts driver.Options) error {
	s.labels = map[string]string{}
	for _, text := range commas(opts.String(flagLabels)) {
		key, value, _ := strings.Cut(strings.Replace(text, "=", ":", 1), ":")
		if !goodLabel(key, value) {
			return refuse(flagLabels, fmt.Errorf("bad label %q", text), "give key:value in lower case; "+takenKeys)
		}
		s.labels[key] = value
	}
	return nil
}

const takenKeys = "keys that begin with mctl- are taken"

func goodLabel(key, value string) bool {
	return labelPattern.MatchString(key) && valuePattern.MatchString(value) && !strings.HasPrefix(key, "mctl-")
}

// CheckLabels refuses labels that Google would, and those that are ours.
func CheckLabels(labels map[string]string) error {
	for key, value := range labels {
		if !goodLabel(key, value) {
			return fault.E("google.Label", fault.Invalid, key, fmt.Errorf("Google takes no label %q", key+"="+value)). //nolint:staticcheck // a name
																	WithHint("lower case letters, digits, - and _, at most 63 of each, the key beginning with a letter; " + takenKeys)
		}
	}
	return nil
}

// Labelled are the labels of what is made for a machine.
func (s *Spec) Labelled(m driver.Machine) map[string]string {
	labels := maps.Clone(s.labels)
	labels[LabelController], labels[LabelMachine] = m.ControllerID, m.UID
	return labels
}
