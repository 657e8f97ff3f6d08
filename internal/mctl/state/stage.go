package state

import (
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"
)

// stale is how old a folder in the making is when nobody can be making it any more.
const stale = 24 * time.Hour

// Stage is a folder in the making. It has a hidden name until Place, and belongs to no machine until Settle, so that a create
// which is refused leaves nothing and touches nothing.
type Stage struct {
	Folder
	final      Folder
	hidden     string // its path until Place
	controller string
	mark       *os.File // locked for as long as somebody is making the folder
	placed     bool
	settled    bool
}

// Stage begins a folder for a machine that is about to be asked of the controller with an id. A foreign folder of that name is
// fault.Exists. Drop must follow.
func (d Dir) Stage(name, controller string) (*Stage, error) {
	final := d.Machine(name)
	if final.Foreign() {
		return nil, final.errForeign()
	}
	path, err := d.hidden(name)
	if err != nil {
		return nil, err
	}
	d.sweep()
	stage := &Stage{Folder: Folder{Path: path, Name: name}, final: final, hidden: path, controller: controller}
	if err := stage.hold(); err != nil {
		stage.Drop()
		return nil, err
	}
	return stage, nil
}

// hidden makes a folder under a hidden name. Another create that leaves nothing may take the directory away at any moment.
func (d Dir) hidden(name string) (path string, err error) {
	for range 100 {
		if err := makePrivate(d.Machines()); err != nil {
			return "", err
		}
		if path, err = os.MkdirTemp(d.Machines(), "."+name+"-"); !errors.Is(err, os.ErrNotExist) {
			break
		}
	}
	if err != nil {
		return "", Trouble(d.Machines(), err)
	}
	return path, nil
}

// hold writes the mark and locks it: a lock ends with its process, however that ends.
func (s *Stage) hold() error {
	text, err := json.Marshal(Mark{Controller: s.controller})
	if err != nil {
		return err
	}
	if s.mark, err = os.OpenFile(s.File(markFile), os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600); err != nil {
		return Trouble(s.Path, err)
	}
	if err := syscall.Flock(int(s.mark.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		return Trouble(s.File(markFile), err)
	}
	if _, err := s.mark.Write(append(text, '\n')); err != nil {
		return Trouble(s.Path, err)
	}
	return nil
}

// Place gives the folder its name before the machine is asked for, so that readers of the directory see it before anything is
// made. Where a folder of that name is there already, the controller may know a machine of it, and nothing happens.
func (s *Stage) Place() error {
	err := os.Rename(s.Path, s.final.Path)
	switch {
	case errors.Is(err, syscall.ENOTEMPTY), errors.Is(err, syscall.EEXIST):
		return nil
	case err != nil:
		return Trouble(s.final.Path, err)
	}
	s.Path, s.placed = s.final.Path, true
	return nil
}

// Placed reports whether the folder has its name.
func (s *Stage) Placed() bool { return s.placed }

// Settle makes the folder that of the machine with a uid, under its name. What an earlier machine of that name left is
// removed.
func (s *Stage) Settle(uid string) (Folder, error) {
	if mark, _ := s.final.Mark(); mark.UID == uid && (s.placed || !s.Exists()) {
		s.settled = true
		return s.final, nil // another command was quicker, see Recover
	}
	if err := s.writeMark(Mark{UID: uid, Controller: s.controller}); err != nil {
		return Folder{}, err
	}
	if !s.placed {
		if err := s.final.Remove(); err != nil {
			return Folder{}, err
		}
		if err := os.Rename(s.Path, s.final.Path); err != nil {
			return Folder{}, Trouble(s.final.Path, err)
		}
	}
	s.settled = true
	return s.final, nil
}

// Keep leaves the folder as it is, where nobody can tell whether its machine was taken note of: see Recover and Forget.
func (s *Stage) Keep() { s.settled = true }

// Drop removes the folder if it was neither settled nor kept, and the directories that were made for it alone. May be repeated.
func (s *Stage) Drop() {
	defer func() { _ = s.mark.Close() }()
	if s.settled {
		return
	}
	if !s.placed || s.final.isHeld(s.mark) {
		// Under its hidden name, so that no other create of that name sees a folder that has lost its mark.
		if s.placed && os.Rename(s.Path, s.hidden) == nil {
			s.Path = s.hidden
		}
		_ = os.RemoveAll(s.Path)
	}
	// Fails, as it should, where anything else is in there.
	_ = os.Remove(filepath.Dir(s.Path))
}

// isHeld reports whether the folder's mark is the file that somebody has open.
func (f Folder) isHeld(mark *os.File) bool {
	here, err := os.Stat(f.File(markFile))
	if err != nil {
		return false
	}
	theirs, err := mark.Stat()
	return err == nil && os.SameFile(here, theirs)
}

// Recover settles the folder that a create had in the making when it was killed, after the machine with a uid had been
// asked for: the one whose public key may log in there (authorized are lines of authorized_keys). A machine that has a folder
// is left alone, and so is one for which there is nothing. May be repeated.
func (d Dir) Recover(name, uid string, authorized []string) error {
	final := d.Machine(name)
	if mark, ours := final.Mark(); ours && mark.UID == "" {
		if len(authorized) > 0 && final.HasKey() && !final.letsIn(authorized) {
			return nil // another create's
		}
		return final.writeMark(Mark{UID: uid, Controller: mark.Controller})
	}
	if final.Exists() {
		return nil
	}
	for _, stage := range d.stages() {
		if strings.HasPrefix(filepath.Base(stage.Path), "."+name+"-") && stage.letsIn(authorized) {
			mark, _ := stage.Mark()
			_, err := (&Stage{Folder: stage, final: final, controller: mark.Controller}).Settle(uid)
			return err
		}
	}
	return nil
}

// letsIn reports whether the folder's public key is among those that are authorized.
func (f Folder) letsIn(authorized []string) bool {
	public, err := os.ReadFile(f.File(publicKeyFile))
	return err == nil && slices.Contains(authorized, strings.TrimSpace(string(public)))
}

// sweep removes what creates left that were killed before they asked for their machine.
func (d Dir) sweep() {
	for _, stage := range d.stages() {
		if info, err := os.Stat(stage.Path); err == nil && (time.Since(info.ModTime()) > stale || d.neverAsked(stage)) {
			_ = os.RemoveAll(stage.Path)
		}
	}
}

// neverAsked reports whether a folder in the making is one of a create that is dead and had not asked for its machine: it would
// have had its name by then, unless another folder had it, see Place.
func (d Dir) neverAsked(stage Folder) bool {
	name := strings.TrimPrefix(filepath.Base(stage.Path), ".")
	end := strings.LastIndexByte(name, '-')
	if mark, ours := stage.Mark(); end < 0 || !ours || mark.UID != "" || strings.Contains(name, forgotten) {
		return false
	}
	return !stage.inTheMaking() && !d.Machine(name[:end]).Exists()
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
