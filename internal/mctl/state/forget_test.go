package state

import (
	"os"
	"path/filepath"
	"testing"
	"time"
)

// placed stages a folder with a key and gives it its name.
func placed(t *testing.T, dir Dir, name string) *Stage {
	t.Helper()
	stage, err := dir.Stage(name, "c1")
	if err != nil {
		t.Fatal(err)
	}
	if err := stage.WriteKeys([]byte("private"), []byte("ssh-ed25519 AAAA mctl-"+name+"\n")); err != nil {
		t.Fatal(err)
	}
	if err := stage.Place(); err != nil {
		t.Fatal(err)
	}
	return stage
}

// kill ends a create as a killed process does: its lock goes, and nothing else is done.
func kill(t *testing.T, stage *Stage, ago time.Duration) {
	t.Helper()
	if err := stage.mark.Close(); err != nil {
		t.Fatal(err)
	}
	at := time.Now().Add(-ago)
	if err := os.Chtimes(stage.File(markFile), at, at); err != nil {
		t.Fatal(err)
	}
}

func TestFolderIsSeenBeforeTheMachineIsAskedForAndGoesWithARefusal(t *testing.T) {
	dir := newDir(t)
	stage := placed(t, dir, "web")
	if names, _ := dir.Folders(); len(names) != 1 || !stage.Placed() {
		t.Errorf("seen are %q", names)
	}
	// Another create of the name leaves it alone, whatever comes of that.
	other, err := dir.Stage("web", "c1")
	if err != nil {
		t.Fatal(err)
	}
	if err := other.Place(); err != nil || other.Placed() {
		t.Errorf("a folder that is there was taken: %v", err)
	}
	other.Drop()
	if !dir.Machine("web").HasKey() {
		t.Error("the other create took the folder away")
	}
	stage.Drop()
	stage.Drop()
	if left := tree(t, dir.Root); len(left) > 0 {
		t.Errorf("left behind: %q", left)
	}
}

func TestPlacedFolderIsTheMachinesAfterwards(t *testing.T) {
	dir := newDir(t)
	stage := placed(t, dir, "web")
	defer stage.Drop()
	folder, err := stage.Settle("uid")
	if mark, _ := folder.Mark(); err != nil || mark != (Mark{UID: "uid", Controller: "c1"}) {
		t.Errorf("%v, %v", mark, err)
	}
	stage.Drop()
	if !folder.HasKey() {
		t.Error("it was dropped")
	}
}

func TestFolderOfAKilledCreateBecomesThatOfItsMachineAlone(t *testing.T) {
	dir := newDir(t)
	kill(t, placed(t, dir, "web"), 0)
	m := machine("web")
	m.Spec.SshAuthorizedKeys = []string{"ssh-ed25519 AAAA mctl-web"}
	for range 2 {
		folder, err := dir.Claim(m)
		if mark, _ := folder.Mark(); err != nil || mark != (Mark{UID: "uid", Controller: "c1"}) || !folder.HasKey() {
			t.Fatalf("%v, %v", mark, err)
		}
	}
	kill(t, placed(t, dir, "db"), 0)
	other := machine("db")
	other.Spec.SshAuthorizedKeys = []string{"ssh-ed25519 BBBB another"}
	if folder, err := dir.Claim(other); err != nil || folder.HasKey() {
		t.Errorf("a machine got the key of another: %v", err)
	}
}

func TestFolderIsForgottenOnlyWhenItsMachineIsSureToBeGone(t *testing.T) {
	for name, test := range map[string]struct {
		make func(t *testing.T, dir Dir) Mark // what was seen
		by   string
		gone bool
	}{
		"settled": {func(t *testing.T, dir Dir) Mark {
			stage := placed(t, dir, "web")
			_, err := stage.Settle("uid")
			if stage.Drop(); err != nil {
				t.Fatal(err)
			}
			return Mark{"uid", "c1"}
		}, "c1", true},
		"another controller, and a key": {func(t *testing.T, dir Dir) Mark {
			stage := placed(t, dir, "web")
			_, err := stage.Settle("uid")
			if stage.Drop(); err != nil {
				t.Fatal(err)
			}
			return Mark{"uid", "c1"}
		}, "c2", false},
		"another controller, and no key": {func(t *testing.T, dir Dir) Mark {
			if err := dir.Machine("web").Claim("uid"); err != nil {
				t.Fatal(err)
			}
			return Mark{UID: "uid"}
		}, "c2", true},
		"made anew since": {func(t *testing.T, dir Dir) Mark {
			stage := placed(t, dir, "web")
			_, err := stage.Settle("uid2")
			if stage.Drop(); err != nil {
				t.Fatal(err)
			}
			return Mark{"uid", "c1"}
		}, "c1", false},
		"being made":  {func(t *testing.T, dir Dir) Mark { t.Cleanup(placed(t, dir, "web").Drop); return Mark{Controller: "c1"} }, "c1", false},
		"just killed": {func(t *testing.T, dir Dir) Mark { kill(t, placed(t, dir, "web"), 0); return Mark{Controller: "c1"} }, "c1", false},
		"killed long ago": {func(t *testing.T, dir Dir) Mark {
			kill(t, placed(t, dir, "web"), time.Hour)
			return Mark{Controller: "c1"}
		}, "c1", true},
		"gone by somebody": {func(*testing.T, Dir) Mark { return Mark{UID: "uid"} }, "c1", true},
	} {
		t.Run(name, func(t *testing.T) {
			dir := newDir(t)
			seen := test.make(t, dir)
			for range 2 {
				if err := dir.Machine("web").Forget(seen, test.by); err != nil {
					t.Error(err)
				}
			}
			if dir.Machine("web").Exists() == test.gone {
				t.Errorf("it is gone: %v, want %v", !test.gone, test.gone)
			}
		})
	}
}

// Another create may take the name in the moment in which a folder was moved aside: none of the two is lost.
func TestFolderThatCanNotBeGivenBackAtOnceComesBackLater(t *testing.T) {
	dir := newDir(t)
	stage := placed(t, dir, "web")
	if _, err := stage.Settle("uid"); err != nil {
		t.Fatal(err)
	}
	stage.Drop()
	aside := Folder{Path: filepath.Join(dir.Machines(), ".web-forgotten-old"), Name: "web"}
	if err := os.Rename(dir.Machine("web").Path, aside.Path); err != nil {
		t.Fatal(err)
	}
	other := placed(t, dir, "web")
	if err := aside.giveBack(dir.Machine("web")); err != nil {
		t.Errorf("a name that is taken is told as trouble: %v", err)
	}
	other.Drop() // the controller knows a machine of that name
	if err := dir.Recover("web", "uid", []string{"ssh-ed25519 AAAA mctl-web"}); err != nil {
		t.Fatal(err)
	}
	if mark, _ := dir.Machine("web").Mark(); mark.UID != "uid" || !dir.Machine("web").HasKey() {
		t.Errorf("the machine has lost its folder: %v", tree(t, dir.Root))
	}
}
