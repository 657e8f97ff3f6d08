package plugin

import (
	"cmp"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"mctl/internal/controller/driver"
	"mctl/internal/controller/driver/plugin/wire"
	"mctl/internal/fault"
)

// Flags of ours, for every plugin.
const (
	flagLimit = "plugin-limit"
	flagPoll  = "plugin-poll"

	defaultLimit = 20 * time.Minute
	defaultPoll  = 5 * time.Second
)

const (
	maxFlags = 250
	maxUsage = 300
)

var flagName = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$`)

// secretName is what a flag is called whose value nobody may see; fileName one that takes a path with whoever calls, or the
// text itself, which is why a text that names no file is sent as it is.
var (
	secretName = regexp.MustCompile(`(?i)(^|[-_.])(passwords?|passwd|passphrase|pass|tokens?|secrets?|credentials?)([-_.]|$)|key$|private-?key|auth-(encoded-)?json|kube-?config`)
	fileName   = regexp.MustCompile(`(?i)([-_.](path|file)|key-?(path|file)|(ssh|private)-?key|cert|certificate|-ca|user-?data|custom-?data|cloud-?(init|config))$`)
)

// schemaOf is what a plugin's flags are for whoever resolves them. A plugin whose flags can't be told apart, from one another or
// from ours, is fault.Precondition.
func schemaOf(name string, flags []wire.Flag) ([]driver.Flag, error) {
	refuse := func(format string, args ...any) ([]driver.Flag, error) {
		return nil, fault.E("plugin.schema", fault.Precondition, name, fmt.Errorf("the driver %q "+format, append([]any{name}, args...)...)).
			WithHint("this is the plugin's mistake; its maker can mend it").WithReason(fault.ReasonPrecheck)
	}
	if len(flags) > maxFlags {
		return refuse("has %d flags, and %d are the limit", len(flags), maxFlags)
	}
	schema := ourFlags()
	for _, flag := range flags {
		if flag == nil || !flagName.MatchString(flag.String()) {
			return refuse("has a flag without a usable name")
		}
		made := flagOf(flag)
		if slices.ContainsFunc(schema[:2], func(f driver.Flag) bool { return f.Name == made.Name }) {
			return refuse("has a flag --%s, which mctl has itself", made.Name)
		}
		if slices.ContainsFunc(schema, func(f driver.Flag) bool { return f.Name == made.Name }) {
			return refuse("has the flag --%s twice", made.Name)
		}
		schema = append(schema, made)
	}
	return schema, nil
}

func ourFlags() []driver.Flag {
	return []driver.Flag{
		{
			Name: flagLimit, Env: "MCTL_PLUGIN_LIMIT", Type: driver.String, Kind: driver.Value, Default: []string{defaultLimit.String()},
			Usage: "How long one call of the plugin may take",
		}, {
			Name: flagPoll, Env: "MCTL_PLUGIN_POLL", Type: driver.String, Kind: driver.Value, Default: []string{defaultPoll.String()},
			Usage: "How often the plugin is asked during its Create what it has made; 0 for never",
		},
	}
}

func flagOf(flag wire.Flag) driver.Flag {
	made := driver.Flag{Name: flag.String(), Kind: driver.Value}
	switch f := flag.(type) {
	case *wire.StringFlag:
		made.Type, made.Usage, made.Env = driver.String, f.Usage, f.EnvVar
		switch {
		case fileName.MatchString(f.Name):
			made.Kind = driver.Upload
		case secretName.MatchString(f.Name):
			made.Kind = driver.Secret
		case f.Value != "":
			made.Default = shown([]string{f.Value})
		}
		// The default of one that is sent as content stays with us: it is sent when nothing comes.
	case *wire.IntFlag:
		made.Type, made.Usage, made.Env, made.Default = driver.Int, f.Usage, f.EnvVar, []string{strconv.Itoa(f.Value)}
	case *wire.StringSliceFlag:
		made.Type, made.Usage, made.Env = driver.StringList, f.Usage, f.EnvVar
		if secretName.MatchString(f.Name) {
			made.Kind = driver.Secret
		} else {
			made.Default = shown(f.Value)
		}
	case *wire.BoolFlag:
		made.Type, made.Usage, made.Env = driver.Bool, f.Usage, f.EnvVar
	}
	if made.Usage = printable(made.Usage, maxUsage); made.Usage == "" {
		made.Usage = "The plugin says nothing about it"
	}
	made.Env = strings.ReplaceAll(printable(made.Env, maxUsage), " ", "")
	return made
}

// shown is a default as people see it. One that can't be shown as it is stays with us: it is sent when nothing comes.
func shown(values []string) []string {
	if slices.ContainsFunc(values, func(value string) bool { return printable(value, maxUsage) != value }) {
		return nil
	}
	return slices.Clone(values)
}

// shared are the create flags of docker-machine that every driver reads, besides its own, as it sends them when nobody gives
// any. A driver opens the swarm's port for a master, which every manager of ours is to it.
func shared(name string, swarm driver.Swarm) map[string]any {
	return map[string]any{
		"driver": name, "engine-install-url": "https://get.docker.com", "engine-storage-driver": "",
		"swarm": swarm.Member, "swarm-master": swarm.Manager != 0, "swarm-experimental": false, "swarm-addr": "", "swarm-discovery": swarm.Discovery,
		"swarm-host": cmp.Or(swarm.Host, "tcp://0.0.0.0:3376"), "swarm-image": "swarm:latest", "swarm-strategy": "spread",
	}
}

// valuesOf gives every flag of a plugin its value. Files were uploaded to the paths given.
func valuesOf(name string, swarm driver.Swarm, flags []wire.Flag, options driver.Options, files map[string]string) map[string]any {
	values := shared(name, swarm)
	for _, flag := range flags {
		option, given := options[flag.String()]
		value := flag.Default()
		switch f := flag.(type) {
		case *wire.StringFlag:
			switch {
			case files[f.Name] != "":
				value = files[f.Name]
			case given && flagOf(f).Kind == driver.Value:
				value = options.String(f.Name)
			case given:
				value = string(option.Content)
			}
		case *wire.IntFlag:
			if given {
				value = options.Int(f.Name)
			}
		case *wire.StringSliceFlag:
			switch {
			case option.Content != nil:
				value = options.Contents(f.Name)
			case given:
				value = option.Values
			}
		case *wire.BoolFlag:
			value = options.Bool(f.Name)
		}
		values[flag.String()] = value
	}
	return values
}

// duration reads a flag of ours that has been validated.
func duration(options driver.Options, name string, fallback time.Duration) time.Duration {
	if d, err := time.ParseDuration(options.String(name)); err == nil {
		return d
	}
	return fallback
}

func validate(options driver.Options) error {
	for name, least := range map[string]time.Duration{flagLimit: time.Second, flagPoll: 0} {
		text := options.String(name)
		if d, err := time.ParseDuration(text); text != "" && (err != nil || d < least || d > 24*time.Hour) {
			return fault.E("plugin.Validate", fault.Invalid, name, fmt.Errorf("--%s: bad time %q", name, text)).
				WithHint("give a time such as 90s or 10m, 24h at most").WithReason(fault.ReasonUsage)
		}
	}
	return nil
}
