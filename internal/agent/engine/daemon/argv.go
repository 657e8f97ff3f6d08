package daemon

import "strings"

// ParseArguments reads a command line of dockerd, without the program itself.
func ParseArguments(arguments []string) []Option {
	var options []Option
	for _, a := range parseArguments(arguments) {
		options = append(options, a.Option)
	}
	return options
}

// argument is an option and where it stands: words from, to before to.
type argument struct {
	Option
	from, to int
}

func parseArguments(arguments []string) []argument {
	var options []argument
	for i := 0; i < len(arguments); i++ {
		argued, from := arguments[i], i
		var o Option
		switch {
		case strings.HasPrefix(argued, "--"):
			flag, value, found := strings.Cut(argued[2:], "=")
			o = Option{Flag: flag, Value: value, Bare: !found}
		case len(argued) >= 2 && argued[0] == '-' && long(argued[1]) != "":
			value := strings.TrimPrefix(argued[2:], "=")
			o = Option{Flag: long(argued[1]), Value: value, Bare: value == ""}
		default:
			continue
		}
		if s, known := settingOf(o.Flag); o.Bare && takesValue(o.Flag, s, known) &&
			i+1 < len(arguments) && !strings.HasPrefix(arguments[i+1], "-") {
			i++
			o.Value, o.Bare = arguments[i], false
		}
		if o.Flag != "" {
			options = append(options, argument{o, from, i + 1})
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
