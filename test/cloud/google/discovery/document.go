// Package discovery reads an API's discovery document, and holds requests and answers against it.
package discovery

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
)

// Document is what an API documents of itself.
type Document struct {
	Revision   string             `json:"revision"`
	BasePath   string             `json:"basePath"` // such as "/compute/v1/"
	Parameters map[string]*Schema `json:"parameters"`
	Resources  map[string]struct {
		Methods map[string]*Method `json:"methods"`
	} `json:"resources"`
	Schemas map[string]*Schema `json:"schemas"`

	byShape map[shape][]*Method
}

// Method is one call.
type Method struct {
	ID         string             `json:"id"` // such as "compute.instances.insert"
	Verb       string             `json:"httpMethod"`
	Path       string             `json:"path"`
	Parameters map[string]*Schema `json:"parameters"`
	Request    *Schema            `json:"request"`
	Response   *Schema            `json:"response"`

	segments []string
}

// Schema is the type of a value.
type Schema struct {
	Ref         string             `json:"$ref"`
	Type        string             `json:"type"`
	Format      string             `json:"format"`
	Enum        []string           `json:"enum"`
	Pattern     string             `json:"pattern"`
	Location    string             `json:"location"` // of a parameter: path or query
	Required    bool               `json:"required"`
	Repeated    bool               `json:"repeated"`
	Properties  map[string]*Schema `json:"properties"`
	Additional  *Schema            `json:"additionalProperties"`
	Items       *Schema            `json:"items"`
	Annotations struct {
		Required []string `json:"required"` // ids of methods
	} `json:"annotations"`

	pattern *regexp.Regexp
}

type shape struct {
	verb     string
	segments int
}

// Load reads the document of an API that ships in a Go module, from the module cache.
func Load(ctx context.Context, module, path string) (*Document, error) {
	command := exec.CommandContext(ctx, "go", "list", "-m", "-f", "{{.Dir}}", module)
	command.Stderr = os.Stderr
	dir, err := command.Output()
	if err != nil {
		return nil, fmt.Errorf("find %s: %w", module, err)
	}
	content, err := os.ReadFile(filepath.Join(strings.TrimSpace(string(dir)), path))
	if err != nil {
		return nil, err
	}
	return Parse(content)
}

// Parse reads a document.
func Parse(content []byte) (*Document, error) {
	d := &Document{byShape: map[shape][]*Method{}}
	if err := json.Unmarshal(content, d); err != nil {
		return nil, fmt.Errorf("discovery document: %w", err)
	}
	for _, resource := range d.Resources {
		for _, m := range resource.Methods {
			m.segments = strings.Split(m.Path, "/")
			key := shape{m.Verb, len(m.segments)}
			d.byShape[key] = append(d.byShape[key], m)
			if err := compile(m.Parameters); err != nil {
				return nil, fmt.Errorf("%s: %w", m.ID, err)
			}
		}
	}
	for name, s := range d.Schemas {
		if err := compile(map[string]*Schema{name: s}); err != nil {
			return nil, err
		}
	}
	return d, nil
}

func compile(schemas map[string]*Schema) error {
	for name, s := range schemas {
		if s.Pattern != "" {
			var err error
			if s.pattern, err = regexp.Compile("^(?:" + s.Pattern + ")$"); err != nil {
				return fmt.Errorf("pattern of %s: %w", name, err)
			}
		}
		if err := compile(s.Properties); err != nil {
			return err
		}
		if s.Type == "array" && s.Items != nil && s.Items.Pattern == "" {
			s.Items.Pattern = s.Pattern // it stands with the array, and is meant for its items
		}
		for _, below := range []*Schema{s.Items, s.Additional} {
			if below != nil {
				if err := compile(map[string]*Schema{name: below}); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

// Match finds the method of a request and the values of its path's parameters. The path is relative to BasePath. Where
// several match, the one with the most literal path wins.
func (d *Document) Match(verb, path string) (*Method, map[string]string) {
	if verb == "" {
		verb = http.MethodGet
	}
	segments := strings.Split(path, "/")
	var found *Method
	var values map[string]string
	for _, m := range d.byShape[shape{verb, len(segments)}] {
		if v, ok := m.match(segments); ok && (found == nil || len(v) < len(values)) {
			found, values = m, v
		}
	}
	return found, values
}

func (m *Method) match(segments []string) (map[string]string, bool) {
	values := map[string]string{}
	for i, want := range m.segments {
		name, parameter := strings.CutPrefix(want, "{")
		switch {
		case parameter && segments[i] != "":
			values[strings.TrimSuffix(name, "}")] = segments[i]
		case want != segments[i]:
			return nil, false
		}
	}
	return values, true
}
