package legacy

import (
	"encoding/json"
	"strconv"
	"strings"

	"mctl/internal/mctl/state"
	controllerv1 "mctl/proto/mctl/controller/v1"
)

// chooseDriver finds the driver that the machine gets, and what that has to know. It returns false where there is none.
func (s *subject) chooseDriver() bool {
	own := map[string]func() bool{"generic": s.generic, "google": s.google, "none": s.none}[s.Driver]
	s.Request.DriverConfig, s.Request.StorePath = s.config.Driver, s.old() // the way back needs it, and plugins do
	if _, known := s.reader.Flags[s.Driver]; known && own != nil {
		s.Becomes = s.Driver
		s.Request.Spec.Driver = s.Driver
		return own()
	}
	s.Becomes = "plugin:" + s.Driver
	s.Request.Spec.Driver = s.Becomes
	if file := s.reader.PluginBinary; file != "" {
		s.Request.Spec.Driver += "@" + file
	}
	s.Request.Address = s.login.IPAddress
	return true
}

func (s *subject) generic() bool {
	if s.login.IPAddress == "" {
		s.refuse("", "its config.json has no address of its host")
		return false
	}
	s.Request.Spec.DriverOptions = s.options()
	s.Request.Address = s.login.IPAddress
	return true
}

func (s *subject) none() bool {
	s.Address = s.login.URL
	s.Request.Spec.DriverOptions = s.options()
	if len(s.Request.Spec.DriverOptions) == 0 {
		s.refuse("", "its config.json has no address of an engine")
		return false
	}
	return true
}

// google is the machine on the same instance, which is taken over and never made.
func (s *subject) google() bool {
	if name := s.login.MachineName; name != s.Name {
		s.refuse("give its folder that name again", "its instance at Google is called %q, and instances go by the names of their machines", name)
		return false
	}
	s.Request.Spec.DriverOptions = append(s.options(), &controllerv1.DriverOption{Name: "google-use-existing", Values: []string{"true"}})
	s.Request.Address = s.login.IPAddress
	for _, o := range s.Request.Spec.DriverOptions {
		if o.GetContent() != nil {
			return true // rancher-machine keeps the credential there
		}
	}
	option, name, err := s.reader.Credential(s.Driver)
	switch {
	case err != nil:
		s.refuse("", "no credential for %s: %s", s.Driver, err)
		return false
	case name != "":
		s.Request.Spec.Credential = name
	case option == nil:
		s.refuse("set GOOGLE_APPLICATION_CREDENTIALS, or name a stored one with --credential", "no credential for %s is to be found", s.Driver)
		return false
	default:
		s.Request.Spec.DriverOptions = append(s.Request.Spec.DriverOptions, option)
	}
	return true
}

// options are the driver's flags, as its object has them under docker-machine's names.
func (s *subject) options() []*controllerv1.DriverOption {
	var fields map[string]any
	decoder := json.NewDecoder(strings.NewReader(string(s.config.Driver)))
	decoder.UseNumber()
	if decoder.Decode(&fields) != nil {
		return nil
	}
	var options []*controllerv1.DriverOption
	for _, f := range s.reader.Flags[s.Driver] {
		values := texts(fields[state.FieldName(s.Driver, f.GetName())])
		if len(values) == 0 || f.GetName() == "google-use-existing" {
			continue
		}
		option := &controllerv1.DriverOption{Name: f.GetName()}
		switch f.GetKind() {
		case controllerv1.DriverFlag_KIND_VALUE:
			option.Values = values
		case controllerv1.DriverFlag_KIND_SECRET:
			option.Content = []byte(values[0])
		default: // paths, which are followed elsewhere
			continue
		}
		options = append(options, option)
	}
	return options
}

// texts are a field's values as a command line would have them; none for an empty one.
func texts(value any) []string {
	switch v := value.(type) {
	case string:
		if v != "" {
			return []string{v}
		}
	case json.Number:
		if v.String() != "0" {
			return []string{v.String()}
		}
	case bool:
		return []string{strconv.FormatBool(v)}
	case []any:
		var all []string
		for _, one := range v {
			all = append(all, texts(one)...)
		}
		return all
	}
	return nil
}
