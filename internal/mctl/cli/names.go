package cli

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"path/filepath"
	"strings"

	"mctl/internal/fault"
	"mctl/internal/mctl/dial"
	"mctl/internal/mctl/output"
	controllerv1 "mctl/proto/mctl/controller/v1"
)

// defaultMachine is meant where no machine is named, if it exists.
const defaultMachine = "default"

// ErrOneMachine is docker-machine's sentence for a second name.
func ErrOneMachine() error {
	return Failf("Error: Expected one machine name as an argument").WithHint("`mctl ls` lists the machines")
}

// Machine returns the machine that the arguments name: the first one, or `default`.
func (e *Env) Machine(ctx context.Context, args []string) (*controllerv1.Machine, error) {
	if len(args) > 0 {
		return e.Get(ctx, args[0])
	}
	m, err := e.Get(ctx, defaultMachine)
	if fault.Is(err, fault.NotFound) {
		return nil, Failf("Error: No machine name(s) specified and no %q machine exists", defaultMachine).WithHint("name a machine; `mctl ls` lists them")
	}
	return m, err
}

// Machines returns all machines that the arguments name, or `default`. Where one is unknown, the error names each such.
func (e *Env) Machines(ctx context.Context, args []string) ([]*controllerv1.Machine, error) {
	if len(args) == 0 {
		m, err := e.Machine(ctx, nil)
		if err != nil {
			return nil, err
		}
		return []*controllerv1.Machine{m}, nil
	}
	var machines []*controllerv1.Machine
	var failed []error
	for _, name := range Unique(args) {
		m, err := e.Get(ctx, name)
		if err != nil {
			failed = append(failed, err)
		}
		machines = append(machines, m)
	}
	return machines, errors.Join(failed...)
}

// Get returns one machine.
func (e *Env) Get(ctx context.Context, name string) (*controllerv1.Machine, error) {
	client, err := e.Client(ctx)
	if err != nil {
		return nil, err
	}
	response, err := client.Machines.GetMachine(ctx, &controllerv1.GetMachineRequest{Name: name})
	if fault.Is(err, fault.NotFound) {
		e.Forget(ctx, name)
	}
	if err != nil {
		return nil, e.foreign(name, err)
	}
	m := response.GetMachine()
	if m.GetName() != name { // it names files, so a controller far away has no say in it
		return nil, fault.New("cli.Get", fault.Internal, name, fmt.Sprintf("asked for machine %q, the controller answered with %q", name, m.GetName()))
	}
	return m, nil
}

// foreign adds what there is in place of a machine that ls shows and nobody knows.
func (e *Env) foreign(name string, err error) error {
	if dir, dirErr := e.State(); dirErr == nil && fault.Is(err, fault.NotFound) && dir.Machine(name).Foreign() {
		return fault.E("cli.Get", fault.NotFound, name, err).WithHint("its folder is another program's, and not imported")
	}
	return err
}

// Forget removes the caller's folder of a machine that somebody else has removed: readers of the directory would go on
// taking it for one. It is nobody's business where that fails.
func (e *Env) Forget(ctx context.Context, name string) {
	dir, err := e.State()
	if err != nil {
		return
	}
	folder := dir.Machine(name)
	mark, ours := folder.Mark()
	if !ours || folder.Name != filepath.Base(name) {
		return
	}
	client, err := e.Client(ctx)
	if err != nil {
		return
	}
	// Once more: the machine may have been made since somebody looked, but not before its folder had the mark.
	if _, err := client.Machines.GetMachine(ctx, &controllerv1.GetMachineRequest{Name: name}); !fault.Is(err, fault.NotFound) {
		return
	}
	info, err := client.System.GetInfo(ctx, &controllerv1.GetInfoRequest{})
	if err != nil {
		return
	}
	if err := folder.Forget(mark, info.GetControllerId()); err != nil {
		e.Debugf("forget %s: %v", name, err)
	}
}

// List returns all machines in natural order, as much of each as view says.
func (e *Env) List(ctx context.Context, view controllerv1.MachineView) ([]*controllerv1.Machine, error) {
	var machines []*controllerv1.Machine
	for page, err := range e.Pages(ctx, view) {
		if err != nil {
			return nil, err
		}
		machines = append(machines, page...)
	}
	return machines, nil
}

// Pages are all machines in natural order, some at a time, for who need not hold them all. It ends with the first error.
func (e *Env) Pages(ctx context.Context, view controllerv1.MachineView) iter.Seq2[[]*controllerv1.Machine, error] {
	return func(yield func([]*controllerv1.Machine, error) bool) {
		client, err := e.Client(ctx)
		if err != nil {
			yield(nil, err)
			return
		}
		pagesOf(ctx, client, view)(yield)
	}
}

func pagesOf(ctx context.Context, client *dial.Client, view controllerv1.MachineView) iter.Seq2[[]*controllerv1.Machine, error] {
	return func(yield func([]*controllerv1.Machine, error) bool) {
		for token := ""; ; {
			page, err := client.Machines.ListMachines(ctx, &controllerv1.ListMachinesRequest{PageToken: token, View: view})
			token = page.GetNextPageToken()
			if !yield(page.GetMachines(), err) || err != nil || token == "" {
				return
			}
		}
	}
}

// Unique drops repetitions and keeps the order.
func Unique(names []string) []string {
	seen := map[string]bool{}
	var unique []string
	for _, name := range names {
		if !seen[name] {
			seen[name] = true
			unique = append(unique, name)
		}
	}
	return unique
}

// Confirm asks a question that is answered by y or n. It returns io.EOF where nobody is there to answer.
func (e *Env) Confirm(question string) (bool, error) {
	out := e.Out
	if e.JSON() {
		out = e.Err
	}
	_, _ = io.WriteString(out, output.Plain(question)+" (y/n): ")
	// One word, as docker-machine read it; a line bounds it.
	line, err := bufio.NewReader(io.LimitReader(e.In, 4096)).ReadString('\n')
	word, _, _ := strings.Cut(strings.TrimSpace(line), " ")
	if word == "" && err != nil {
		return false, io.EOF
	}
	return strings.HasPrefix(strings.ToLower(word), "y"), nil
}
