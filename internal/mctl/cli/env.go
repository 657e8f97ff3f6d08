// Package cli is what every command gets: streams, clock, environment, global flags, the state directory, and a client that
// is dialled when it is first asked for. It also turns errors into sentences and exit codes.
package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"time"

	"mctl/internal/fault"
	"mctl/internal/mctl/credential"
	"mctl/internal/mctl/dial"
	"mctl/internal/mctl/output"
	"mctl/internal/mctl/profile"
	"mctl/internal/mctl/state"
	controllerv1 "mctl/proto/mctl/controller/v1"
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
		fmt.Fprintf(e.Err, "DEBUG "+format+"\n", args...)
	}
}

// Printf writes to standard output.
func (e *Env) Printf(format string, args ...any) { fmt.Fprintf(e.Out, format, args...) }

// Infof writes a line about what is going on: to standard output, or, where that is for a document, to a terminal at
// standard error, if any.
func (e *Env) Infof(format string, args ...any) {
	switch {
	case !e.JSON():
		fmt.Fprintf(e.Out, format+"\n", args...)
	case e.ErrWidth > 0:
		fmt.Fprintf(e.Err, format+"\n", args...)
	}
}

// Progress is where a command shows what it is waiting for.
func (e *Env) Progress() output.Progress {
	switch {
	case e.JSON() && e.ErrWidth > 0:
		return output.NewSpinner(e.Err, e.Now, e.ErrWidth)
	case e.JSON():
		return output.Silent{}
	case e.Width > 0:
		return output.NewSpinner(e.Out, e.Now, e.Width)
	}
	return &output.Lines{Out: e.Out}
}

// Profiles are the controllers that are known besides the caller's own.
func (e *Env) Profiles() (profile.Store, error) {
	root, err := state.Locate(e.Global.StoragePath, e.Lookup, e.DockerMachine())
	if err != nil {
		return profile.Store{}, err
	}
	return profile.Store{Dir: state.Dir{Root: root}}, nil
}

// ContextName is the controller that is meant: by flag, by MCTL_CONTEXT, by `context use`; profile.Local for the caller's own.
func (e *Env) ContextName() (string, error) {
	name := e.Global.Context
	if name == "" {
		name = e.Getenv("MCTL_CONTEXT")
	}
	if name == "" {
		profiles, err := e.Profiles()
		if err != nil {
			return "", err
		}
		name = profiles.Current()
	}
	if name == "default" {
		name = profile.Local
	}
	return name, nil
}

// State is the state directory as the meant context sees it.
func (e *Env) State() (state.Dir, error) {
	profiles, err := e.Profiles()
	if err != nil {
		return state.Dir{}, err
	}
	name, err := e.ContextName()
	if err != nil {
		return state.Dir{}, err
	}
	dir := profiles.Dir
	if name != profile.Local {
		dir.Context = name
	}
	return dir, nil
}

// Local is the way to the caller's own controller. It is fault.Precondition where the context names another one.
func (e *Env) Local() (dial.Local, error) {
	dir, err := e.State()
	if err != nil {
		return dial.Local{}, err
	}
	if dir.Context != "" {
		return dial.Local{}, fault.New("cli.Local", fault.Precondition, dir.Context, fmt.Sprintf("the controller of context %q runs elsewhere", dir.Context)).
			WithHint("give --context local for the one that mctl starts here")
	}
	return dial.Local{Dir: dir, Lookup: e.Lookup, Debugf: e.Debugf}, nil
}

// Client connects to the controller that is meant, and starts it where it is the caller's own and does not run. The second
// call returns the same client.
func (e *Env) Client(ctx context.Context) (*dial.Client, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.client != nil {
		return e.client, nil
	}
	dir, err := e.State()
	if err != nil {
		return nil, err
	}
	if dir.Context == "" {
		e.client, err = dial.Local{Dir: dir, Lookup: e.Lookup, Debugf: e.Debugf}.Dial(ctx)
		return e.client, err
	}
	profiles, err := e.Profiles()
	if err != nil {
		return nil, err
	}
	p, err := profiles.Get(dir.Context)
	if err != nil {
		return nil, err
	}
	e.client, err = dial.Remote(ctx, profiles, p, e.Now)
	return e.client, err
}

// RunningClient is Client, but it starts nothing: fault.NotFound where none runs.
func (e *Env) RunningClient(ctx context.Context) (*dial.Client, error) {
	local, err := e.Local()
	if err != nil {
		return e.Client(ctx)
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.client == nil {
		e.client, err = local.DialRunning(ctx)
	}
	return e.client, err
}

// Close ends the connection, if there is one.
func (e *Env) Close() {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.client != nil {
		_ = e.client.Close()
		e.client = nil
	}
}

// Docker keeps the docker CLI's credentials for the meant context.
func (e *Env) Docker(ctx context.Context) (credential.Docker, error) {
	dir, err := e.State()
	if err != nil {
		return credential.Docker{}, err
	}
	return credential.Docker{Dir: dir, Now: e.Now, Sign: func(ctx context.Context, machine string, csr []byte) (*controllerv1.IssueClientCertificateResponse, error) {
		client, err := e.Client(ctx)
		if err != nil {
			return nil, err
		}
		return client.Access.IssueClientCertificate(ctx, &controllerv1.IssueClientCertificateRequest{Machine: machine, Csr: csr})
	}}, nil
}

// WriteFiles brings the machine's folder up to date: certificates for docker, pinned keys for ssh, the view for readers of
// docker-machine's files.
func (e *Env) WriteFiles(ctx context.Context, m *controllerv1.Machine, force bool) (state.Folder, error) {
	docker, err := e.Docker(ctx)
	if err != nil {
		return state.Folder{}, err
	}
	folder, err := docker.Ensure(ctx, m, force)
	if err != nil {
		return folder, err
	}
	return folder, errors.Join(
		folder.WriteKnownHosts(m.GetName(), m.GetStatus().GetSsh().GetHostKeys()),
		docker.Dir.WriteView(m),
	)
}

// RequestID names one wish, so that a repetition of its call is recognised.
func RequestID() string { return credential.RandomID() }

// OSEnv is the world as the operating system has it.
func OSEnv() *Env {
	return &Env{
		In: os.Stdin, Out: os.Stdout, Err: os.Stderr, Args: os.Args, Lookup: os.LookupEnv, Now: time.Now,
		Width: terminalWidth(os.Stdout), ErrWidth: terminalWidth(os.Stderr), InTerm: terminalWidth(os.Stdin) > 0,
	}
}
