package machine

import (
	"regexp"
	"slices"
	"strings"

	"mctl/internal/mctl/cli"
	"mctl/internal/mctl/state"
	controllerv1 "mctl/proto/mctl/controller/v1"
)

// filter keeps machines as docker-machine's ls did: the same key again means or, different keys mean and.
type filter struct {
	swarm, drivers, states, labels []string
	names                          []*regexp.Regexp
}

const filterHint = "give --filter KEY=VALUE; the keys are driver, label, name, state and swarm"

func parseFilters(texts []string) (filter, error) {
	var f filter
	for _, text := range texts {
		key, value, ok := strings.Cut(text, "=")
		if !ok {
			return f, cli.Failf("Unsupported filter syntax").WithHint(filterHint)
		}
		switch strings.ToLower(key) {
		case "swarm":
			f.swarm = append(f.swarm, value)
		case "driver":
			f.drivers = append(f.drivers, value)
		case "state":
			f.states = append(f.states, value)
		case "label":
			f.labels = append(f.labels, value)
		case "name":
			pattern, err := regexp.Compile(value)
			if err != nil {
				return f, cli.Failf("%w", err).WithHint("the name is a regular expression, such as --filter name=^web")
			}
			f.names = append(f.names, pattern)
		default:
			return f, cli.Failf("Unsupported filter key '%s'", key).WithHint(filterHint)
		}
	}
	return f, nil
}

func (f filter) matches(m *controllerv1.Machine) bool {
	return anyFold(f.swarm, m.GetSpec().GetSwarm().GetMasterName()) &&
		anyFold(f.drivers, state.DriverName(m.GetSpec())) && anyFold(f.states, m.GetStatus().GetState()) && f.matchesName(m) && f.matchesLabel(m)
}

func anyFold(wanted []string, value string) bool {
	return len(wanted) == 0 || slices.ContainsFunc(wanted, func(w string) bool { return strings.EqualFold(w, value) })
}

func (f filter) matchesName(m *controllerv1.Machine) bool {
	return len(f.names) == 0 || slices.ContainsFunc(f.names, func(p *regexp.Regexp) bool { return p.MatchString(m.GetName()) })
}

func (f filter) matchesLabel(m *controllerv1.Machine) bool {
	if len(f.labels) == 0 {
		return true
	}
	for _, label := range m.GetSpec().GetEngine().GetLabels() {
		key, value, _ := strings.Cut(label, "=")
		for _, wanted := range f.labels {
			wantedKey, wantedValue, _ := strings.Cut(wanted, "=")
			if key == wantedKey && strings.EqualFold(value, wantedValue) {
				return true
			}
		}
	}
	return false
}
