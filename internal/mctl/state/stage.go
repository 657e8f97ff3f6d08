package state

import (
	"os"
	"path/filepath"
)

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
	path, err := os.MkdirTemp(d.Machines(), "."+name+"-")
	if err != nil {
		return nil, Trouble(d.Machines(), err)
	}
	return &Stage{Folder: Folder{Path: path, Name: name}, final: final}, nil
}

// Settle gives the folder its name and the mark of the machine with a uid. What an earlier machine of that name left is
// removed.
func (s *Stage) Settle(uid string) (Folder, error) {
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
