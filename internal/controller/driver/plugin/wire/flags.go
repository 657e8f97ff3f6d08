package wire

import (
	"encoding/gob"
	"sync"
)

// Flag is one create flag of a plugin: one of the pointers below.
type Flag interface {
	// String is the flag's name.
	String() string
	// Default is the value that is sent where nobody gave one; never nil.
	Default() any
}

// StringFlag takes a text.
type StringFlag struct{ Name, Usage, EnvVar, Value string }

// IntFlag takes a number.
type IntFlag struct {
	Name, Usage, EnvVar string
	Value               int
}

// StringSliceFlag may be given several times.
type StringSliceFlag struct {
	Name, Usage, EnvVar string
	Value               []string
}

// BoolFlag is false unless it is given.
type BoolFlag struct{ Name, Usage, EnvVar string }

// String implements Flag.
func (f *StringFlag) String() string { return f.Name }

// String implements Flag.
func (f *IntFlag) String() string { return f.Name }

// String implements Flag.
func (f *StringSliceFlag) String() string { return f.Name }

// String implements Flag.
func (f *BoolFlag) String() string { return f.Name }

// Default implements Flag.
func (f *StringFlag) Default() any { return f.Value }

// Default implements Flag.
func (f *IntFlag) Default() any { return f.Value }

// Default implements Flag.
func (f *StringSliceFlag) Default() any { return f.Value }

// Default implements Flag.
func (*BoolFlag) Default() any { return false }

// options is what SetConfigFromFlags takes: on the wire an interface value that holds an *rpcFlags.
type options interface{ values() map[string]any }

// rpcFlags carries values of the types string, int, bool and []string, none of them a nil interface.
type rpcFlags struct{ Values map[string]any }

func (f *rpcFlags) values() map[string]any { return f.Values }

// register tells gob the names that docker-machine gave its types on the wire. They are short because it registered
// pointers, and therefore the same in all of its forks. gob keeps them for the whole process, so it is told once.
var register = sync.OnceFunc(func() {
	gob.RegisterName("*rpcdriver.RPCFlags", new(rpcFlags))
	gob.RegisterName("*mcnflag.StringFlag", new(StringFlag))
	gob.RegisterName("*mcnflag.IntFlag", new(IntFlag))
	gob.RegisterName("*mcnflag.StringSliceFlag", new(StringSliceFlag))
	gob.RegisterName("*mcnflag.BoolFlag", new(BoolFlag))
})
