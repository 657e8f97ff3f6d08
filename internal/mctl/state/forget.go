package state

import (
	"errors"
	"os"
	"path/filepath"
	"syscall"
	"time"
)

// unanswered is for how long a create that was killed may still be carried out: the controller checks for 30 s at most.
const unanswered = time.Minute

// forgotten is in the name of a folder that Forget has moved aside.
const forgotten = "-forgotten-"

// Forget removes the folder of a machine that is no more, after somebody else removed it: its mark was read as seen before the
// controller of an id was asked, and said that it knows no machine of the name. It stays where its mark is another one by
// now, where its machine is only being asked for, and, with the key in it that may be the last way into a host, where another
// controller was asked, such as one that lost its records. May be repeated.
func (f Folder) Forget(seen Mark, controller string) error {
	switch {
	case f.HasKey() && seen.Controller != controller:
		return nil
	case seen.UID == "" && f.inTheMaking():
		return nil
	}
	if now, _ := f.Mark(); now != seen {
		return nil
	}
	// Under another name nobody else changes it, and what is looked at is what is removed.
	aside := Folder{Path: filepath.Join(filepath.Dir(f.Path), "."+filepath.Base(f.Path)+forgotten+seen.UID), Name: f.Name}
	if err := os.Rename(f.Path, aside.Path); err != nil {
		if os.IsNotExist(err) || os.IsExist(err) {
			return nil // another command does the same
		}
		return Trouble(f.Path, err)
	}
	if now, _ := aside.Mark(); now != seen {
		return aside.giveBack(f)
	}
	return aside.Remove()
}

// giveBack undoes a move aside. A create that took the name in between keeps it: a folder with a hidden name is one in the
// making, which Recover puts in its place when the create has dropped its own.
func (f Folder) giveBack(place Folder) error {
	err := os.Rename(f.Path, place.Path)
	if err == nil || errors.Is(err, syscall.ENOTEMPTY) || errors.Is(err, syscall.EEXIST) {
		return nil
	}
	return Trouble(place.Path, err)
}

// inTheMaking reports whether a create that has not settled the folder may still come to something.
func (f Folder) inTheMaking() bool {
	mark, err := openRegular(f.File(markFile), syscall.O_NOFOLLOW)
	if err != nil {
		return false
	}
	defer mark.Close()
	if syscall.Flock(int(mark.Fd()), syscall.LOCK_SH|syscall.LOCK_NB) != nil {
		return true // its create lives
	}
	info, err := mark.Stat()
	return err != nil || time.Since(info.ModTime()) < unanswered
}
