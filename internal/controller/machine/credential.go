package machine

import (
	"context"
	"fmt"
	"maps"
	"slices"

	"mctl/internal/controller/driver"
	"mctl/internal/fault"
)

// checkCredential refuses the name of a stored credential where the driver takes none, or where one was given as a flag too.
func checkCredential(d driver.Driver, spec Spec) error {
	if spec.Credential == "" {
		return nil
	}
	flag := CredentialFlag(d)
	usage := func(sentence string) error {
		return fault.New("machine.checkCredential", fault.Invalid, spec.Credential, sentence).WithReason(fault.ReasonUsage)
	}
	if flag == "" {
		return usage(fmt.Sprintf("the driver %s takes no credential", spec.Driver))
	}
	if spec.Options.Content(flag) != nil {
		return usage(fmt.Sprintf("--credential and --%s exclude each other", flag))
	}
	return nil
}

// CredentialFlag names the flag that takes a driver's credential; empty where it takes none.
func CredentialFlag(d driver.Driver) string {
	i := slices.IndexFunc(d.Flags(), func(f driver.Flag) bool { return f.Kind == driver.Credential })
	if i < 0 {
		return ""
	}
	return d.Flags()[i].Name
}

// withCredential puts the content of a stored credential where the driver looks for it. The options are not changed.
func (s *Service) withCredential(ctx context.Context, driverName string, options driver.Options, name string) (driver.Options, error) {
	if name == "" {
		return options, nil
	}
	d, err := s.config.Drivers.Driver(driverName)
	if err != nil {
		return nil, err
	}
	content, err := s.config.Credentials.Content(ctx, name, driverName)
	if err != nil {
		return nil, err
	}
	options = maps.Clone(options)
	options[CredentialFlag(d)] = driver.Option{Content: content}
	return options, nil
}
