package daemon

import (
	"net/url"
	"slices"
	"strconv"
	"strings"
)

// Yield is how a dockerd gives up a port: its listeners there go, and with the last of its TCP listeners the TLS options,
// which serve nothing else. Other listeners stay.
type Yield struct {
	Hosts []string // the listeners that go, as they are written
	Files []string // those of the TLS options
	last  bool     // no TCP listener is left
}

// NewYield finds what has a port of the flags and the daemon.json of one dockerd.
func NewYield(flags []Option, document Document, port uint16) Yield {
	var y Yield
	tls := false
	for _, o := range flags {
		on := o.Bare || o.Value != "false"
		tls = tls || on && (o.Flag == "tls" || o.Flag == "tlsverify")
	}
	for _, key := range []string{"tls", "tlsverify"} {
		on, _ := document.value(key)
		tls = tls || on == true
	}
	all := Listeners(flags, document)
	for _, host := range all {
		if portOf(host, tls) == port && !slices.Contains(y.Hosts, host) {
			y.Hosts = append(y.Hosts, host)
		}
	}
	y.last = !slices.ContainsFunc(all, func(host string) bool { return !slices.Contains(y.Hosts, host) })
	for _, o := range flags {
		if isTLS(o.Flag) && strings.HasPrefix(o.Value, "/") {
			y.Files = append(y.Files, o.Value)
		}
	}
	for _, key := range document.keys {
		value, _ := document.value(key)
		if path, ok := value.(string); ok && isTLS(key) && strings.HasPrefix(path, "/") {
			y.Files = append(y.Files, path)
		}
	}
	return y
}

// Needed reports whether there is a listener to give up.
func (y Yield) Needed() bool { return len(y.Hosts) > 0 }

// Arguments says which words of a command line stay; the first word is the program.
func (y Yield) Arguments(words []string) []bool {
	keep := make([]bool, len(words))
	for i := range keep {
		keep[i] = true
	}
	for _, a := range parseArguments(words) {
		if y.goes(a.Flag, a.Value) {
			for i := a.from; i < a.to; i++ {
				keep[i] = false
			}
		}
	}
	return keep
}

// Document returns daemon.json without what goes.
func (y Yield) Document(d Document) Document {
	left := d.clone()
	if !y.Needed() {
		return left
	}
	for _, key := range d.keys {
		if isTLS(key) && y.last {
			left.remove(key)
		}
	}
	hosts := d.Strings("hosts")
	rest := slices.DeleteFunc(slices.Clone(hosts), func(h string) bool { return y.goes("host", h) })
	switch {
	case len(rest) == len(hosts):
	case len(rest) == 0:
		left.remove("hosts")
	default:
		left.set("hosts", encode(rest))
	}
	return left
}

// Back puts into a document what Yield took out of the former one, where nobody changed it since.
func (y Yield) Back(d, former Document) Document {
	back, left := d.clone(), y.Document(former)
	since := Changed(left, d)
	for _, key := range Changed(former, left) {
		if !slices.Contains(since, key) {
			back.set(key, former.values[key])
		}
	}
	return back
}

func (y Yield) goes(flag, value string) bool {
	return y.Needed() && (flag == "host" && slices.Contains(y.Hosts, value) || y.last && isTLS(flag))
}

func isTLS(flag string) bool {
	switch flag {
	case "tls", "tlsverify", "tlscacert", "tlscert", "tlskey":
		return true
	}
	return false
}

// portOf is the TCP port of a listener as dockerd reads it; zero when it has none.
func portOf(host string, tls bool) uint16 {
	if !strings.Contains(host, "://") {
		host = "tcp://" + host
	}
	address, err := url.Parse(host)
	if err != nil || address.Scheme != "tcp" {
		return 0
	}
	if address.Port() == "" {
		if tls {
			return 2376
		}
		return 2375
	}
	port, err := strconv.ParseUint(address.Port(), 10, 16)
	if err != nil {
		return 0
	}
	return uint16(port)
}
