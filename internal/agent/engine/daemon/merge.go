package daemon

import (
	"maps"
	"reflect"
	"slices"
)

// combine completes what is present by ours.
func combine(key string, present, ours any) any {
	switch o := ours.(type) {
	case []any:
		p, ok := present.([]any)
		if !ok {
			p = nil
		}
		if key == "labels" {
			p = slices.DeleteFunc(slices.Clone(p), func(item any) bool { return hasLabel(o, item) && !has(o, item) })
		}
		for _, item := range o {
			if !has(p, item) {
				p = append(slices.Clip(p), item)
			}
		}
		return p
	case map[string]any:
		p, ok := present.(map[string]any)
		if !ok {
			return o
		}
		merged := maps.Clone(p)
		for name, entry := range o {
			merged[name] = combine("", merged[name], entry)
		}
		return merged
	}
	return ours
}

// separate takes ours out of what is present; keep is false when the value as a whole goes back to what was before.
func separate(key string, present, ours, before any) (value any, keep bool) {
	switch o := ours.(type) {
	case []any:
		p, ok := present.([]any)
		if !ok {
			return present, true
		}
		b, _ := before.([]any)
		rest := slices.DeleteFunc(slices.Clone(p), func(item any) bool { return has(o, item) && !has(b, item) })
		if key == "labels" {
			for _, item := range b {
				if hasLabel(o, item) && !hasLabel(rest, item) {
					rest = append(rest, item)
				}
			}
		}
		return rest, len(rest) > 0 && !reflect.DeepEqual(rest, b)
	case map[string]any:
		p, ok := present.(map[string]any)
		if !ok {
			return present, true
		}
		b, _ := before.(map[string]any)
		rest := maps.Clone(p)
		for name, entry := range o {
			if _, there := p[name]; !there {
				continue
			}
			former, had := b[name]
			switch left, stays := separate("", p[name], entry, former); {
			case stays:
				rest[name] = left
			case had:
				rest[name] = former
			default:
				delete(rest, name)
			}
		}
		return rest, len(rest) > 0 && !reflect.DeepEqual(rest, b)
	}
	return present, !reflect.DeepEqual(present, ours)
}

func has(items []any, item any) bool {
	return slices.ContainsFunc(items, func(i any) bool { return reflect.DeepEqual(i, item) })
}

func hasLabel(items []any, label any) bool {
	return slices.ContainsFunc(items, func(i any) bool { return labelName(i) == labelName(label) })
}
