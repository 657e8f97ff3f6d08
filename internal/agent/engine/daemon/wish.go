package daemon

import (
	"slices"
	"strings"

	"mctl/internal/fault"
	"mctl/internal/host"
)

// Wish puts a wish in dockerd's flags and checks its environment. Invalid for values that could not be written as they are,
// or of a wrong type. Notices are sentences for people.
func Wish(want host.Engine, notice func(string)) ([]Option, error) {
	if err := want.Check(); err != nil {
		return nil, fault.E("daemon.Wish", fault.Invalid, "", err)
	}
	var options []Option
	add := func(flag string, values ...string) error {
		for _, value := range values {
			o, err := ParseOption(flag + "=" + value)
			if err != nil {
				return err
			}
			options = append(options, o)
		}
		return nil
	}
	driver := want.StorageDriver
	if driver == "overlay" {
		driver = "overlay2"
		notice("storage driver overlay is gone from Docker, overlay2 is taken")
	}
	if driver != "" {
		if err := add("storage-driver", driver); err != nil {
			return nil, err
		}
	}
	for _, err := range []error{
		add("label", labels(want.Labels)...), add("insecure-registry", want.InsecureRegistries...), add("registry-mirror", want.RegistryMirrors...),
	} {
		if err != nil {
			return nil, err
		}
	}
	for _, text := range want.Options {
		o, err := ParseOption(text)
		if err != nil {
			return nil, err
		}
		if want.SwarmMember && o.Flag == "live-restore" {
			if o.Value != "false" {
				notice("live-restore is left out, since a swarm's member can't have it")
			}
			continue
		}
		options = append(options, o)
	}
	if want.SwarmMember { // whoever switched it on
		if err := add("live-restore", "false"); err != nil {
			return nil, err
		}
	}
	// Refuses wrong values before anything is touched.
	_, err := Translate(options, nil)
	return options, err
}

// labels keeps the last of those with one name, since dockerd refuses two.
func labels(given []string) []string {
	var kept []string
	for i, label := range given {
		name, _, _ := strings.Cut(label, "=")
		later := slices.ContainsFunc(given[i+1:], func(l string) bool { return strings.HasPrefix(l, name+"=") })
		if !later {
			kept = append(kept, label)
		}
	}
	return kept
}
