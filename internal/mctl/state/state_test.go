package state

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"mctl/internal/fault"
)

func lookup(pairs ...string) Lookup {
	return func(name string) (string, bool) {
		for i := 0; i < len(pairs); i += 2 {
			if pairs[i] == name {
				return pairs[i+1], true
			}
		}
		return "", false
	}
}

func TestStateDirectoryIsThatOfFlagThenEnvironmentThenHome(t *testing.T) {
	cwd, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	all := []string{"MCTL_HOME", "/m", "MACHINE_STORAGE_PATH", "/d", "HOME", "/h"}
	for name, c := range map[string]struct {
		flag   string
		lookup Lookup
		docker bool
		want   string
	}{
		"the flag":                               {"/f", lookup(all...), false, "/f"},
		"the flag, by the old name":              {"/f", lookup(all...), true, "/f"},
		"MCTL_HOME first":                        {"", lookup(all...), false, "/m"},
		"MACHINE_STORAGE_PATH first, old name":   {"", lookup(all...), true, "/d"},
		"MACHINE_STORAGE_PATH too":               {"", lookup("MACHINE_STORAGE_PATH", "/d", "HOME", "/h"), false, "/d"},
		"MCTL_HOME too, old name":                {"", lookup("MCTL_HOME", "/m", "HOME", "/h"), true, "/m"},
		"home":                                   {"", lookup("HOME", "/h"), false, "/h/.mctl"},
		"home, old name":                         {"", lookup("HOME", "/h"), true, "/h/.docker/machine"},
		"an empty variable counts as none":       {"", lookup("MCTL_HOME", "", "MACHINE_STORAGE_PATH", "", "HOME", "/h"), false, "/h/.mctl"},
		"a relative path is made absolute":       {"x/../y", lookup(), false, filepath.Join(cwd, "y")},
		"what looks odd is taken as it is given": {"/a b/$HOME/~", lookup(), false, "/a b/$HOME/~"},
	} {
		if got, err := Locate(c.flag, c.lookup, c.docker); err != nil || got != c.want {
			t.Errorf("%s: %q, %v, want %q", name, got, err, c.want)
		}
	}
	if _, err := Locate("", lookup(), false); !fault.Is(err, fault.Precondition) || fault.HintOf(err) == "" {
		t.Errorf("without HOME: %v", err)
	}
}

