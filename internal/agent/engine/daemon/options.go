package daemon

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"mctl/internal/fault"
	"mctl/internal/host"
)

// Option is one flag of dockerd.
type Option struct {
	Flag  string // long name, without dashes
	Value string
	Bare  bool // given without a value
}

// String is the flag as users write it, without dashes.
func (o Option) String() string {
	if o.Bare {
		return o.Flag
	}
	return o.Flag + "=" + o.Value
}

// ParseOption reads flag or flag=value. Invalid for what can't be a flag and for control characters, since no file that
// we write could hold them literally.
func ParseOption(text string) (Option, error) {
	if err := host.CheckOption(text); err != nil {
		return Option{}, fault.E("daemon.ParseOption", fault.Invalid, text, err)
	}
	flag, value, found := strings.Cut(text, "=")
	return Option{Flag: flag, Value: value, Bare: !found}, nil
}

// Settings is a wish in dockerd's terms.
type Settings struct {
	Keys  map[string]any // of daemon.json
	Flags []Option       // for the unit's command line: no key, or the unit has the flag already
}

// Translate sorts options into keys of daemon.json and flags. held names the flags that the unit has: dockerd refuses a key
// that is also a flag, so they stay flags. Invalid for values of a wrong type and for flags that would serve the engine
// elsewhere.
func Translate(options []Option, held map[string]bool) (Settings, error) {
	result := Settings{Keys: map[string]any{}}
	for _, o := range options {
		s, known := settingOf(o.Flag)
		switch {
		case known && s.kind == refused:
			return Settings{}, fault.New("daemon.Translate", fault.Invalid, o.Flag,
				fmt.Sprintf("engine option %s can't be set", o.Flag)).WithHint("mctl serves the engine over TLS and manages its files itself")
		case !known || s.kind == flagOnly:
			result.Flags = append(result.Flags, o)
			continue
		}
		key, value, err := s.read(o)
		if err != nil {
			return Settings{}, fault.E("daemon.Translate", fault.Invalid, o.Flag, err)
		}
		if held[o.Flag] {
			result.Flags = append(result.Flags, o)
			continue
		}
		result.Keys[key] = join(result.Keys[key], value)
	}
	return result, nil
}

// read returns the key and the value that one option stands for.
func (s setting) read(o Option) (string, any, error) {
	wrong := func(form string) (string, any, error) {
		return "", nil, fmt.Errorf("engine option %s wants %s, not %q", o.Flag, form, o.Value)
	}
	if s.kind == boolean {
		if o.Bare {
			return s.key, true, nil
		}
		yes, err := strconv.ParseBool(o.Value)
		if err != nil {
			return wrong("true or false")
		}
		return s.key, yes, nil
	}
	if o.Bare || o.Value == "" {
		return wrong("a value")
	}
	name, value, pair := strings.Cut(o.Value, "=")
	pair = pair && name != ""
	switch s.kind {
	case number:
		n, err := strconv.ParseInt(o.Value, 10, 64)
		if err != nil {
			return wrong("a whole number")
		}
		return s.key, n, nil
	case list:
		return s.key, []any{o.Value}, nil
	case proxy:
		return "proxies", map[string]any{s.key: o.Value}, nil
	case pools:
		pool, ok := addressPool(o.Value)
		if !ok {
			return wrong("base=CIDR,size=BITS")
		}
		return s.key, []any{pool}, nil
	case mapping, features, ulimits, runtimes, networkOpts:
		if !pair {
			return wrong("name=value")
		}
		entry, ok := s.entry(name, value)
		if !ok {
			return wrong("another form of value")
		}
		return s.key, map[string]any{name: entry}, nil
	case text, boolean, flagOnly, refused:
	}
	return s.key, o.Value, nil
}

// entry is the value of one name in an object.
func (s setting) entry(name, value string) (any, bool) {
	switch s.kind {
	case features:
		yes, err := strconv.ParseBool(value)
		return yes, err == nil
	case runtimes:
		return map[string]any{"path": value}, value != ""
	case networkOpts:
		option, v, ok := strings.Cut(value, "=")
		return map[string]any{option: v}, ok && option != ""
	case ulimits:
		first, second, both := strings.Cut(value, ":")
		soft, err := strconv.ParseInt(first, 10, 64)
		hard := soft
		if err == nil && both {
			hard, err = strconv.ParseInt(second, 10, 64)
		}
		return map[string]any{"Name": name, "Soft": soft, "Hard": hard}, err == nil
	}
	return value, true
}

func addressPool(value string) (map[string]any, bool) {
	pool := map[string]any{}
	for field := range strings.SplitSeq(value, ",") {
		name, v, _ := strings.Cut(field, "=")
		switch name {
		case "base":
			pool["base"] = v
		case "size":
			size, err := strconv.ParseInt(v, 10, 64)
			if err != nil {
				return nil, false
			}
			pool["size"] = size
		default:
			return nil, false
		}
	}
	return pool, len(pool) == 2
}

// join adds a further value of a repeated flag: arrays and objects grow, the last of anything else counts.
func join(before, value any) any {
	switch v := value.(type) {
	case []any:
		if b, ok := before.([]any); ok {
			return append(slices.Clone(b), v...)
		}
	case map[string]any:
		if b, ok := before.(map[string]any); ok {
			merged := maps.Clone(b)
			for name, entry := range v {
				merged[name] = join(merged[name], entry)
			}
			return merged
		}
	}
	return value
}
