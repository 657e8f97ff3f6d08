package cli

import (
	"context"
	"errors"
	"fmt"

	"mctl/internal/fault"
	"mctl/internal/mctl/credential"
	"mctl/internal/mctl/dial"
	"mctl/internal/mctl/profile"
	"mctl/internal/mctl/state"
	controllerv1 "mctl/proto/mctl/controller/v1"
)

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
			WithHint("give --context local for the one that is started here")
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
		e.WriteView(ctx, m),
	)
}

// View is a machine as docker-machine shows it. The driver's schema, which types its fields, comes from the controller.
func (e *Env) View(ctx context.Context, m *controllerv1.Machine) (state.View, error) {
	dir, err := e.State()
	if err != nil {
		return state.View{}, err
	}
	client, err := e.Client(ctx)
	if err != nil {
		return state.View{}, err
	}
	driver, err := client.Drivers.GetDriver(ctx, &controllerv1.GetDriverRequest{Name: m.GetSpec().GetDriver()})
	if err != nil && !fault.Is(err, fault.NotFound) {
		return state.View{}, err
	}
	return state.ViewOf(m, dir, driver.GetDriver().GetFlags()), nil
}

// WriteView refreshes the view in the machine's folder.
func (e *Env) WriteView(ctx context.Context, m *controllerv1.Machine) error {
	dir, err := e.State()
	if err != nil {
		return err
	}
	view, err := e.View(ctx, m)
	if err != nil {
		return err
	}
	return dir.Machine(m.GetName()).WriteView(view)
}
