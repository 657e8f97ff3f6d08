package daemon

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"reflect"
	"slices"
	"strings"
)

// Document is daemon.json with the order of its keys and the spelling of its values kept.
type Document struct {
	keys   []string
	values map[string]json.RawMessage
}

// ParseDocument reads daemon.json; an empty file is an empty document.
func ParseDocument(content []byte) (Document, error) {
	d := Document{values: map[string]json.RawMessage{}}
	if len(bytes.TrimSpace(content)) == 0 {
		return d, nil
	}
	decoder := json.NewDecoder(bytes.NewReader(content))
	if open, err := decoder.Token(); err != nil {
		return d, err
	} else if open != json.Delim('{') {
		return d, errors.New("it does not hold an object")
	}
	for decoder.More() {
		name, err := decoder.Token()
		if err != nil {
			return d, err
		}
		var value json.RawMessage
		if err := decoder.Decode(&value); err != nil {
			return d, err
		}
		d.set(fmt.Sprint(name), value)
	}
	if _, err := decoder.Token(); err != nil {
		return d, err
	}
	if _, err := decoder.Token(); !errors.Is(err, io.EOF) {
		return d, errors.New("something follows its object")
	}
	return d, nil
}

// Bytes writes the document, indented by four blanks as Docker's manual does.
func (d Document) Bytes() []byte {
	var flat, out bytes.Buffer
	flat.WriteByte('{')
	for i, key := range d.keys {
		if i > 0 {
			flat.WriteByte(',')
		}
		flat.Write(encode(key))
		flat.WriteByte(':')
		flat.Write(d.values[key])
	}
	flat.WriteByte('}')
	// The parts were valid JSON, so the whole is.
	_ = json.Indent(&out, flat.Bytes(), "", "    ")
	out.WriteByte('\n')
	return out.Bytes()
}

// Empty reports whether there is no key.
func (d Document) Empty() bool { return len(d.keys) == 0 }

// Strings returns an array of strings; nil when the key holds something else.
func (d Document) Strings(key string) []string {
	var values []string
	if json.Unmarshal(d.values[key], &values) != nil {
		return nil
	}
	return values
}

// With returns the document with a wish merged in: arrays and objects are completed, of anything else ours counts. Of two
// labels with one name ours counts too, since dockerd refuses both.
func (d Document) With(keys map[string]any) Document {
	merged := d.clone()
	for _, key := range sorted(keys) {
		present, exists := d.value(key)
		value := combine(key, present, plain(keys[key]))
		if !exists || !reflect.DeepEqual(present, value) {
			merged.set(key, encode(value))
		}
	}
	return merged
}

// Without undoes With: what ours added is taken out of the document, and what it replaced comes back from the original.
// Whatever somebody else changed in between stays.
func (d Document) Without(ours map[string]any, original Document) Document {
	cleaned := d.clone()
	for _, key := range sorted(ours) {
		present, exists := d.value(key)
		if !exists {
			continue
		}
		before, had := original.value(key)
		value, keep := separate(key, present, plain(ours[key]), before)
		switch {
		case !keep && had:
			cleaned.set(key, original.values[key])
		case !keep:
			cleaned.remove(key)
		case !reflect.DeepEqual(value, present):
			cleaned.set(key, encode(value))
		}
	}
	return cleaned
}

// Changed returns the keys whose values differ, sorted.
func Changed(a, b Document) []string {
	var changed []string
	for _, key := range slices.Concat(a.keys, b.keys) {
		before, had := a.value(key)
		after, has := b.value(key)
		if had != has || !reflect.DeepEqual(before, after) {
			changed = append(changed, key)
		}
	}
	slices.Sort(changed)
	return slices.Compact(changed)
}

// Neutral returns b with those keys of a that b lacks, each with an empty value. dockerd keeps a value on SIGHUP whose key
// is gone, so taking one back needs a reload with this first. Only arrays, objects and booleans have such a value; ok is
// false when another is gone.
func Neutral(a, b Document) (neutral Document, ok bool) {
	neutral, ok = b.clone(), true
	for _, key := range a.keys {
		if _, has := b.values[key]; has {
			continue
		}
		switch value, _ := a.value(key); value.(type) {
		case []any:
			neutral.set(key, encode([]any{}))
		case map[string]any:
			neutral.set(key, encode(map[string]any{}))
		case bool:
			neutral.set(key, encode(false))
		default:
			ok = false
		}
	}
	return neutral, ok
}

func (d Document) value(key string) (any, bool) {
	raw, ok := d.values[key]
	if !ok {
		return nil, false
	}
	var value any
	decoder := json.NewDecoder(bytes.NewReader(raw))
	decoder.UseNumber()
	// It was decoded once already.
	_ = decoder.Decode(&value)
	return value, true
}

func (d *Document) set(key string, value json.RawMessage) {
	if _, exists := d.values[key]; !exists {
		d.keys = append(d.keys, key)
	}
	d.values[key] = value
}

func (d *Document) remove(key string) {
	delete(d.values, key)
	d.keys = slices.DeleteFunc(d.keys, func(k string) bool { return k == key })
}

func (d Document) clone() Document {
	c := Document{keys: slices.Clone(d.keys), values: map[string]json.RawMessage{}}
	for key, value := range d.values {
		c.values[key] = value
	}
	return c
}

func sorted(keys map[string]any) []string {
	var names []string
	for key := range keys {
		names = append(names, key)
	}
	slices.Sort(names)
	return names
}

// plain gives a value the types that a document's values have.
func plain(value any) any {
	d := Document{values: map[string]json.RawMessage{"": encode(value)}}
	p, _ := d.value("")
	return p
}

func encode(value any) json.RawMessage {
	var out bytes.Buffer
	encoder := json.NewEncoder(&out)
	encoder.SetEscapeHTML(false)
	// Only strings, numbers, booleans, arrays and objects come here.
	_ = encoder.Encode(value)
	return bytes.TrimSpace(out.Bytes())
}

func labelName(item any) string {
	label, _ := item.(string)
	name, _, _ := strings.Cut(label, "=")
	return name
}
