// Package cli is what every command gets: streams, clock, environment, global flags, the state directory, and a client that
// is dialled when it is first asked for. It also turns errors into sentences and exit codes.
package cli

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"time"

	"mctl/internal/mctl/credential"
	"mctl/internal/mctl/dial"
	"mctl/internal/mctl/output"
	"mctl/internal/mctl/state"
)

// Env is the world of one command.
type Env struct {
	In       io.Reader
	Out, Err io.Writer
	Args     []string // as we were called, the program's name first
	Lookup   state.Lookup
	Now      func() time.Time
	Width    int // of the terminal at Out in columns; zero where Out is none
	ErrWidth int // the same for Err
	InTerm   bool

	Global Global

	mu     sync.Mutex
	client *dial.Client
	lost   error // why text did not get to Out, see Report

	result   any  // for --output json, kept until it is known how the command ends
	streamed bool // documents were written as they came
}

// Global are the flags that stand before the command.
type Global struct {
	Debug       bool
	StoragePath string
	Output      string // text or json
	Context     string
	NativeSSH   bool
}

// App is the name we were called by.
func (e *Env) App() string {
	if len(e.Args) == 0 {
		return "mctl"
	}
	return filepath.Base(e.Args[0])
}

// DockerMachine reports whether we were called by our predecessor's name.
func (e *Env) DockerMachine() bool { return e.App() == "docker-machine" }

// Getenv returns a variable of the caller's environment, or nothing.
func (e *Env) Getenv(name string) string {
	value, _ := e.Lookup(name)
	return value
}

// JSON reports whether documents are wanted instead of text.
func (e *Env) JSON() bool { return e.Global.Output == "json" }

// Check refuses global flags and variables that make no sense.
func (e *Env) Check() error {
	if text := e.Getenv("MACHINE_DEBUG"); text != "" {
		debug, err := strconv.ParseBool(text)
		if err != nil {
			return Failf("Error parsing boolean value from MACHINE_DEBUG: %s", err)
		}
		e.Global.Debug = e.Global.Debug || debug
	}
	if text := e.Getenv("MACHINE_NATIVE_SSH"); text != "" && !e.Global.NativeSSH {
		e.Global.NativeSSH, _ = strconv.ParseBool(text)
	}
	if e.Global.Output != "text" && e.Global.Output != "json" {
		return Usagef("--output is text or json, not %q", e.Global.Output)
	}
	return nil
}

// Debugf writes a line for programmers if they asked for it.
func (e *Env) Debugf(format string, args ...any) {
	if e.Global.Debug {
		fmt.Fprintln(e.Err, output.Plain("DEBUG "+fmt.Sprintf(format, args...)))
	}
}

// Printf writes to standard output.
func (e *Env) Printf(format string, args ...any) {
	_, _ = io.WriteString(spoken{e}, output.Plain(fmt.Sprintf(format, args...)))
}

// spoken is standard output for those who go on whether they are heard or not: that text was lost is told when the command
// ends.
type spoken struct{ env *Env }

func (s spoken) Write(text []byte) (int, error) {
	n, err := s.env.Out.Write(text)
	if err != nil {
		s.env.mu.Lock()
		defer s.env.mu.Unlock()
		s.env.lost = err
	}
	return n, err
}

// Infof writes a line about what is going on: to standard output, or, where that is for a document, to a terminal at
// standard error, if any.
func (e *Env) Infof(format string, args ...any) {
	line := output.Plain(fmt.Sprintf(format, args...)) + "\n"
	switch {
	case !e.JSON():
		_, _ = io.WriteString(spoken{e}, line)
	case e.ErrWidth > 0:
		_, _ = io.WriteString(e.Err, line)
	}
}

// Progress returns the places where a command shows what it is waiting for, one for each call: lines in a pipe, a board on
// a terminal, nothing beside a document.
func (e *Env) Progress() func() output.Progress {
	if e.JSON() || e.Width > 0 {
		return e.Live()
	}
	lines := &output.Lines{Out: spoken{e}}
	return func() output.Progress { return lines }
}

// Live is Progress for those who watch at a terminal; there is nothing of it in a pipe.
func (e *Env) Live() func() output.Progress {
	out, width := e.Out, e.Width
	if e.JSON() {
		out, width = e.Err, e.ErrWidth
	}
	switch {
	case width == 0:
		return func() output.Progress { return output.Silent{} }
	case width < output.MinBoard:
		lines := &output.Lines{Out: out}
		return func() output.Progress { return lines }
	}
	return output.NewBoard(out, e.Now, width).Track
}

// RequestID names one wish, so that a repetition of its call is recognised.
func RequestID() string { return credential.RandomID() }

// OSEnv is the world as the operating system has it.
func OSEnv() *Env {
	env := &Env{
		In: os.Stdin, Out: os.Stdout, Err: os.Stderr, Args: os.Args, Lookup: os.LookupEnv, Now: time.Now,
		InTerm: terminalWidth(os.Stdin) > 0,
	}
	if env.Getenv("TERM") != "dumb" { // such a terminal can't redraw a line
		env.Width, env.ErrWidth = terminalWidth(os.Stdout), terminalWidth(os.Stderr)
	}
	return env
}
