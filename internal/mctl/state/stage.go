package state

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// stale is how old a folder in the making is when nobody can be making it any more.
const stale = 24 * time.Hour

// Stage is a folder in the making: it gets its name only when the machine is sure to exist, so that a create which is
// refused leaves nothing and touches nothing.
type Stage struct {
	Folder
	final Folder
}

// Stage begins a folder for a machine that is about to be made. A foreign folder of that name is fault.Exists.
func (d Dir) Stage(name string) (*Stage, error) {
	final := d.Machine(name)
	if _, ours := final.Mark(); !ours && final.Exists() {
		return nil, final.errForeign()
	}
	if err := makePrivate(d.Machines()); err != nil {
		return nil, err
	}
	d.sweep()
	path, err := os.MkdirTemp(d.Machines(), "."+name+"-")
	if err != nil {
		return nil, Trouble(d.Machines(), err)
	}
	stage := &Stage{Folder: Folder{Path: path, Name: name}, final: final}
	return stage, stage.writeMark("")
}

// Settle gives the folder its name and the mark of the machine with a uid. What an earlier machine of that name left is
// removed.
func (s *Stage) Settle(uid string) (Folder, error) {
	if mark, _ := s.final.Mark(); mark.UID == uid && !s.Exists() {
		return s.final, nil // another command was quicker, see Recover
	}
	if err := s.writeMark(uid); err != nil {
		return Folder{}, err
	}
	if err := s.final.Remove(); err != nil {
		return Folder{}, err
	}
	if err := os.Rename(s.Path, s.final.Path); err != nil {
		return Folder{}, Trouble(s.final.Path, err)
	}
	return s.final, nil
}

// Drop removes the folder if it was not settled, and the directories that were made for it alone. May be repeated.
func (s *Stage) Drop() {
	_ = os.RemoveAll(s.Path)
	// Fails, as it should, where anything else is in there.
	_ = os.Remove(filepath.Dir(s.Path))
}

// Recover settles the folder that a create had in the making when it was killed, after the machine with a uid had been
// asked for: the one whose public key may log in there (authorized are lines of authorized_keys). A machine that has a folder
// is left alone, and so is one for which there is nothing. May be repeated.
func (d Dir) Recover(name, uid string, authorized []string) error {
	final := d.Machine(name)
	if final.Exists() {
		return nil
	}
	for _, stage := range d.stages() {
		public, err := os.ReadFile(stage.File(publicKeyFile))
		if err == nil && strings.HasPrefix(filepath.Base(stage.Path), "."+name+"-") && slices.Contains(authorized, strings.TrimSpace(string(public))) {
			_, err := (&Stage{Folder: stage, final: final}).Settle(uid)
			return err
		}
	}
	return nil
}

// sweep removes what creates left that were killed before they asked for their machine.
func (d Dir) sweep() {
	for _, stage := range d.stages() {
		if info, err := os.Stat(stage.Path); err == nil && time.Since(info.ModTime()) > stale {
			_ = os.RemoveAll(stage.Path)
		}
	}
}

// stages are the folders in the making that are ours.
func (d Dir) stages() []Folder {
	entries, err := os.ReadDir(d.Machines())
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil
	}
	var found []Folder
	for _, entry := range entries {
		folder := Folder{Path: filepath.Join(d.Machines(), entry.Name())}
		if _, ours := folder.Mark(); ours && entry.IsDir() && strings.HasPrefix(entry.Name(), ".") {
			found = append(found, folder)
		}
	}
	return found
}
