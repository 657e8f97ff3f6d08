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
		known := b.Files[path]
		j.Sweep(path)
		now, err := look(j.at(path))
		if err != nil {
			say(fmt.Sprintf("%s stays as it is: %v", path, err))
			continue
		}
		switch {
		case now.digest() == known.Former.digest():
			continue
		case known.Left != nil && now.digest() != *known.Left:
			say(path + " was changed by somebody else since, it stays as it is")
			continue
		}
		if err := known.Former.restore(j.at(path)); err != nil {
			return touched, fault.E("journal.Restore", fault.Precondition, path, fmt.Errorf("can't put back %s: %w", path, err))
		}
		touched = append(touched, path)
	}
	return touched, nil
}

// RemoveFolders removes those folders that came into being for our files and are empty by now. It may be repeated.
func (j *Journal) RemoveFolders(b Book) {
	// The deepest first. One that holds something of others stays.
	for _, folder := range slices.SortedFunc(slices.Values(b.Folders), func(a, b string) int { return len(b) - len(a) }) {
		_ = syscall.Rmdir(j.at(folder)) // and nothing else that has come to its place
	}
}
