package journal

import (
	"fmt"
	"maps"
	"slices"
	"syscall"

	"mctl/internal/fault"
)

// Restore puts back every file that is still as we left it and returns which. What somebody else changed since stays as it
// is and is told to say. It may be repeated.
func (j *Journal) Restore(b Book, say func(sentence string)) (touched []string, err error) {
	for _, path := range slices.Sorted(maps.Keys(b.Files)) {
		changed, err := j.putBack(path, b.Files[path], say)
		if err != nil {
			return touched, err
		}
		if changed {
			touched = append(touched, path)
		}
	}
	return touched, nil
}

// PutBack is Restore for one path, before all others; one that File does not know stays. It may be repeated.
func (j *Journal) PutBack(path string) error {
	b, err := j.Read()
	if err != nil {
		return err
	}
	if known, ok := b.Files[path]; ok {
		_, err = j.putBack(path, known, func(string) {}) // Restore says what stays
	}
	return err
}

func (j *Journal) putBack(path string, known Entry, say func(sentence string)) (changed bool, err error) {
	j.Sweep(path)
	now, err := look(j.at(path))
	if err != nil {
		say(fmt.Sprintf("%s stays as it is: %v", path, err))
		return false, nil
	}
	switch {
	case now.digest() == known.Former.digest():
		return false, nil
	case known.Left != nil && now.digest() != *known.Left:
		say(path + " was changed by somebody else since, it stays as it is")
		return false, nil
	}
	if err := known.Former.restore(j.at(path)); err != nil {
		return false, fault.E("journal.Restore", fault.Precondition, path, fmt.Errorf("can't put back %s: %w", path, err))
	}
	return true, nil
}

// RemoveFolders removes those folders that came into being for our files and are empty by now. It may be repeated.
func (j *Journal) RemoveFolders(b Book) {
	// The deepest first. One that holds something of others stays.
	for _, folder := range slices.SortedFunc(slices.Values(b.Folders), func(a, b string) int { return len(b) - len(a) }) {
		_ = syscall.Rmdir(j.at(folder)) // and nothing else that has come to its place
	}
}
