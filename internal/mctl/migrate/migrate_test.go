package migrate

import (
	"bytes"
	"encoding/json"
	"errors"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"mctl/internal/fault"
	"mctl/internal/mctl/cli"
	"mctl/internal/mctl/controllertest"
	"mctl/internal/mctl/legacy"
	"mctl/internal/mctl/legacy/sample"
	controllerv1 "mctl/proto/mctl/controller/v1"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// world is a pretended controller that knows the driver generic.
func world(t *testing.T) *controllertest.Controller {
	t.Helper()
	c := controllertest.New(t)
	value := controllerv1.DriverFlag_KIND_VALUE
	c.Drivers = []*controllerv1.Driver{{Name: "generic", Flags: []*controllerv1.DriverFlag{
		{Name: "generic-ip-address", Kind: value}, {Name: "generic-ssh-user", Kind: value}, {Name: "generic-ssh-port", Kind: value},
		{Name: "generic-ssh-key", Kind: controllerv1.DriverFlag_KIND_FILE},
	}}}
	return c
}

// run runs a command and returns what it says.
func run(t *testing.T, c *controllertest.Controller, args ...string) (string, error) {
	t.Helper()
	env := c.Env(append([]string{"mctl"}, args...)...)
	defer env.Close()
	for _, command := range Commands(env) {
		if command.Name() == args[0] {
			command.SetArgs(args[1:])
			command.SilenceErrors, command.SilenceUsage = true, true
			err := command.ExecuteContext(t.Context())
			return env.Out.(*bytes.Buffer).String() + env.Err.(*bytes.Buffer).String(), err
		}
	}
	t.Fatalf("no command %s", args[0])
	return "", nil
}

func must(t *testing.T, c *controllertest.Controller, args ...string) string {
	t.Helper()
	out, err := run(t, c, args...)
	if err != nil {
		t.Fatalf("%v: %v\n%s", args, err, out)
	}
	return out
}

// fill makes a store with machines.
func fill(t *testing.T, dir string, names ...string) *sample.Store {
	t.Helper()
	s, err := sample.New(dir, "/home/user/.docker/machine")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range names {
		if err := s.Add(sample.Machine{Name: name, Address: "192.0.2.1"}); err != nil {
			t.Fatal(err)
		}
	}
	return s
}

// tree is what is in a directory: modes and contents by path.
func tree(t *testing.T, dir string) map[string]string {
	t.Helper()
	all := map[string]string{}
	err := filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := entry.Info()
		if err != nil {
			return err
		}
		inside, _ := filepath.Rel(dir, path)
		all[inside] = info.Mode().String()
		if info.Mode().IsRegular() {
			text, err := os.ReadFile(path)
			all[inside] += string(text)
			return err
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

func equal(t *testing.T, what string, a, b map[string]string) {
	t.Helper()
	for path := range a {
		if a[path] != b[path] {
			t.Errorf("%s: %s is another one", what, path)
		}
	}
	for path := range b {
		if _, there := a[path]; !there {
			t.Errorf("%s: %s is new", what, path)
		}
	}
}

func TestADryRunSaysWhatWouldHappenAndChangesNothing(t *testing.T) {
	c := world(t)
	s := fill(t, c.Dir().Root, "web")
	if _, err := s.Plant(); err != nil {
		t.Fatal(err)
	}
	before := tree(t, c.Dir().Machines())
	out := must(t, c, "import", "--dry-run", s.Dir)
	for _, part := range []string{"NAME", "web", "generic", "192.0.2.1", "to import", "its folder is empty", "hint: "} {
		if !strings.Contains(out, part) {
			t.Errorf("%q is not in\n%s", part, out)
		}
	}
	equal(t, "after a dry run", before, tree(t, c.Dir().Machines()))
	if len(names(t, c)) > 0 || len(backups(s.Dir)) > 0 {
		t.Error("something was done")
	}
}

func TestADryRunSaysOfEachMachineWhatTheImportWillSay(t *testing.T) {
	c := world(t)
	s := fill(t, t.TempDir(), "known", "new", "taken", "folder")
	if err := s.Add(sample.Machine{Name: "refused", Address: "192.0.2.1", Labels: []string{"a=b\nc"}}); err != nil {
		t.Fatal(err)
	}
	c.Put(controllertest.Running("taken", "192.0.2.77"))
	m := controllertest.Running("known", "192.0.2.1")
	config, err := os.ReadFile(filepath.Join(s.Folder("known"), "config.json"))
	if err != nil {
		t.Fatal(err)
	}
	m.Status.ImportSource = legacy.Source(config)
	c.Put(m)
	if err := os.MkdirAll(c.Dir().Machine("folder").Path, 0o700); err != nil {
		t.Fatal(err)
	}
	dry, failing := must(t, c, "import", "--dry-run", s.Dir), ""
	for name, says := range map[string]string{
		"known": known, "new": planned, "taken": `Docker machine "taken" already exists`, "folder": "not of mctl's making", "refused": "has a control character",
	} {
		for line := range strings.Lines(dry) {
			if strings.HasPrefix(line, name+" ") {
				failing = line
			}
		}
		if !strings.Contains(failing, says) {
			t.Errorf("%s: a dry run says %s", name, failing)
		}
	}
	if found := names(t, c); len(found) != 2 {
		t.Errorf("a dry run made %v", found)
	}
	env := c.Env("mctl", "import")
	defer env.Close()
	if code := env.Report("mctl import", bring(t.Context(), env, s.Dir, importOptions{})); code != cli.ExitFailure {
		t.Errorf("what the store has wrong is the command line's mistake: exit code %d", code)
	}
	out := env.Out.(*bytes.Buffer).String() + env.Err.(*bytes.Buffer).String()
	if strings.Count(out, failed) != 3 || strings.Contains(out, "--help") || !strings.Contains(out, "mend its config.json") {
		t.Error(out)
	}
}

func TestUndoAlsoForgetsWhatAnImportHadOnlyAskedForWhenItWasKilled(t *testing.T) {
	c := world(t)
	root := c.Dir().Root
	fill(t, root, "web", "db", "other")
	before := tree(t, c.Dir().Machines())
	must(t, c, "import", root)
	if err := os.Remove(c.Dir().Machine("web").File(".mctl")); err != nil { // killed between the record and the mark
		t.Fatal(err)
	}
	if err := os.Remove(c.Dir().Machine("other").File(".mctl")); err != nil {
		t.Fatal(err)
	}
	c.Put(controllertest.Running("other", "192.0.2.77")) // somebody's who used the name
	must(t, c, "import", "--undo")
	equal(t, "after undo", before, tree(t, c.Dir().Machines()))
	if left := names(t, c); !slices.Equal(left, []string{"other"}) {
		t.Errorf("the controller still knows %v", left)
	}
}

func TestTheCopyHasModesLinksAndSocketsOfWhatItCopies(t *testing.T) {
	root := t.TempDir()
	fill(t, root, "web")
	folder := filepath.Join(root, "machines", "web")
	socket, err := net.Listen("unix", filepath.Join(folder, "monitor.sock"))
	if err != nil {
		t.Fatal(err)
	}
	defer socket.Close()
	if err := errors.Join(os.Mkdir(filepath.Join(folder, "disks"), 0o700), os.Chmod(filepath.Join(folder, "disks"), 0o755), os.Symlink("config.json", filepath.Join(folder, "link"))); err != nil { //nolint:gosec // the mode is what is tested
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(folder, "disks", "disk.img"), nil, 0o640); err != nil { //nolint:gosec // the mode is what is tested
		t.Fatal(err)
	}
	if err := os.Truncate(filepath.Join(folder, "disks", "disk.img"), 2*linked); err != nil {
		t.Fatal(err)
	}
	before := tree(t, folder)
	backup, err := backUp(root, []string{"web"}, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	equal(t, "the copy", before, tree(t, filepath.Join(backup, "machines", "web")))
	if err := restore(root, backup, "web"); err != nil {
		t.Fatal(err)
	}
	equal(t, "after restore", before, tree(t, folder))
	connection, err := net.Dial("unix", filepath.Join(folder, "monitor.sock"))
	if err != nil {
		t.Fatalf("the virtual machine's socket is dead: %v", err)
	}
	_ = connection.Close()
}

func TestAnotherDirectoryIsOnlyRead(t *testing.T) {
	c := world(t)
	s := fill(t, t.TempDir(), "web", "db")
	before := tree(t, s.Dir)
	must(t, c, "import", s.Dir)
	equal(t, "the source", before, tree(t, s.Dir))
	for _, name := range []string{"web", "db"} {
		folder := c.Dir().Machine(name)
		if _, ours := folder.Mark(); !ours {
			t.Errorf("%s has no folder of ours", name)
		}
		key, err := os.ReadFile(folder.Key())
		if err != nil || string(key) != strings.TrimPrefix(before["machines/"+name+"/id_rsa"], "-rw-------") {
			t.Errorf("%s: its key: %v", name, err)
		}
	}
	if out := must(t, c, "import", s.Dir); strings.Count(out, "imported before") != 2 {
		t.Errorf("once more: %s", out)
	}
}

func TestUndoOfAnotherDirectoryForgetsItsMachinesAndTouchesNothingElse(t *testing.T) {
	c := world(t)
	s := fill(t, t.TempDir(), "web", "db", "changed", "taken")
	c.Put(controllertest.Running("taken", "192.0.2.77"))
	before := tree(t, s.Dir)
	if _, err := run(t, c, "import", s.Dir); err == nil {
		t.Fatal("a name that is taken was imported")
	}
	config := filepath.Join(s.Folder("changed"), "config.json")
	if err := os.WriteFile(config, []byte(before["machines/changed/config.json"][len("-rw-------"):]+" "), 0o600); err != nil {
		t.Fatal(err)
	}
	if out := must(t, c, "import", "--undo", s.Dir); !strings.Contains(out, "Forgot web") || !strings.Contains(out, "Forgot db") || strings.Count(out, "Forgot") != 2 {
		t.Errorf("undo says %s", out)
	}
	if left := names(t, c); !slices.Equal(left, []string{"changed", "taken"}) {
		t.Errorf("the controller knows %v", left)
	}
	if c.Dir().Machine("web").Exists() || !c.Dir().Machine("changed").Exists() {
		t.Error("the wrong folders are left")
	}
	before["machines/changed/config.json"] += " "
	equal(t, "the source", before, tree(t, s.Dir))
	if out := must(t, c, "import", "--undo", s.Dir); !strings.Contains(out, "No machine is one") {
		t.Errorf("once more: %s", out)
	}
	if _, err := run(t, c, "import", "--undo", t.TempDir()); !fault.Is(err, fault.Precondition) || fault.HintOf(err) == "" {
		t.Errorf("of what is no store: %v", err)
	}
}

func TestInPlaceTheStoreIsCopiedFirstAndBroughtBackByUndo(t *testing.T) {
	c := world(t)
	root := c.Dir().Root
	s := fill(t, root, "web", "db")
	if err := os.MkdirAll(s.Folder("empty"), 0o700); err != nil {
		t.Fatal(err)
	}
	machines, certs := tree(t, c.Dir().Machines()), tree(t, filepath.Join(root, "certs"))
	if out := must(t, c, "import", root); !strings.Contains(out, "--undo` brings it back") {
		t.Errorf("import says %s", out)
	}
	copies := backups(root)
	if len(copies) != 1 {
		t.Fatalf("copies: %v", copies)
	}
	if info, err := os.Stat(copies[0]); err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("the copy: %v %v", info.Mode(), err)
	}
	equal(t, "copied certificates", certs, tree(t, filepath.Join(copies[0], "certs")))
	delete(machines, "empty") // what is not imported is not changed either
	copied := tree(t, filepath.Join(copies[0], "machines"))
	equal(t, "copied machines", machines, copied)
	for _, name := range []string{"web", "db"} {
		if _, ours := c.Dir().Machine(name).Mark(); !ours {
			t.Errorf("%s is not ours", name)
		}
	}
	if _, ours := c.Dir().Machine("empty").Mark(); ours {
		t.Error("an empty folder became ours")
	}
	must(t, c, "import", root) // nothing is left to do
	if again := backups(root); len(again) != 1 {
		t.Errorf("copies: %v", again)
	}
	// A file of ours that comes later is gone again with undo; certificates for docker may have been written anew.
	if err := c.Dir().Machine("web").Write("cert.pem", []byte("mctl's"), 0o644); err != nil {
		t.Fatal(err)
	}
	if out := must(t, c, "import", "--undo"); strings.Count(out, "Brought back") != 2 {
		t.Errorf("undo says %s", out)
	}
	machines["empty"] = "drwx------"
	equal(t, "after undo", machines, tree(t, c.Dir().Machines()))
	if len(backups(root)) > 0 || c.Dir().Machine("web").Foreign() != true {
		t.Errorf("copies: %v", backups(root))
	}
	if _, err := run(t, c, "import", "--undo"); !fault.Is(err, fault.Precondition) || fault.HintOf(err) == "" {
		t.Errorf("undo once more: %v", err)
	}
}

func TestAnUndoThatWasCutShortIsDoneByTheNext(t *testing.T) {
	c := world(t)
	root := c.Dir().Root
	s := fill(t, root, "web", "db")
	before := tree(t, c.Dir().Machines())
	must(t, c, "import", root)
	c.Remove("web") // forgotten, and then killed with the folder aside
	if err := os.Rename(s.Folder("web"), s.Folder(".web-undone")); err != nil {
		t.Fatal(err)
	}
	must(t, c, "import", "--undo")
	equal(t, "after undo", before, tree(t, c.Dir().Machines()))
}

func TestUndoLeavesAMachineThatWasMadeSince(t *testing.T) {
	c := world(t)
	root := c.Dir().Root
	fill(t, root, "web")
	must(t, c, "import", root)
	c.Put(controllertest.Running("web", "192.0.2.77")) // removed and created anew
	if out := must(t, c, "import", "--undo"); !strings.Contains(out, "Left web") || len(backups(root)) != 1 {
		t.Errorf("%s, copies %v", out, backups(root))
	}
}

func TestAnImportThatWasKilledAfterItsCopyMakesNoSecond(t *testing.T) {
	c := world(t)
	root := c.Dir().Root
	fill(t, root, "web")
	if err := os.MkdirAll(filepath.Join(root, "."+backupPrefix+"half"), 0o700); err != nil { // and one in the middle of it
		t.Fatal(err)
	}
	for range 2 {
		if _, err := backUp(root, []string{"web"}, time.Now()); err != nil {
			t.Fatal(err)
		}
	}
	half, _ := filepath.Glob(filepath.Join(root, "."+backupPrefix+"*"))
	if len(backups(root)) != 1 || len(half) > 0 {
		t.Errorf("copies %v and %v", backups(root), half)
	}
}

func TestANameThatIsTakenFailsAndTheRestIsImported(t *testing.T) {
	c := world(t)
	c.Put(controllertest.Running("web", "192.0.2.77"))
	s := fill(t, t.TempDir(), "web", "db")
	out, err := run(t, c, "import", s.Dir)
	if err == nil || !strings.Contains(err.Error(), `Error importing machine "web"`) || !strings.Contains(out, "failed") {
		t.Errorf("%v\n%s", err, out)
	}
	if _, ours := c.Dir().Machine("db").Mark(); !ours || c.Dir().Machine("web").Exists() {
		t.Error("the wrong one was imported")
	}
}

func TestJSONHasEveryNoteAndHint(t *testing.T) {
	c := world(t)
	s := fill(t, t.TempDir(), "web")
	planted, err := s.Plant()
	if err != nil {
		t.Fatal(err)
	}
	env := c.Env("mctl", "import")
	defer env.Close()
	env.Global.Output = "json"
	if code := env.Report("mctl import", bring(t.Context(), env, s.Dir, importOptions{dryRun: true})); code != 0 {
		t.Fatal(code)
	}
	var answer report
	if err := json.Unmarshal(env.Out.(*bytes.Buffer).Bytes(), &answer); err != nil {
		t.Fatal(err)
	}
	if len(answer.Machines) != len(planted)+1 || answer.Store != s.Dir || answer.InPlace {
		t.Errorf("%+v", answer)
	}
	for _, m := range answer.Machines {
		if (m.Problem == nil) != (m.Result == planned) {
			t.Errorf("%s: %s, %v", m.Name, m.Result, m.Problem)
		}
	}
}

func TestBadCommandLinesAreRefused(t *testing.T) {
	c := world(t)
	for _, args := range [][]string{
		{"import"}, {"import", "a", "b"}, {"import", "--undo", "--dry-run"}, {"import", "--undo", "--wait"}, {"export"}, {"export", "dir"}, {"export", "--release", "dir", "web"},
	} {
		if _, err := run(t, c, args...); fault.ReasonOf(err) != fault.ReasonUsage && !strings.Contains(errText(err), "Error: Expected") {
			t.Errorf("%v: %v", args, err)
		}
	}
	if _, err := run(t, c, "import", t.TempDir()); !fault.Is(err, fault.Precondition) || !strings.Contains(err.Error(), "is no store of docker-machine") {
		t.Errorf("no store: %v", err)
	}
	if _, err := run(t, c, "export", c.Dir().Root, "web"); !fault.Is(err, fault.Precondition) {
		t.Errorf("export to the state directory: %v", err)
	}
}

func errText(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

func TestAnExportHasSecretsOnlyWhereTheyAreAskedFor(t *testing.T) {
	c := world(t)
	m := controllertest.Running("web", "192.0.2.1")
	m.Spec.Driver = "plugin:cloudy"
	c.Put(m)
	plain, whole := t.TempDir(), t.TempDir()
	must(t, c, "export", plain, "web")
	for path, content := range tree(t, plain) {
		if strings.Contains(content, "PRIVATE KEY") || strings.Contains(content, "hunter2") || strings.Contains(content, "key to web") {
			t.Errorf("%s has a secret", path)
		}
	}
	for range 2 { // it may be repeated
		must(t, c, "export", "--with-secrets", whole, "web")
	}
	files := tree(t, whole)
	for path, content := range files {
		if !strings.HasPrefix(content, "d") && !strings.HasPrefix(content, "-rw-------") {
			t.Errorf("%s may be read by others", path)
		}
	}
	if files["machines/web/id_rsa"] != "-rw-------key to web" || files["certs/ca-key.pem"] != "-rw-------authority's key" || files["machines/web/key.pem"] == "" {
		t.Errorf("keys are missing: %v", files)
	}
	var config struct {
		ConfigVersion int
		DriverName    string
		Driver        map[string]string
		HostOptions   struct{ AuthOptions map[string]any }
	}
	if err := json.Unmarshal([]byte(strings.TrimPrefix(files["machines/web/config.json"], "-rw-------")), &config); err != nil {
		t.Fatal(err)
	}
	if config.ConfigVersion != 3 || config.DriverName != "cloudy" || config.Driver["Token"] != "hunter2" || config.Driver["StorePath"] != whole ||
		config.Driver["SSHKeyPath"] != filepath.Join(whole, "machines", "web", "id_rsa") || config.HostOptions.AuthOptions["CaCertPath"] != filepath.Join(whole, "certs", "ca.pem") {
		t.Errorf("%+v", config)
	}
}

func TestAFolderOfSomebodyElsesIsNotOverwritten(t *testing.T) {
	c := world(t)
	c.Put(controllertest.Running("web", "192.0.2.1"))
	s := fill(t, t.TempDir(), "web")
	before := tree(t, s.Folder("web"))
	if _, err := run(t, c, "export", s.Dir, "web"); !fault.Is(err, fault.Exists) || fault.HintOf(err) == "" {
		t.Errorf("%v", err)
	}
	equal(t, "the folder", before, tree(t, s.Folder("web")))
}

func TestAReleaseThatWasCutShortIsDoneByTheNext(t *testing.T) {
	c := world(t)
	c.Put(controllertest.Running("web", "192.0.2.1"))
	dir := t.TempDir()
	must(t, c, "export", "--with-secrets", dir, "web")
	before := tree(t, dir)
	must(t, c, "export", "--with-secrets", "--release", dir, "web") // finds its files, and gives back
	must(t, c, "export", "--with-secrets", "--release", dir, "web") // finds that it is done
	if len(tree(t, dir)) != len(before) || slices.Contains(names(t, c), "web") {
		t.Errorf("%v", names(t, c))
	}
	if _, err := run(t, c, "export", "--with-secrets", "--release", dir, "nosuch"); !fault.Is(err, fault.NotFound) {
		t.Errorf("a machine that never was: %v", err)
	}
	if !slices.Equal(c.Released(), []string{"web"}) {
		t.Errorf("asked to release %v", c.Released())
	}
	c.Put(controllertest.Running("copied", "192.0.2.2"))
	must(t, c, "export", "--with-secrets", dir, "copied")
	c.Remove("copied")
	if out, err := run(t, c, "export", "--with-secrets", "--release", dir, "copied"); !fault.Is(err, fault.NotFound) {
		t.Errorf("a machine that was copied and then removed: %v\n%s", err, out)
	}
}

func TestAMachineThatDockerMachineHasNoDriverForIsAHostWithAnAddress(t *testing.T) {
	c := world(t)
	m := controllertest.Running("web", "192.0.2.1")
	m.Spec.Driver = "nspawn"
	m.Spec.DriverOptions = []*controllerv1.DriverOption{{Name: "nspawn-image", Values: []string{"/srv/image"}}}
	c.Put(m)
	c.Exported = func(r *controllerv1.ExportMachineResponse) {
		r.DriverConfig, r.DriverName = nil, "generic"
		r.Engine = &controllerv1.EngineSpec{StorageDriver: "overlay2", Options: []string{"data-root=/data"}}
	}
	dir := t.TempDir()
	must(t, c, "export", "--with-secrets", dir, "web")
	var config struct {
		DriverName  string
		Driver      map[string]any
		HostOptions struct {
			EngineOptions struct {
				StorageDriver  string
				ArbitraryFlags []string
			}
		}
	}
	text := strings.TrimPrefix(tree(t, dir)["machines/web/config.json"], "-rw-------")
	if err := json.Unmarshal([]byte(text), &config); err != nil {
		t.Fatal(err)
	}
	key := filepath.Join(dir, "machines", "web", "id_rsa")
	if d := config.Driver; config.DriverName != "generic" || d["IPAddress"] != "192.0.2.1" || d["SSHKeyPath"] != key || d["SSHKey"] != key || d["EnginePort"] != 2376.0 || d["Image"] != nil {
		t.Errorf("%s", text)
	}
	if engine := config.HostOptions.EngineOptions; engine.StorageDriver != "overlay2" || len(engine.ArbitraryFlags) != 1 {
		t.Errorf("its engine: %+v", engine)
	}
}

func TestMachinesOfTwoAuthoritiesDoNotShareCertificates(t *testing.T) {
	c := world(t)
	for _, name := range []string{"one", "two", "three"} {
		c.Put(controllertest.Running(name, "192.0.2.1"))
	}
	c.Exported = func(r *controllerv1.ExportMachineResponse) {
		if name := r.GetMachine().GetName(); name != "one" {
			r.AuthorityCertificate = []byte("that of " + name)
		}
	}
	dir := t.TempDir()
	for range 2 {
		must(t, c, "export", "--with-secrets", dir, "one", "two", "three")
	}
	folders := map[string]string{}
	for _, name := range []string{"one", "two", "three"} {
		var config struct {
			HostOptions struct{ AuthOptions map[string]any }
		}
		text := strings.TrimPrefix(tree(t, dir)["machines/"+name+"/config.json"], "-rw-------")
		if err := json.Unmarshal([]byte(text), &config); err != nil {
			t.Fatal(err)
		}
		auth := config.HostOptions.AuthOptions
		own, err := os.ReadFile(filepath.Join(dir, "machines", name, "ca.pem"))
		if err != nil {
			t.Fatal(err)
		}
		shared, err := os.ReadFile(auth["CaCertPath"].(string))
		if err != nil || string(own) != string(shared) || filepath.Dir(auth["CaPrivateKeyPath"].(string)) != auth["CertDir"] || filepath.Dir(auth["ClientKeyPath"].(string)) != auth["CertDir"] {
			t.Errorf("%s: %v, %q and %q; %v", name, err, own, shared, auth)
		}
		folders[auth["CertDir"].(string)] = name
	}
	if len(folders) != 3 || folders[filepath.Join(dir, "certs")] != "one" {
		t.Errorf("%v", folders)
	}
}

func TestWhatCanNotBeWrittenReleasesNothing(t *testing.T) {
	c := world(t)
	c.Put(controllertest.Running("web", "192.0.2.1"))
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, []byte("no directory"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, dir := range []string{file, "/proc/nowhere"} { // where even root can't write
		if _, err := run(t, c, "export", "--with-secrets", "--release", dir, "web"); err == nil {
			t.Errorf("%s: it succeeded", dir)
		}
	}
	if _, err := run(t, c, "export", "--with-secrets", "--release", t.TempDir(), "../web"); !fault.Is(err, fault.NotFound) {
		t.Errorf("a name that is a path: %v", err)
	}
	if !slices.Contains(names(t, c), "web") {
		t.Error("the machine is gone, and its files are nowhere")
	}
}

func names(t *testing.T, c *controllertest.Controller) []string {
	t.Helper()
	env := c.Env("mctl")
	defer env.Close()
	all, err := env.List(t.Context(), controllerv1.MachineView_MACHINE_VIEW_BASIC)
	if err != nil {
		t.Fatal(err)
	}
	var found []string
	for _, m := range all {
		found = append(found, m.GetName())
	}
	return found
}
