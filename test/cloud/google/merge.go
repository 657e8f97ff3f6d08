package google

import (
	"encoding/json"
	"fmt"
)

// merge lays a JSON body over a value, as patch does: a null takes a field away.
func merge[T any](value *T, body []byte) (*T, error) {
	var changes map[string]any
	if err := json.Unmarshal(body, &changes); err != nil {
		return nil, fmt.Errorf("body: %w", err)
	}
	content, err := json.Marshal(overlay(fields(value), changes))
	if err != nil {
		return nil, err
	}
	merged := new(T)
	return merged, json.Unmarshal(content, merged)
}

func overlay(base, changes map[string]any) map[string]any {
	for name, change := range changes {
		below, isObject := change.(map[string]any)
		already, wasObject := base[name].(map[string]any)
		switch {
		case change == nil:
			delete(base, name)
		case isObject && wasObject:
			base[name] = overlay(already, below)
		default:
			base[name] = change
		}
	}
	return base
}
