package host

import (
	"errors"
	"fmt"
	"net/netip"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"unicode"
)

var (
	optionFlag    = regexp.MustCompile(`^[a-zA-Z][a-zA-Z0-9-]*$`)
	variableName  = regexp.MustCompile(`^[a-zA-Z_][a-zA-Z0-9_]*$`)
	storageDriver = regexp.MustCompile(`^[a-z0-9]+([._-][a-z0-9]+)*$`)
	// Names of hosts with underscores, because people have them, and with a star in front.
	dnsName = regexp.MustCompile(`^(\*\.)?[A-Za-z0-9_]([A-Za-z0-9_-]*[A-Za-z0-9_])?(\.[A-Za-z0-9_]([A-Za-z0-9_-]*[A-Za-z0-9_])?)*$`)
)

// maxDNSName is how long a DNS name may be, in bytes.
const maxDNSName = 253

// Check refuses in a sentence what no host could fulfil, wherever it is asked: forms alone are looked at, whether dockerd
// takes a value it says itself. It may be called by whoever takes the wish and by whoever fulfils it.
func (e Engine) Check() error {
	all := []error{checkAddress("the address of the install script", e.InstallURL)}
	if e.Install == InstallScript && e.InstallURL == "" {
		all = append(all, errors.New("an install script was asked for, and no address of one was given"))
	}
	if e.StorageDriver != "" && !storageDriver.MatchString(e.StorageDriver) {
		all = append(all, fmt.Errorf("%q is no storage driver", e.StorageDriver))
	}
	for _, check := range []struct {
		of     func(string) error
		values []string
	}{
		{CheckLabel, e.Labels}, {CheckVariable, e.Env}, {CheckOption, e.Options},
		{func(mirror string) error { return checkAddress("a registry mirror", mirror) }, e.RegistryMirrors},
		{checkRegistry, e.InsecureRegistries},
	} {
		for _, value := range check.values {
			all = append(all, check.of(value))
		}
	}
	// The first is enough: a person mends one after the other.
	if i := slices.IndexFunc(all, func(err error) bool { return err != nil }); i >= 0 {
		return all[i]
	}
	return nil
}

// CheckOption refuses what is neither flag nor flag=value.
func CheckOption(option string) error {
	flag, value, _ := strings.Cut(option, "=")
	if !optionFlag.MatchString(flag) {
		return fmt.Errorf("%q is no engine option: write it as flag=value or flag, without dashes in front, such as log-driver=journald", option)
	}
	return oneLine("engine option "+flag, value)
}

// CheckLabel refuses what is not key=value.
func CheckLabel(label string) error {
	if key, _, found := strings.Cut(label, "="); !found || key == "" {
		return fmt.Errorf("engine label %q is not key=value", label)
	}
	return oneLine("an engine label", label)
}

// CheckVariable refuses what is not NAME=value. The value is not repeated: it may be a secret, and without a valid name nobody
// knows where it begins.
func CheckVariable(variable string) error {
	name, value, found := strings.Cut(variable, "=")
	if !found || !variableName.MatchString(name) {
		return errors.New("an engine environment variable is not NAME=value")
	}
	return oneLine("engine environment variable "+name, value)
}

// CheckSAN refuses what no certificate could cover: it is an IP address or a DNS name, perhaps with a star as its first label.
func CheckSAN(name string) error {
	if _, err := netip.ParseAddr(name); err == nil {
		return nil
	}
	if len(name) > maxDNSName || !dnsName.MatchString(name) {
		return fmt.Errorf("%q can't be a certificate's name: it is neither an IP address nor a DNS name", name)
	}
	return nil
}

func checkAddress(what, address string) error {
	if address == "" {
		return nil
	}
	parsed, err := url.Parse(address)
	if err != nil || parsed.Host == "" || parsed.Scheme != "http" && parsed.Scheme != "https" {
		// It may hold a password.
		return fmt.Errorf("%s is not http:// or https:// with a host", what)
	}
	return nil
}

func checkRegistry(registry string) error {
	if registry == "" || strings.ContainsFunc(registry, unicode.IsSpace) {
		return fmt.Errorf("%q is no registry", registry)
	}
	return oneLine("an insecure registry", registry)
}

// oneLine refuses what no line of a file could hold literally.
func oneLine(what, value string) error {
	if strings.ToValidUTF8(value, "") != value || strings.ContainsFunc(value, unicode.IsControl) {
		return fmt.Errorf("%s holds a line break or another control character", what)
	}
	return nil
}
