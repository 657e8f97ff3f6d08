package discovery

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/url"
	"slices"
	"strconv"
	"strings"
)

// Problem is how a request differs from what is documented.
type Problem struct {
	Kind  ProblemKind
	Where string // such as "resource.disks[0].mode"
	Text  string // a sentence about it
}

// ProblemKind is the sort of a problem.
type ProblemKind string

// The sorts of problems.
const (
	UnknownParameter ProblemKind = "unknown parameter"
	UnknownField     ProblemKind = "unknown field"
	WrongType        ProblemKind = "wrong type"
	WrongEnum        ProblemKind = "unknown enum value"
	Missing          ProblemKind = "missing"
	// WrongPattern is a value that may have come from a user: the request is as documented, and refused all the same.
	WrongPattern ProblemKind = "pattern"
)

func (p Problem) String() string { return fmt.Sprintf("%s: %s: %s", p.Kind, p.Where, p.Text) }

// CheckParameters holds a request's parameters against the method.
func (d *Document) CheckParameters(m *Method, path map[string]string, query url.Values) []Problem {
	var found []Problem
	for _, name := range sortedKeys(query) {
		s := m.Parameters[name]
		if s == nil || s.Location != "query" {
			s = d.Parameters[name]
		}
		if s == nil {
			found = append(found, Problem{UnknownParameter, name, fmt.Sprintf("%s has no parameter %q", m.ID, name)})
			continue
		}
		if len(query[name]) > 1 && !s.Repeated {
			found = append(found, Problem{WrongType, name, "the parameter is given more than once"})
		}
		for _, value := range query[name] {
			found = append(found, s.parameter(name, value)...)
		}
	}
	for _, name := range sortedKeys(m.Parameters) {
		s := m.Parameters[name]
		if value, ok := path[name]; ok {
			found = append(found, s.parameter(name, value)...)
		} else if s.Required && !query.Has(name) {
			found = append(found, Problem{Missing, name, "Required field '" + name + "' not specified"})
		}
	}
	return found
}

// parameter checks a value that comes as text.
func (s *Schema) parameter(name, text string) []Problem {
	var value any = text
	if s.Type == "boolean" || s.Type == "integer" || s.Type == "number" {
		value = json.Number(text)
		if s.Type == "boolean" {
			b, err := strconv.ParseBool(text)
			if err != nil {
				return []Problem{{WrongType, name, fmt.Sprintf("%q is no boolean", text)}}
			}
			value = b
		}
	}
	return s.scalar(name, value)
}

// CheckBody holds a request's body against the method.
func (d *Document) CheckBody(m *Method, body []byte) []Problem {
	if len(bytes.TrimSpace(body)) == 0 {
		body = []byte("{}")
	}
	if m.Request == nil {
		if !bytes.Equal(bytes.TrimSpace(body), []byte("{}")) {
			return []Problem{{UnknownField, "body", m.ID + " takes no body"}}
		}
		return nil
	}
	return d.check(m.Request, m.ID, "resource", body)
}

// CheckAnswer holds an answer's body against the method.
func (d *Document) CheckAnswer(m *Method, body []byte) []Problem {
	if m.Response == nil {
		return nil
	}
	return d.check(m.Response, "", "answer", body)
}

func (d *Document) check(s *Schema, method, where string, body []byte) []Problem {
	decoder := json.NewDecoder(bytes.NewReader(body))
	decoder.UseNumber()
	var value any
	if err := decoder.Decode(&value); err != nil {
		return []Problem{{WrongType, where, "this is no JSON: " + err.Error()}}
	}
	if _, err := decoder.Token(); !errors.Is(err, io.EOF) {
		return []Problem{{WrongType, where, "something comes after the JSON"}}
	}
	return d.value(s, method, where, value)
}

// value checks anything below. A null stands for a field that is not there.
func (d *Document) value(s *Schema, method, where string, value any) []Problem {
	if s.Ref != "" {
		s = d.Schemas[s.Ref]
	}
	if value == nil || s.Type == "any" {
		return nil
	}
	var found []Problem
	switch s.Type {
	case "object":
		object, ok := value.(map[string]any)
		if !ok {
			return []Problem{wrongType(where, "an object", value)}
		}
		for _, name := range sortedKeys(object) {
			below := s.Properties[name]
			if below == nil {
				below = s.Additional
			}
			if below == nil {
				found = append(found, Problem{UnknownField, where + "." + name, fmt.Sprintf("Unknown name %q", name)})
				continue
			}
			found = append(found, d.value(below, method, where+"."+name, object[name])...)
		}
		for _, name := range sortedKeys(s.Properties) {
			if v := object[name]; slices.Contains(s.Properties[name].Annotations.Required, method) && (v == nil || v == "") {
				found = append(found, Problem{Missing, where + "." + name, "Required field '" + where + "." + name + "' not specified"})
			}
		}
	case "array":
		array, ok := value.([]any)
		if !ok {
			return []Problem{wrongType(where, "an array", value)}
		}
		for i, item := range array {
			found = append(found, d.value(s.Items, method, fmt.Sprintf("%s[%d]", where, i), item)...)
		}
	default:
		return s.scalar(where, value)
	}
	return found
}

func (s *Schema) scalar(where string, value any) []Problem {
	switch s.Type {
	case "boolean":
		if _, ok := value.(bool); !ok {
			return []Problem{wrongType(where, "a boolean", value)}
		}
	case "integer", "number":
		number, ok := value.(json.Number)
		if !ok || !fits(string(number), s.Format) {
			return []Problem{wrongType(where, s.Format, value)}
		}
	case "string":
		text, ok := value.(string)
		if !ok {
			return []Problem{wrongType(where, "a string", value)}
		}
		return s.text(where, text)
	default:
		return []Problem{{WrongType, where, "the lab does not know the type " + s.Type}}
	}
	return nil
}

func (s *Schema) text(where, text string) []Problem {
	switch s.Format {
	case "int64", "uint64":
		if !fits(text, s.Format) {
			return []Problem{wrongType(where, "a string that holds "+s.Format, text)}
		}
	case "byte":
		if _, err := base64.StdEncoding.DecodeString(text); err != nil {
			if _, err := base64.URLEncoding.DecodeString(text); err != nil {
				return []Problem{wrongType(where, "base64", text)}
			}
		}
	}
	if len(s.Enum) > 0 && !slices.Contains(s.Enum, text) {
		return []Problem{{WrongEnum, where, fmt.Sprintf("'%s' is none of %s", text, strings.Join(s.Enum, ", "))}}
	}
	if s.pattern != nil && !s.pattern.MatchString(text) {
		return []Problem{{WrongPattern, where, fmt.Sprintf("Invalid value for field '%s': '%s'. Must be a match of regex '%s'", where, text, s.Pattern)}}
	}
	return nil
}

func fits(text, format string) bool {
	var err error
	switch format {
	case "int32":
		_, err = strconv.ParseInt(text, 10, 32)
	case "uint32":
		_, err = strconv.ParseUint(text, 10, 32)
	case "int64":
		_, err = strconv.ParseInt(text, 10, 64)
	case "uint64":
		_, err = strconv.ParseUint(text, 10, 64)
	default:
		_, err = strconv.ParseFloat(text, 64)
	}
	return err == nil
}

func wrongType(where, want string, got any) Problem {
	return Problem{WrongType, where, fmt.Sprintf("want %s, got %v", want, got)}
}

func sortedKeys[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }
