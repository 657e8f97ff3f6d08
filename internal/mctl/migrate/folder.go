package migrate

import (
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"

	"google.golang.org/protobuf/proto"

	"mctl/internal/fault"
	"mctl/internal/mctl/credential"
	"mctl/internal/mctl/legacy"
	"mctl/internal/mctl/state"
	controllerv1 "mctl/proto/mctl/controller/v1"
)

// write puts a machine's folder into the store, whole or not at all.
func (e *exporter) write(ctx context.Context, r *controllerv1.ExportMachineResponse, folder string) error {
	m := r.GetMachine()
	files := map[string][]byte{}
	if e.opts.secrets && len(r.GetSshKey()) > 0 {
		files["id_rsa"] = r.GetSshKey()
		if public, err := credential.AuthorizedLine(r.GetSshKey()); err == nil {
			files["id_rsa.pub"] = public
		}
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
	e.sweep(parent, m)
	staged, err := os.MkdirTemp(parent, "."+m.GetName()+"-")
	if err != nil {
		return state.Trouble(parent, err)
	}
	defer os.RemoveAll(staged)
	if err := state.WriteFile(filepath.Join(staged, exportMark), mark(m.GetUid(), e.opts.release), 0o600); err != nil { // first, for sweep
		return err
	}
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

// sweep removes what an export that was killed left of a machine beside its folder: it has keys.
func (e *exporter) sweep(parent string, m *controllerv1.Machine) {
	entries, _ := os.ReadDir(parent) // what can't be listed is told when it is written
	for _, entry := range entries {
		if !strings.HasPrefix(entry.Name(), "."+m.GetName()+"-") {
			continue
		}
		left := filepath.Join(parent, entry.Name())
		if uid, _, there := readMark(left); there && uid == m.GetUid() {
			os.RemoveAll(left)
		}
	}
}

// certificates adds those of docker's client to a machine's files, and those of its authority to the store. It returns where these are.
func (e *exporter) certificates(ctx context.Context, r *controllerv1.ExportMachineResponse, files map[string][]byte) (string, error) {
	authority := r.GetAuthorityCertificate()
	if len(authority) == 0 {
		return filepath.Join(e.root, "certs"), nil
	}
	docker, err := e.env.Docker(ctx)
	if err != nil {
		return "", err
	}
	own, err := docker.Ensure(ctx, r.GetMachine(), false)
	if err != nil {
		return "", err
	}
	client := []string{"cert.pem"}
	if e.opts.secrets {
		client = append(client, "key.pem")
	}
	files["ca.pem"] = authority
	for _, name := range client {
		if files[name], err = os.ReadFile(own.File(name)); err != nil {
			return "", state.Trouble(own.Path, err)
		}
	}
	certs, err := e.authorityFolder(r)
	if err != nil {
		return "", err
	}
	if err := os.MkdirAll(certs, 0o700); err != nil {
		return "", state.Trouble(certs, err)
	}
	write := func(name string, content []byte) error {
		return state.WriteFile(filepath.Join(certs, name), content, 0o600)
	}
	if err := write("ca.pem", authority); err != nil { // first: it says whose the folder is
		return "", err
	}
	if key := r.GetAuthorityKey(); e.opts.secrets && len(key) > 0 {
		if err := write("ca-key.pem", key); err != nil {
			return "", err
		}
	}
	if e.hasClient(certs, authority) {
		return certs, nil
	}
	for _, name := range client {
		if err := write(name, files[name]); err != nil {
			return "", err
		}
	}
	return certs, nil
}

// authorityFolder is where the store has the machine's authority: in certs, or below it where that is another's already. Every controller
// calls its own "default".
func (e *exporter) authorityFolder(r *controllerv1.ExportMachineResponse) (string, error) {
	certs := filepath.Join(e.root, "certs")
	present, err := state.ReadBounded(filepath.Join(certs, "ca.pem"))
	switch {
	case err == nil && bytes.Equal(present, r.GetAuthorityCertificate()), errors.Is(err, fs.ErrNotExist) && !exists(filepath.Join(certs, "ca-key.pem")):
		return certs, nil
	case err != nil && !errors.Is(err, fs.ErrNotExist):
		return "", state.Trouble(certs, err)
	}
	sum := sha256.Sum256(r.GetAuthorityCertificate())
	return filepath.Join(certs, r.GetMachine().GetStatus().GetAuthority()+"-"+hex.EncodeToString(sum[:4])), nil
}

// hasClient reports whether a folder has a client's pair of its own, with which all machines of the store that share it work: half a pair
// of ours in it would lock them out.
func (e *exporter) hasClient(certs string, authority []byte) bool {
	certificate, err := state.ReadBounded(filepath.Join(certs, "cert.pem"))
	key, keyErr := state.ReadBounded(filepath.Join(certs, "key.pem"))
	if !e.opts.secrets {
		return err == nil || keyErr == nil
	}
	pair, pairErr := tls.X509KeyPair(certificate, key)
	if err != nil || keyErr != nil || pairErr != nil {
		return false
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(authority)
	_, err = pair.Leaf.Verify(x509.VerifyOptions{Roots: roots, CurrentTime: e.env.Now(), KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}})
	return err == nil
}

// config is the machine's config.json, with the driver's own object where there is one.
func (e *exporter) config(ctx context.Context, r *controllerv1.ExportMachineResponse, folder, certs string) ([]byte, error) {
	m := r.GetMachine()
	if name := r.GetDriverName(); name != "" && len(r.GetDriverConfig()) == 0 && name != state.DriverName(m.GetSpec()) {
		m = plain(m, name)
	}
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
	if view.DriverName == genericDriver {
		view.Driver.Set("SSHKey", key)
		view.Driver.Set("EnginePort", enginePort(m))
	}
	if engine := r.GetEngine(); engine != nil {
		view.HostOptions.EngineOptions = *state.NewEngineOptions(engine)
	}
	if len(r.GetDriverConfig()) == 0 {
		return view.JSON()
	}
	return legacy.Exported{
		ConfigVersion: view.ConfigVersion, DriverName: view.DriverName, HostOptions: view.HostOptions, Name: view.Name,
		Driver: legacy.Move(r.GetDriverConfig(), r.GetStorePath(), e.root, key),
	}.JSON()
}

const genericDriver = "generic"

// plain is a machine as another driver has it, to which nothing of its own driver's means anything.
func plain(m *controllerv1.Machine, driver string) *controllerv1.Machine {
	other := proto.CloneOf(m)
	other.Spec.Driver, other.Spec.DriverOptions = driver, nil
	return other
}

// enginePort is where the engine of a machine is reached.
func enginePort(m *controllerv1.Machine) int {
	if at, err := url.Parse(m.GetStatus().GetUrl()); err == nil {
		if port, err := strconv.Atoi(at.Port()); err == nil {
			return port
		}
	}
	return 2376
}

// releaseMark is the second line of a mark whose machine was to be given back, as against one that was copied.
const releaseMark = "release"

func mark(uid string, release bool) []byte {
	if release {
		uid += "\n" + releaseMark
	}
	return []byte(uid + "\n")
}

func readMark(folder string) (uid string, release, there bool) {
	text, err := state.ReadBounded(filepath.Join(folder, exportMark))
	uid, rest, _ := strings.Cut(string(text), "\n")
	return strings.TrimSpace(uid), strings.TrimSpace(rest) == releaseMark, err == nil
}

// private refuses a store whose folders everybody may change: who can put another config.json or key in place is root on the hosts.
func (e *exporter) private() error {
	if !e.opts.secrets || runtime.GOOS == "windows" { // whose modes say nothing
		return nil
	}
	for _, folder := range []string{e.root, filepath.Join(e.root, "machines"), filepath.Join(e.root, "certs")} {
		if info, err := os.Stat(folder); err == nil && info.Mode()&0o002 != 0 && info.Mode()&fs.ModeSticky == 0 {
			return fault.E("migrate.private", fault.Precondition, folder, fmt.Errorf("everybody may write to %s, and it shall hold private keys", folder)).
				WithHint("chmod o-w it, or name another directory")
		}
	}
	return nil
}

func exists(path string) bool {
	_, err := os.Lstat(path)
	return err == nil
}
