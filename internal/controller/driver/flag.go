package driver

import (
	"strconv"
	"strings"
)

// Flag is one create flag of a driver. The caller's side resolves it, from the command line or the environment, and sends
// contents, never paths.
type Flag struct {
	Name     string // without dashes, such as "nspawn-memory"
	Usage    string
	Env      string
	Type     FlagType
	Kind     FlagKind
	Default  []string // one text, or several for a list; nil for none
	Required bool
	// Scope marks a flag that says where, or as whom, the driver works: project, region, endpoint, credential. What was made
	// under the same ones is listed together.
	Scope bool
}

// FlagType is the type of a flag's value.
type FlagType int

// The types, as docker-machine had them.
const (
	String FlagType = iota + 1
	Int
	Bool
	StringList
)

// FlagKind says how the caller's side treats a value.
type FlagKind int

// The kinds.
const (
	Value  FlagKind = iota + 1 // sent as it is
	Secret                     // sent as content, a list's values with zero bytes between them; sealed, never returned
	File                       // a path with the caller; its content is sent; sealed, never returned
	// Credential is a cloud's credential: a path or the text itself; where none is given the caller's side looks where the
	// cloud's own tools look. Its content is sent; sealed, never returned. A driver has one such flag at most; its
	// Content is that of a named profile where one was chosen.
	Credential
	// Upload is a path with the caller, or the text itself where it names no file there: content is sent in both cases, with the
	// file's name as the value where there is one; sealed, never returned.
	Upload
)

// Options are resolved flags by name.
type Options map[string]Option

// Option is one resolved flag: Values for kind Value, Content for the others. An Upload of a file has its name as the value, too.
type Option struct {
	Values  []string
	Content []byte
}

// String returns the flag's text, or nothing.
func (o Options) String(name string) string {
	if v := o[name].Values; len(v) > 0 {
		return v[0]
	}
	return ""
}

// Strings returns the list.
func (o Options) Strings(name string) []string { return o[name].Values }

// Bool reports whether the flag is set to true.
func (o Options) Bool(name string) bool {
	b, _ := strconv.ParseBool(o.String(name))
	return b
}

// Int returns the number; zero when there is none. Check has refused what is no number.
func (o Options) Int(name string) int {
	n, _ := strconv.Atoi(o.String(name))
	return n
}

// Content returns the content of a secret or file flag; nil when it was not given.
func (o Options) Content(name string) []byte { return o[name].Content }

// Contents returns the list of a secret flag.
func (o Options) Contents(name string) []string {
	if o[name].Content == nil {
		return nil
	}
	return strings.Split(string(o[name].Content), "\x00")
}
