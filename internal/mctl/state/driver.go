package state

import (
	"bytes"
	"cmp"
	"encoding/json"
	"strconv"
	"strings"
	"unicode"

	controllerv1 "mctl/proto/mctl/controller/v1"
)

// redacted stands for what the controller has and never tells.
const redacted = "redacted"

// Driver is docker-machine's driver object: what every driver had, then the driver's own flags under docker-machine's names,
// such as EnginePort.
type Driver struct {
	IPAddress      string
	MachineName    string
	SSHUser        string
	SSHPort        uint32
	SSHKeyPath     string
	StorePath      string
	SwarmMaster    bool
	SwarmHost      string
	SwarmDiscovery string

	fields []field
}

// Set gives a field of the driver's own another value, and adds one that is not there.
func (d *Driver) Set(name string, value any) {
	for i := range d.fields {
		if d.fields[i].name == name {
			d.fields[i].value = value
			return
		}
	}
	d.fields = append(d.fields, field{name, value})
}

type field struct {
	name  string
	value any
}

// MarshalJSON implements json.Marshaler.
func (d Driver) MarshalJSON() ([]byte, error) {
	type base Driver // without this method
	text, err := marshal(base(d), "")
	if err != nil {
		return nil, err
	}
	var taken map[string]any
	if err := json.Unmarshal(text, &taken); err != nil {
		return nil, err
	}
	text = bytes.TrimSuffix(text, []byte("}"))
	for _, f := range d.fields {
		if _, there := taken[f.name]; there {
			continue // what every driver had tells how it is, the flag only how it was wished
		}
		taken[f.name] = nil
		pair, err := marshal(map[string]any{f.name: f.value}, "")
		if err != nil {
			return nil, err
		}
		text = append(append(text, ','), pair[1:len(pair)-1]...)
	}
	return append(text, '}'), nil
}

func driverView(m *controllerv1.Machine, d Dir, flags []*controllerv1.DriverFlag) Driver {
	ssh, folder := m.GetStatus().GetSsh(), d.Machine(m.GetName())
	view := Driver{
		IPAddress: m.GetStatus().GetAddress(), MachineName: m.GetName(), SSHUser: ssh.GetUser(), SSHPort: ssh.GetPort(), StorePath: d.Root,
		fields: fieldsOf(m.GetSpec(), flags),
	}
	if swarm := m.GetSpec().GetSwarm(); swarm != nil {
		view.SwarmMaster, view.SwarmHost, view.SwarmDiscovery = swarm.GetMaster(), cmp.Or(swarm.GetHost(), swarmHost), swarm.GetDiscovery()
	}
	if folder.HasKey() {
		view.SSHKeyPath = folder.Key()
	}
	for _, f := range view.fields { // before the first login only the wish is known
		if port, ok := f.value.(int); ok && f.name == "SSHPort" && view.SSHPort == 0 {
			view.SSHPort = uint32(port) //nolint:gosec // the driver has checked it
		}
		if user, ok := f.value.(string); ok && f.name == "SSHUser" && view.SSHUser == "" {
			view.SSHUser = user
		}
	}
	if view.SSHPort == 0 {
		view.SSHPort = 22
	}
	return view
}

// fieldsOf are the driver's flags as fields, in the order of its schema.
func fieldsOf(spec *controllerv1.MachineSpec, flags []*controllerv1.DriverFlag) []field {
	given := map[string]*controllerv1.DriverOption{}
	for _, o := range spec.GetDriverOptions() {
		given[o.GetName()] = o
	}
	if flags == nil {
		flags = guessed(spec.GetDriverOptions())
	}
	fields := make([]field, 0, len(flags))
	for _, f := range flags {
		fields = append(fields, field{FieldName(DriverName(spec), f.GetName()), valueOf(f, given[f.GetName()])})
	}
	return fields
}

// guessed is a schema for a driver that the controller no longer has.
func guessed(options []*controllerv1.DriverOption) []*controllerv1.DriverFlag {
	var flags []*controllerv1.DriverFlag
	for _, o := range options {
		f := &controllerv1.DriverFlag{Name: o.GetName(), Type: controllerv1.DriverFlag_TYPE_STRING, Kind: controllerv1.DriverFlag_KIND_VALUE}
		switch len(o.GetValues()) {
		case 0:
			f.Kind = controllerv1.DriverFlag_KIND_SECRET
		case 1:
		default:
			f.Type = controllerv1.DriverFlag_TYPE_STRING_LIST
		}
		flags = append(flags, f)
	}
	return flags
}

// valueOf is what a flag was given, in the type of its schema. given is nil where nothing was: that is the default, or the
// type's zero.
func valueOf(f *controllerv1.DriverFlag, given *controllerv1.DriverOption) any {
	values, first := given.GetValues(), ""
	if given == nil {
		values = f.GetDefaultValues()
	}
	if len(values) > 0 {
		first = values[0]
	}
	switch f.GetType() {
	case controllerv1.DriverFlag_TYPE_INT:
		number, _ := strconv.Atoi(first)
		return number
	case controllerv1.DriverFlag_TYPE_BOOL:
		truth, _ := strconv.ParseBool(first)
		return truth
	case controllerv1.DriverFlag_TYPE_STRING_LIST:
		return list(values)
	default:
	}
	if f.GetKind() != controllerv1.DriverFlag_KIND_VALUE && given != nil {
		return redacted
	}
	return first
}

// DriverName is a machine's driver as docker-machine called it: without a word on which plugin serves it.
func DriverName(spec *controllerv1.MachineSpec) string {
	name, plugin := strings.CutPrefix(spec.GetDriver(), "plugin:")
	if plugin {
		name, _, _ = strings.Cut(name, "@")
	}
	return name
}

// FieldName is how a flag is called in the driver object: --generic-engine-port of driver generic is EnginePort.
func FieldName(driver, flag string) string {
	odd := map[string]string{ // where docker-machine and rancher-machine follow no rule
		"google-open-port": "OpenPorts", "google-username": "SSHUser", "google-auth-encoded-json": "Auth", "google-vm-labels": "Labels",
	}
	if name, ok := odd[flag]; ok {
		return name
	}
	acronyms := map[string]string{"ip": "IP", "ssh": "SSH", "cpu": "CPU", "cpus": "CPUs", "id": "ID", "url": "URL", "vpc": "VPC"}
	var name strings.Builder
	for word := range strings.SplitSeq(strings.TrimPrefix(flag, driver+"-"), "-") {
		if acronym, ok := acronyms[word]; ok {
			name.WriteString(acronym)
			continue
		}
		for i, r := range word {
			if i == 0 {
				r = unicode.ToUpper(r)
			}
			name.WriteRune(r)
		}
	}
	return name.String()
}
