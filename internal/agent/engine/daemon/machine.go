package daemon

import (
	"slices"
	"strconv"
	"strings"

	"mctl/internal/host"
)

// MachineProgram is where docker-machine looks for dockerd, wherever the distribution has it.
const MachineProgram = "/usr/bin/dockerd"

// systemContainerd is what dockerd finds by itself.
const systemContainerd = "/run/containerd/containerd.sock"

// MachineCommand is the command line that docker-machine writes for a machine, word by word.
func MachineCommand(h host.HandOver) []string {
	words := []string{MachineProgram, "-H", "tcp://0.0.0.0:" + strconv.Itoa(int(h.Port)), "-H", "unix:///var/run/docker.sock"}
	if h.Engine.StorageDriver != "" {
		words = append(words, "--storage-driver", h.Engine.StorageDriver)
	}
	words = append(words, "--tlsverify", "--tlscacert", "/etc/docker/ca.pem", "--tlscert", "/etc/docker/server.pem", "--tlskey", "/etc/docker/server-key.pem")
	add := func(flag string, values []string) {
		for _, value := range values {
			words = append(words, "--"+flag, value)
		}
	}
	add("label", append(slices.Clone(h.Engine.Labels), "provider="+h.Provider))
	add("insecure-registry", h.Engine.InsecureRegistries)
	add("registry-mirror", h.Engine.RegistryMirrors)
	for _, option := range h.Engine.Options {
		words = append(words, "--"+option)
	}
	return words
}

// Inherit adds the flags of a unit's command line to a machine's options, which win. docker-machine replaces that command line, and would
// lose them, such as the folder of all containers. What it sets itself stays out, as does live-restore=false, which is dockerd's own
// choice.
func Inherit(engine host.Engine, held []Option) host.Engine {
	engine.Labels, engine.Options = labels(engine.Labels), slices.DeleteFunc(slices.Clone(engine.Options), idle)
	engine.InsecureRegistries, engine.RegistryMirrors = slices.Clone(engine.InsecureRegistries), slices.Clone(engine.RegistryMirrors)
	own := slices.Clone(engine.Options)
	for _, o := range held {
		switch {
		case o.Flag == "host", isTLS(o.Flag), o.Flag == "storage-driver", o.Flag == "containerd" && o.Value == systemContainerd, idle(o.String()):
		case o.Flag == "label":
			name, _, _ := strings.Cut(o.Value, "=")
			same := func(label string) bool { return label == o.Value || strings.HasPrefix(label, name+"=") }
			if name != "provider" && !slices.ContainsFunc(engine.Labels, same) {
				engine.Labels = append(engine.Labels, o.Value)
			}
		case o.Flag == "insecure-registry":
			engine.InsecureRegistries = with(engine.InsecureRegistries, o.Value)
		case o.Flag == "registry-mirror":
			engine.RegistryMirrors = with(engine.RegistryMirrors, o.Value)
		default:
			s, _ := settingOf(o.Flag)
			given := func(option string) bool { return option == o.Flag || strings.HasPrefix(option, o.Flag+"=") }
			if s.repeatable() || !slices.ContainsFunc(own, given) {
				engine.Options = with(engine.Options, o.String())
			}
		}
	}
	return engine
}

// idle reports whether an option says what dockerd does anyway.
func idle(option string) bool { return option == "live-restore=false" }

func with(values []string, value string) []string {
	if slices.Contains(values, value) {
		return values
	}
	return append(values, value)
}

// repeatable reports whether a flag may be given several times.
func (s setting) repeatable() bool {
	switch s.kind {
	case list, mapping, features, ulimits, runtimes, pools, networkOpts:
		return true
	case text, number, boolean, proxy, flagOnly, refused:
	}
	return false
}

// Clash returns a key of daemon.json that a command line sets as well, which dockerd refuses; empty for none.
func Clash(words []string, document Document) string {
	for _, o := range ParseArguments(words[1:]) {
		key := o.Flag
		if s, known := settingOf(o.Flag); known && s.key != "" {
			key = s.key
		}
		if o.Flag == "host" {
			key = "hosts"
		}
		if _, there := document.value(key); there {
			return key
		}
	}
	return ""
}
