package migrate

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"mctl/internal/fault"
	"mctl/internal/mctl/cli"
	"mctl/internal/mctl/dial"
	"mctl/internal/mctl/follow"
	"mctl/internal/mctl/legacy"
	"mctl/internal/mctl/state"
	controllerv1 "mctl/proto/mctl/controller/v1"
)

// exportMark is the file that tells our folders in a store from another program's: it holds the uid of the machine.
const exportMark = ".mctl-export"

type exportOptions struct{ secrets, release bool }

func newExport(env *cli.Env) *cobra.Command {
	var opts exportOptions
	command := &cobra.Command{
		Use: "export DIR NAME...", Short: "Write machines into a store that docker-machine can read, or give them back to it",
		Long: "Without secrets it is a copy for reading. With --release hosts that came from docker-machine are given back: what was put on them is taken\n" +
			"away, dockerd serves its port itself again, its containers go on, and the machines are forgotten here.",
		Example: "mctl export ./store web\nmctl export --with-secrets ./store web db\nmctl export --with-secrets --release ~/.docker/machine web",
		RunE: func(command *cobra.Command, args []string) error {
			switch {
			case len(args) < 2:
				env.Remind(env.Help(command, command.LocalFlags()))
				return cli.Usagef("Error: Expected a directory and one or more machine names as arguments").WithHint("`mctl ls` lists the machines")
			case opts.release && !opts.secrets:
				return cli.Usagef("--release needs --with-secrets").WithHint("the old tool can do nothing without the keys")
			}
			return export(command.Context(), env, args[0], cli.Unique(args[1:]), opts)
		},
		ValidArgsFunction: func(command *cobra.Command, args []string, prefix string) ([]string, cobra.ShellCompDirective) {
			if len(args) == 0 {
				return nil, cobra.ShellCompDirectiveFilterDirs
			}
			return cli.CompleteMachines(env)(command, args, prefix)
		},
	}
	command.Flags().BoolVar(&opts.secrets, "with-secrets", false, "Write private keys and the drivers' secrets, too, readable by you alone")
	command.Flags().BoolVar(&opts.release, "release", false, "Give the hosts back, and forget the machines")
	return command
}

// exports is what an export answers with --output json.
type exports struct {
	Store    string   `json:"store"`
	Exported []string `json:"exported"`
	Released []string `json:"released,omitempty"`
}

func export(ctx context.Context, env *cli.Env, path string, names []string, opts exportOptions) error {
	root, err := filepath.Abs(path)
	if err != nil {
		return err
	}
	dir, err := env.State()
	if err != nil {
		return err
	}
	if same(root, dir.Root) {
		return fault.New("migrate.export", fault.Precondition, root, "a machine can't be exported to the state directory that it is in").
			WithHint("name another directory; `mctl import --undo` brings back what was imported in place")
	}
	client, err := env.Client(ctx)
	if err != nil {
		return err
	}
	unlock, err := lock(dir)
	if err != nil {
		return err
	}
	defer unlock()
	e := &exporter{env: env, client: client, dir: dir, root: root, opts: opts}
	answer := exports{Store: root, Exported: []string{}}
	var errs []error
	for _, name := range names {
		released, err := e.one(ctx, name)
		switch {
		case err != nil:
			errs = append(errs, cli.Wrap(err, "Error exporting machine %q: %w", name))
		case released:
			answer.Released = append(answer.Released, name)
			env.Infof("Exported %s to %s, and gave its host back", name, root)
		default:
			env.Infof("Exported %s to %s", name, root)
		}
		if err == nil {
			answer.Exported = append(answer.Exported, name)
		}
		if ctx.Err() != nil {
			return cli.Interrupted("what is exported stays so; the same command goes on with the rest")
		}
	}
	return errors.Join(errors.Join(errs...), env.Result(answer))
}

// exporter writes machines into a store.
type exporter struct {
	env    *cli.Env
	client *dial.Client
	dir    state.Dir
	root   string
	opts   exportOptions
}

// one exports a machine: its files first and whole, then its host is given back. Done again after a crash, it goes on where that was.
func (e *exporter) one(ctx context.Context, name string) (released bool, err error) {
	folder := filepath.Join(e.root, "machines", name)
	response, err := e.client.Machines.ExportMachine(ctx, &controllerv1.ExportMachineRequest{
		Name: name, WithSecrets: e.opts.secrets, ForRelease: e.opts.release,
	})
	if fault.Is(err, fault.NotFound) && e.opts.release {
		if _, there := readMark(folder); there {
			return true, nil // before a crash
		}
	}
	if err != nil {
		return false, err
	}
	m := response.GetMachine()
	if uid, there := readMark(folder); !there && exists(folder) || there && uid != m.GetUid() {
		return false, fault.E("migrate.one", fault.Exists, folder, fmt.Errorf("the folder %s is there already, and not this machine's", folder)).
			WithHint("move it away, or name another directory")
	}
	if deletion := m.GetSpec().GetDeletion(); deletion == nil { // else its files are there, and may not be complete any more
		if err := e.write(ctx, response, folder); err != nil {
			return false, err
		}
	}
	if !e.opts.release {
		return false, nil
	}
	return true, e.release(ctx, m)
}