func TestEachContextHasFilesOfItsOwn(t *testing.T) {
	local, far := Dir{Root: "/s"}, Dir{Root: "/s", Context: "team"}
	for got, want := range map[string]string{
		local.Machine("web").Path:         "/s/machines/web",
		far.Machine("web").Path:           "/s/mctl/contexts/team/machines/web",
		local.Certs():                     "/s/certs",
		far.Certs():                       "/s/mctl/contexts/team/certs",
		far.ControllerLog():               "/s/mctl/controller.log",
		local.Machine("web").File("x"):    "/s/machines/web/x",
		local.Machine("web").KnownHosts(): "/s/machines/web/known_hosts",
	} {
		if got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}

func TestPipesInPlaceOfFilesAreNotWaitedFor(t *testing.T) {
	dir := newDir(t)
	mark, config := dir.Machine("mark"), dir.Machine("config")
	for _, path := range []string{mark.File(markFile), config.File(configFile)} {
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := syscall.Mkfifo(path, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for _, folder := range []Folder{mark, config} {
		if !folder.Foreign() {
			t.Errorf("%s is taken for ours", folder.Name)
		}
		if driver := folder.ForeignDriver(); driver != "" {
			t.Errorf("%q was read from %s", driver, folder.Name)
		}
	}
}

// newDir is an empty state directory.
func newDir(t *testing.T) Dir {
	t.Helper()
	return Dir{Root: t.TempDir()}
}

// put writes a file, with its directories.
func put(t *testing.T, path, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

// tree lists everything below a directory, with contents.
func tree(t *testing.T, root string) []string {
	t.Helper()
	var all []string
	err := filepath.WalkDir(root, func(path string, entry os.DirEntry, err error) error {
		if err != nil || path == root {
			return err
		}
		name, _ := filepath.Rel(root, path)
		if !entry.IsDir() {
			content, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			name += "=" + string(content)
		}
		all = append(all, name)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

func TestFolderIsClaimedOnceAndEmptiedForTheNextMachine(t *testing.T) {
	dir := newDir(t)
	folder := dir.Machine("web")
	for range 2 {
		if err := folder.Claim("uid1"); err != nil {
			t.Fatal(err)
		}
	}
	if err := folder.WriteKeys([]byte("private"), []byte("public")); err != nil {
		t.Fatal(err)
	}
	if err := folder.Claim("uid1"); err != nil || !folder.HasKey() {
		t.Fatalf("a claim that is repeated lost the key: %v", err)
	}
	if mark, ours := folder.Mark(); !ours || mark.UID != "uid1" {
		t.Errorf("the mark is %v, %v", mark, ours)
	}
	for _, path := range []string{folder.Path, folder.Key(), folder.File(".mctl")} {
		if info, err := os.Stat(path); err != nil || info.Mode().Perm()&0o077 != 0 {
			t.Errorf("%s has mode %v, %v", path, info.Mode(), err)
		}
	}
	if err := folder.Claim("uid2"); err != nil || folder.HasKey() {
		t.Errorf("the next machine of that name has the former one's key: %v", err)
	}
	if err := folder.Remove(); err != nil || folder.Exists() {
		t.Errorf("it is still there: %v", err)
	}
	if err := folder.Remove(); err != nil {
		t.Errorf("removed twice: %v", err)
	}
}

func TestForeignFoldersAreNeverTouched(t *testing.T) {
	dir := newDir(t)
	put(t, dir.Machine("old").File("config.json"), `{"DriverName":"virtualbox"}`)
	put(t, dir.Machine("old").File("id_rsa"), "theirs")
	before := tree(t, dir.Root)
	folder := dir.Machine("old")
	if err := folder.Claim("uid"); !fault.Is(err, fault.Exists) || fault.HintOf(err) == "" {
		t.Errorf("claim: %v", err)
	}
	if _, err := dir.Stage("old", "c1"); !fault.Is(err, fault.Exists) {
		t.Errorf("stage: %v", err)
	}
	if err := folder.Remove(); err != nil {
		t.Errorf("remove: %v", err)
	}
	if err := folder.WriteView(ViewOf(machine("old"), dir, nil)); err != nil {
		t.Errorf("view: %v", err)
	}
	if after := tree(t, dir.Root); !slices.Equal(before, after) {
		t.Errorf("before\n%s\nafter\n%s", strings.Join(before, "\n"), strings.Join(after, "\n"))
	}
	for name, foreign := range map[string]bool{"old": true, "nosuch": false, "..": false, "../machines": false, "": false} {
		if dir.Machine(name).Foreign() != foreign {
			t.Errorf("%q is foreign: %v", name, !foreign)
		}
	}
	if folder.ForeignDriver() != "virtualbox" {
		t.Errorf("driver %q", folder.ForeignDriver())
	}
	put(t, dir.Machine("broken").File("config.json"), "{")
	if dir.Machine("broken").ForeignDriver() != "" || dir.Machine("nosuch").ForeignDriver() != "" {
		t.Error("a driver out of nothing")
	}
}

func TestLinksInPlaceOfAFolderOrItsMarkAreForeign(t *testing.T) {
	dir := newDir(t)
	secret := filepath.Join(dir.Root, "secret")
	put(t, secret, "{}")
	put(t, dir.Machine("linked").File("x"), "theirs")
	if err := os.Symlink(secret, dir.Machine("linked").File(markFile)); err != nil {
		t.Fatal(err)
	}
	put(t, filepath.Join(dir.Root, "elsewhere", markFile), `{"uid":"uid"}`)
	put(t, filepath.Join(dir.Root, "elsewhere", "x"), "theirs")
	if err := os.Symlink(filepath.Join(dir.Root, "elsewhere"), dir.Machine("away").Path); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"linked", "away"} {
		folder := dir.Machine(name)
		if mark, ours := folder.Mark(); ours || !folder.Foreign() {
			t.Errorf("%s is taken for ours: %v", name, mark)
		}
		for _, uid := range []string{"uid", ""} {
			if err := folder.Claim(uid); !fault.Is(err, fault.Exists) {
				t.Errorf("claim of %s: %v", name, err)
			}
		}
		if err := errors.Join(folder.Remove(), folder.Forget(Mark{UID: "uid"}, "")); err != nil {
			t.Errorf("removal of %s: %v", name, err)
		}
	}
	for _, path := range []string{secret, dir.Machine("linked").File("x"), filepath.Join(dir.Root, "elsewhere", "x")} {
		if !exists(path) {
			t.Errorf("%s was removed", path)
		}
	}
}

func TestNamesOfMachinesCannotLeaveTheirDirectory(t *testing.T) {
	dir := newDir(t)
	for _, name := range []string{"../x", "a/b", "..", ".", ".ssh", "/etc", ""} {
		if err := dir.Machine(name).Claim("uid"); !fault.Is(err, fault.Invalid) {
			t.Errorf("%q: %v", name, err)
		}
	}
	if left := tree(t, dir.Root); len(left) > 0 {
		t.Errorf("left behind: %q", left)
	}
}

func TestFoldersListsWhatMayBeMachines(t *testing.T) {
	dir := newDir(t)
	if names, err := dir.Folders(); err != nil || len(names) > 0 {
		t.Errorf("in an empty directory: %q, %v", names, err)
	}
	put(t, dir.Machine("b").File("x"), "")
	put(t, dir.Machine("a").File("x"), "")
	put(t, filepath.Join(dir.Machines(), ".stage-1", "x"), "")
	put(t, filepath.Join(dir.Machines(), "file"), "")
	if names, err := dir.Folders(); err != nil || !slices.Equal(names, []string{"a", "b"}) {
		t.Errorf("%q, %v", names, err)
	}
	put(t, filepath.Join(dir.Root, "f"), "")
	if _, err := (Dir{Root: filepath.Join(dir.Root, "f")}).Folders(); !fault.Is(err, fault.Precondition) {
		t.Errorf("a file as state directory: %v", err)
	}
}

func TestCreateThatIsRefusedLeavesNothing(t *testing.T) {
	dir := newDir(t)
	stage, err := dir.Stage("web", "c1")
	if err != nil {
		t.Fatal(err)
	}
	if err := stage.WriteKeys([]byte("k"), nil); err != nil {
		t.Fatal(err)
	}
	if names, _ := dir.Folders(); len(names) > 0 {
		t.Errorf("a folder in the making is shown: %q", names)
	}
	stage.Drop()
	stage.Drop()
	if left := tree(t, dir.Root); len(left) > 0 {
		t.Errorf("left behind: %q", left)
	}
}

func TestFolderGetsItsNameWhenTheMachineExists(t *testing.T) {
	dir := newDir(t)
	former := dir.Machine("web")
	if err := former.Claim("former"); err != nil {
		t.Fatal(err)
	}
	put(t, former.File("cert.pem"), "former")
	stage, err := dir.Stage("web", "c1")
	if err != nil {
		t.Fatal(err)
	}
	defer stage.Drop()
	if err := stage.WriteKeys([]byte("private"), []byte("public")); err != nil {
		t.Fatal(err)
	}
	folder, err := stage.Settle("uid")
	if err != nil {
		t.Fatal(err)
	}
	stage.Drop()
	want := []string{"machines", "machines/web", "machines/web/.mctl={\"uid\":\"uid\",\"controller\":\"c1\"}\n", "machines/web/id_rsa=private", "machines/web/id_rsa.pub=public"}
	if got := tree(t, dir.Root); !slices.Equal(got, want) || folder.Path != former.Path {
		t.Errorf("%q at %s", got, folder.Path)
	}
}

func TestKeyOfACreateThatWasKilledIsFoundAgain(t *testing.T) {
	dir := newDir(t)
	stage, err := dir.Stage("web", "c1")
	if err != nil {
		t.Fatal(err)
	}
	if err := stage.WriteKeys([]byte("private"), []byte("ssh-ed25519 AAAA mctl-web\n")); err != nil {
		t.Fatal(err)
	}
	m := machine("web")
	m.Spec.SshAuthorizedKeys = []string{"ssh-ed25519 BBBB another"}
	other := machine("we")
	other.Spec.SshAuthorizedKeys = []string{"ssh-ed25519 AAAA mctl-web"}
	if folder, err := dir.Claim(other); err != nil || folder.HasKey() {
		t.Errorf("another machine got the key: %v", err)
	}
	if folder, err := dir.Claim(m); err != nil || folder.HasKey() {
		t.Errorf("a machine of that name which does not know the key got it: %v", err)
	}
	if err := dir.Machine("web").Remove(); err != nil {
		t.Fatal(err)
	}
	m.Spec.SshAuthorizedKeys = other.Spec.SshAuthorizedKeys
	for range 2 {
		folder, err := dir.Claim(m)
		if mark, _ := folder.Mark(); err != nil || !folder.HasKey() || mark.UID != "uid" {
			t.Fatalf("%v, mark %v", err, mark)
		}
	}
	if folder, err := stage.Settle("uid"); err != nil || !folder.HasKey() { // the create was only slow
		t.Errorf("%v", err)
	}
	stage.Drop()
	if !dir.Machine("web").HasKey() {
		t.Error("the create that came back took the key away")
	}
}

func TestWhatKilledCreatesLeftIsSweptAndNothingElse(t *testing.T) {
	dir := newDir(t)
	left, err := dir.Stage("left", "c1")
	if err != nil {
		t.Fatal(err)
	}
	fresh, err := dir.Stage("fresh", "c1")
	if err != nil {
		t.Fatal(err)
	}
	put(t, filepath.Join(dir.Machines(), ".git", "config"), "theirs")
	old := time.Now().Add(-48 * time.Hour)
	for _, path := range []string{left.Path, filepath.Join(dir.Machines(), ".git")} {
		if err := os.Chtimes(path, old, old); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := dir.Stage("web", "c1"); err != nil {
		t.Fatal(err)
	}
	if left.Exists() || !fresh.Exists() || !exists(filepath.Join(dir.Machines(), ".git", "config")) {
		t.Errorf("left %v, fresh %v", left.Exists(), fresh.Exists())
	}
}

// A create that had asked would have given its folder the machine's name, unless that was taken.
func TestFolderOfACreateThatDiedBeforeItAskedGoesWithTheNextOne(t *testing.T) {
	dir := newDir(t)
	later := time.Now().Add(-2 * unanswered)
	stage := func(name string, dead bool, began time.Time) *Stage {
		s, err := dir.Stage(name, "c1")
		if err != nil {
			t.Fatal(err)
		}
		if err := os.Chtimes(s.File(markFile), began, began); err != nil {
			t.Fatal(err)
		}
		if dead {
			_ = s.mark.Close()
		}
		return s
	}
	died, living, fresh, taken := stage("died", true, later), stage("living", false, later), stage("fresh", true, time.Now()), stage("taken", true, later)
	aside := Folder{Path: filepath.Join(dir.Machines(), ".moved"+forgotten), Name: "moved"}
	if err := errors.Join(dir.Machine("taken").Claim("uid"), os.MkdirAll(aside.Path, 0o700), aside.writeMark(Mark{}), os.Chtimes(aside.File(markFile), later, later)); err != nil {
		t.Fatal(err)
	}
	dir.sweep()
	for folder, stays := range map[Folder]bool{died.Folder: false, living.Folder: true, fresh.Folder: true, taken.Folder: true, aside: true} {
		if folder.Exists() != stays {
			t.Errorf("%s is there: %v", folder.Path, !stays)
		}
	}
}

const hostKey = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIGhSCYtM8DkNZ9l8FeFDX+DURgsl0eT9E0XUZMV1jJao"

func TestKnownHostsHoldKeysAndNothingElse(t *testing.T) {
	dir := newDir(t)
	folder := dir.Machine("web")
	if err := folder.Claim("uid"); err != nil {
		t.Fatal(err)
	}
	if err := folder.WriteKnownHosts("web", nil); err != nil || exists(folder.KnownHosts()) {
		t.Errorf("without keys: %v", err)
	}
	if err := folder.WriteKnownHosts("web", []string{hostKey + " comment\n@cert-authority * " + hostKey}); err != nil {
		t.Fatal(err)
	}
	if text, err := os.ReadFile(folder.KnownHosts()); err != nil || string(text) != "web "+hostKey+"\n" {
		t.Errorf("the file is %q, %v", text, err)
	}
	if err := folder.WriteKnownHosts("web", []string{"no key"}); !fault.Is(err, fault.Internal) {
		t.Errorf("a broken key: %v", err)
	}
}

func TestFilesAreWrittenWholeAndNotForNothing(t *testing.T) {
	path := filepath.Join(t.TempDir(), "f")
	if err := WriteFile(path, []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	before, _ := os.Stat(path)
	if err := WriteFile(path, []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	if after, _ := os.Stat(path); !os.SameFile(before, after) {
		t.Error("the same content was written again")
	}
	for _, content := range []string{"x", "y"} {
		if err := os.Chmod(path, 0o644); err != nil {
			t.Fatal(err)
		}
		if err := WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		if info, _ := os.Stat(path); info.Mode() != 0o600 {
			t.Errorf("others may read it still: %v", info.Mode())
		}
	}
	if err := WriteFile(filepath.Join(path, "x"), nil, 0o600); !fault.Is(err, fault.Precondition) {
		t.Errorf("where there is no directory: %v", err)
	}
}

func TestTroubleIsOneSentenceWithAPath(t *testing.T) {
	_, readErr := os.ReadFile("/nosuch/file")
	linkErr := os.Rename("/nosuch/a", "/nosuch/b")
	for want, err := range map[string]error{
		"can't use the state directory: /nosuch/file: no such file or directory": readErr,
		"can't use the state directory: /nosuch/b: no such file or directory":    linkErr,
		"can't use the state directory: /p: plain":                               errors.New("plain"),
	} {
		if got := Trouble("/p", err); got.Error() != want || fault.HintOf(got) == "" {
			t.Errorf("%q, want %q", got, want)
		}
	}
	directory := t.TempDir()
	for hint, err := range map[string]error{
		"move away what is at " + directory: WriteFile(directory, nil, 0o600),
		"move away what is at /dev/null":    makePrivate("/dev/null/x"),
		"make room where it is":             Trouble("/p", &os.PathError{Path: "/p", Err: syscall.ENOSPC}),
		"mount it for writing":              Trouble("/p", &os.PathError{Path: "/p", Err: syscall.EROFS}),
		"check its owner and mode":          Trouble("/p", &os.PathError{Path: "/p", Err: syscall.EACCES}),
	} {
		if fault.HintOf(err) != hint+", or name another one with --storage-path" {
			t.Errorf("%v: hint %q, want %q", err, fault.HintOf(err), hint)
		}
	}
	if err := WriteFile(directory, nil, 0o600); err == nil || !strings.HasSuffix(err.Error(), directory+": is a directory") {
		t.Errorf("a directory in the place of a file: %v", err)
	}
	file := filepath.Join(t.TempDir(), "f")
	put(t, file, "")
	if err := (Dir{Root: file}).MakeOwn(); !fault.Is(err, fault.Precondition) {
		t.Errorf("a file as state directory: %v", err)
	}
}

// Those who make machines of one name at the same time see no folder of each other's as foreign, whatever they do to it.
func TestCreatesOfOneNameThatAreRefusedDisturbNoOther(t *testing.T) {
	d := newDir(t)
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			for range 200 {
				stage, err := d.Stage("web", "c1")
				if err != nil {
					t.Error(err)
					return
				}
				if err := stage.Place(); err != nil {
					t.Error(err)
				}
				stage.Drop()
			}
		})
	}
	all.Wait()
	if left, err := os.ReadDir(d.Machines()); err == nil {
		t.Errorf("left are %v", left)
	}
}
