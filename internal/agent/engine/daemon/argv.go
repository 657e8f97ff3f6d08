package daemon

import "strings"

// ParseArguments reads a command line of dockerd, without the program itself.
func ParseArguments(arguments []string) []Option {
	var options []Option
	for i := 0; i < len(arguments); i++ {
		argument := arguments[i]
		var o Option
		switch {
		case strings.HasPrefix(argument, "--"):
			flag, value, found := strings.Cut(argument[2:], "=")
			o = Option{Flag: flag, Value: value, Bare: !found}
		case len(argument) >= 2 && argument[0] == '-' && long(argument[1]) != "":
			value := strings.TrimPrefix(argument[2:], "=")
			o = Option{Flag: long(argument[1]), Value: value, Bare: value == ""}
		default:
			continue
		}
		if s, known := settingOf(o.Flag); o.Bare && takesValue(o.Flag, s, known) &&
			i+1 < len(arguments) && !strings.HasPrefix(arguments[i+1], "-") {
			i++
			o.Value, o.Bare = arguments[i], false
		}
		if o.Flag != "" {
			options = append(options, o)
		}
	}
	return options
}

func takesValue(flag string, s setting, known bool) bool {
	switch flag {
	case "tls", "tlsverify", "validate", "version", "help", "rootless", "restart":
		return false
	}
	return !known || s.kind != boolean
}

// Listeners returns the addresses beyond unix sockets and systemd's where a dockerd listens, from its flags and its
// daemon.json.
func Listeners(flags []Option, document Document) []string {
	hosts := document.Strings("hosts")
	for _, o := range flags {
		if o.Flag == "host" {
			hosts = append(hosts, o.Value)
		}
	}
	var remote []string
	for _, h := range hosts {
		scheme, _, found := strings.Cut(h, "://")
		if h != "" && (!found || scheme != "unix" && scheme != "fd") {
			remote = append(remote, h)
		}
	}
	return remote
}