// release gives the host back and forgets the machine.
func (e *exporter) release(ctx context.Context, m *controllerv1.Machine) error {
	progress := e.env.Progress()()
	began := e.env.Now()
	_, err := e.client.Machines.DeleteMachine(ctx, &controllerv1.DeleteMachineRequest{RequestId: cli.RequestID(), Name: m.GetName(), Release: true})
	if err == nil {
		_, err = follow.Machine(ctx, e.client, follow.Goal{Name: m.GetName(), UID: m.GetUid(), Deleted: true, Since: began, Alone: true, Progress: progress})
	}
	progress.Done(err)
	if err != nil && !fault.Is(err, fault.NotFound) {
		return err
	}
	return e.dir.Machine(m.GetName()).Remove()
}

// write puts a machine's folder into the store, whole or not at all.
func (e *exporter) write(ctx context.Context, r *controllerv1.ExportMachineResponse, folder string) error {
	m := r.GetMachine()
	files := map[string][]byte{exportMark: []byte(m.GetUid() + "\n")}
	if e.opts.secrets && len(r.GetSshKey()) > 0 {
		files["id_rsa"] = r.GetSshKey()
	}
	certs, err := e.certificates(ctx, r, files)
	if err != nil {
		return err
	}
	if files["config.json"], err = e.config(ctx, r, folder, certs); err != nil {
		return err
	}
	parent := filepath.Dir(folder)
	if err := os.MkdirAll(parent, 0o700); err != nil {
		return state.Trouble(parent, err)
	}
	staged, err := os.MkdirTemp(parent, "."+m.GetName()+"-")
	if err != nil {
		return state.Trouble(parent, err)
	}
	defer os.RemoveAll(staged)
	for name, content := range files {
		if err := state.WriteFile(filepath.Join(staged, name), content, 0o600); err != nil {
			return err
		}
	}
	aside := staged + "-before"
	if err := os.Rename(folder, aside); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return state.Trouble(folder, err)
	}
	defer os.RemoveAll(aside)
	if err := errors.Join(os.Rename(staged, folder), syncDir(parent)); err != nil {
		return state.Trouble(folder, err)
	}
	return nil
}

// certificates adds those of docker's client to a machine's files, and those of its authority to the store. It returns where these are.
func (e *exporter) certificates(ctx context.Context, r *controllerv1.ExportMachineResponse, files map[string][]byte) (string, error) {
	certs := filepath.Join(e.root, "certs")
	if len(r.GetAuthorityCertificate()) == 0 {
		return certs, nil
	}
	docker, err := e.env.Docker(ctx)
	if err != nil {
		return "", err
	}
	own, err := docker.Ensure(ctx, r.GetMachine(), false)
	if err != nil {
		return "", err
	}
	shared := map[string][]byte{"ca.pem": r.GetAuthorityCertificate()}
	names := []string{"cert.pem"}
	if e.opts.secrets {
		names = append(names, "key.pem")
		if key := r.GetAuthorityKey(); len(key) > 0 {
			shared["ca-key.pem"] = key
		}
	}
	for _, name := range names {
		if shared[name], err = os.ReadFile(own.File(name)); err != nil {
			return "", state.Trouble(own.Path, err)
		}
		files[name] = shared[name]
	}
	files["ca.pem"] = shared["ca.pem"]
	if present, err := os.ReadFile(filepath.Join(certs, "ca.pem")); err == nil && !bytes.Equal(present, shared["ca.pem"]) {
		certs = filepath.Join(certs, r.GetMachine().GetStatus().GetAuthority()) // another's are there
	}
	if err := os.MkdirAll(certs, 0o700); err != nil {
		return "", state.Trouble(certs, err)
	}
	for name, content := range shared {
		if err := state.WriteFile(filepath.Join(certs, name), content, 0o600); err != nil {
			return "", err
		}
	}
	return certs, nil
}

// config is the machine's config.json, with the driver's own object where there is one.
func (e *exporter) config(ctx context.Context, r *controllerv1.ExportMachineResponse, folder, certs string) ([]byte, error) {
	m := r.GetMachine()
	driver, err := e.client.Drivers.GetDriver(ctx, &controllerv1.GetDriverRequest{Name: m.GetSpec().GetDriver()})
	if err != nil && !fault.Is(err, fault.NotFound) {
		return nil, err
	}
	view := state.ViewOf(m, state.Dir{Root: e.root}, driver.GetDriver().GetFlags())
	auth := &view.HostOptions.AuthOptions
	auth.CertDir, auth.CaCertPath, auth.CaPrivateKeyPath = certs, filepath.Join(certs, "ca.pem"), filepath.Join(certs, "ca-key.pem")
	auth.ClientCertPath, auth.ClientKeyPath = filepath.Join(certs, "cert.pem"), filepath.Join(certs, "key.pem")
	key := ""
	if e.opts.secrets && len(r.GetSshKey()) > 0 {
		key = filepath.Join(folder, "id_rsa")
	}
	view.Driver.SSHKeyPath = key
	if len(r.GetDriverConfig()) == 0 {
		return view.JSON()
	}
	return legacy.Exported{
		ConfigVersion: view.ConfigVersion, DriverName: view.DriverName, HostOptions: view.HostOptions, Name: view.Name,
		Driver: legacy.Move(r.GetDriverConfig(), r.GetStorePath(), e.root, key),
	}.JSON()
}

func readMark(folder string) (uid string, there bool) {
	text, err := state.ReadBounded(filepath.Join(folder, exportMark))
	return strings.TrimSpace(string(text)), err == nil
}

func exists(path string) bool {
	_, err := os.Lstat(path)
	return err == nil
}
