// Package legacy reads the stores of docker-machine and rancher-machine and says what becomes of each machine. It writes nothing and
// asks nobody.
package legacy

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"time"
	"unicode"

	"golang.org/x/sync/errgroup"

	"mctl/internal/fault"
	"mctl/internal/mctl/credential"
	controllerv1 "mctl/proto/mctl/controller/v1"
)

// Reader reads one store.
type Reader struct {
	Dir string // absolute
	Now time.Time
	// Flags are the schemas of the controller's own drivers by name: theirs are the machines that need no plugin.
	Flags map[string][]*controllerv1.DriverFlag
	// Credential is the cloud's credential for one of them, and the name of a stored one; nil and empty where there is none.
	Credential func(driver string) (*controllerv1.DriverOption, string, error)
	// PluginBinary serves the drivers of all others where it is given.
	PluginBinary string
	// Ours reports whether a folder is mctl's, and not the store's.
	Ours func(name string) bool

	mu         sync.Mutex
	files      map[string]content
	keys       map[string]authority
	signatures map[string]bool // by CA and certificate
}

// Plan is what becomes of a store.
type Plan struct {
	Store    string
	Machines []*Machine // in the order of their folders
}

// Machine is what becomes of one machine.
type Machine struct {
	Name      string
	Driver    string // as docker-machine called it; empty where nobody knows
	Becomes   string // the driver that it gets; empty where it is not imported
	Address   string
	Authority string // whose certificates it goes on with
	Problem   *Note  // why it is not imported
	Notes     []Note // what is wrong or will be different
	Request   *controllerv1.ImportMachineRequest
	Client    credential.Material // of an authority whose key is lost; empty where new ones can be issued

	calls string // what its config.json calls it
}

// Note is one thing to know, in a sentence, and what to do about it.
type Note struct {
	Message string `json:"message"`
	Hint    string `json:"hint,omitempty"`
}

func (m *Machine) note(hint, format string, args ...any) {
	m.Notes = append(m.Notes, Note{sentence(format, args...), hint})
}

func (m *Machine) refuse(hint, format string, args ...any) *Machine {
	m.Problem, m.Becomes, m.Request = &Note{sentence(format, args...), hint}, "", nil
	return m
}

// maxSentence bounds what is said, in bytes.
const maxSentence = 500

// sentence is one line of bounded length, whatever a store has in its names and paths.
func sentence(format string, args ...any) string {
	text := strings.Map(func(r rune) rune {
		if unicode.IsControl(r) {
			return '?'
		}
		return r
	}, fmt.Sprintf(format, args...))
	if len(text) > maxSentence {
		text = strings.ToValidUTF8(text[:maxSentence], "") + "..."
	}
	return text
}

// Read makes the plan. fault.Precondition for what is no store; what is wrong with single machines is in the plan.
func (r *Reader) Read() (*Plan, error) {
	folders, err := r.Folders()
	if err != nil {
		return nil, err
	}
	r.files, r.keys, r.signatures = map[string]content{}, map[string]authority{}, map[string]bool{}
	folders = slices.DeleteFunc(folders, func(name string) bool { return r.Ours != nil && r.Ours(name) })
	plan := &Plan{Store: r.Dir, Machines: make([]*Machine, len(folders))}
	var group errgroup.Group
	group.SetLimit(runtime.GOMAXPROCS(0))
	for i, name := range folders {
		group.Go(func() error { plan.Machines[i] = r.machine(name); return nil })
	}
	_ = group.Wait()
	plan.refuseCopies()
	return plan, nil
}

// Folders are the names of the folders that a store has for machines. fault.Precondition for what is no store.
func (r *Reader) Folders() ([]string, error) {
	const op = "legacy.Folders"
	entries, err := os.ReadDir(filepath.Join(r.Dir, "machines"))
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, fs.ErrInvalid) || notDirectory(err) {
		refused := fault.E(op, fault.Precondition, r.Dir, fmt.Errorf("%s is no store of docker-machine: it has no folder machines", r.Dir))
		if filepath.Base(r.Dir) == "machines" {
			return nil, refused.WithHint("name the directory that machines is in: " + filepath.Dir(r.Dir))
		}
		return nil, refused.WithHint("docker-machine's is ~/.docker/machine, or what MACHINE_STORAGE_PATH names")
	}
	if err != nil {
		return nil, fault.E(op, fault.Precondition, r.Dir, fmt.Errorf("can't read the store: %w", err)).WithHint("check its owner and mode")
	}
	var names []string
	for _, entry := range entries {
		if (entry.IsDir() || r.leads(entry)) && !strings.HasPrefix(entry.Name(), ".") {
			names = append(names, entry.Name())
		}
	}
	return names, nil
}

// leads reports whether an entry is a link to a folder, which is told and not followed.
func (r *Reader) leads(entry fs.DirEntry) bool {
	if entry.Type()&fs.ModeSymlink == 0 {
		return false
	}
	info, err := os.Stat(filepath.Join(r.Dir, "machines", entry.Name()))
	return err == nil && info.IsDir()
}

func notDirectory(err error) bool {
	var pathErr *fs.PathError
	return errors.As(err, &pathErr) && strings.Contains(pathErr.Err.Error(), "not a directory")
}

// refuseCopies leaves out folders that say that they are a machine which another folder is: both would work on one host.
func (p *Plan) refuseCopies() {
	folders := map[string]bool{}
	for _, m := range p.Machines {
		folders[m.Name] = true
	}
	for _, m := range p.Machines {
		switch {
		case m.Problem != nil || m.calls == "" || m.calls == m.Name:
		case folders[m.calls]:
			m.refuse("move the folder that is not the machine's away", "its config.json says that it is the machine %q, and there is a folder of that name, too", m.calls)
		default:
			m.note("", "its config.json calls it %q; it gets the folder's name", m.calls)
		}
	}
}
