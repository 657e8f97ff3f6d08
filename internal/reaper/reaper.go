// Package reaper ends processes with all that they started, and remembers them in files for whoever comes after us, should we be
// killed meanwhile.
package reaper

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"golang.org/x/sync/errgroup"
)

const (
	// killAfter is how long what was hung up may take to end, and giveUp how long what was killed: the kernel may be waiting for
	// a disk in its name.
	killAfter = 2 * time.Second
	giveUp    = 5 * time.Second
	look      = 20 * time.Millisecond
	endAtOnce = 16
)

// Reaper remembers leaders of sessions or of groups of processes. It is safe for use at the same time.
type Reaper struct {
	// Dir is where it does, and nobody else may write. It is made when it is needed. Empty remembers nothing.
	Dir string
}

// Remember has a leader and all that is in its session or group end at the next Reap, unless forget was called before, which must
// be before its number can be another's. Where the file can't be written nothing is remembered.
func (r Reaper) Remember(leader int) (forget func()) {
	began, alive := beginning(leader)
	if r.Dir == "" || !alive {
		return func() {}
	}
	path := filepath.Join(r.Dir, strconv.Itoa(leader))
	if os.MkdirAll(r.Dir, 0o700) != nil || os.WriteFile(path, noteOf(os.Getpid(), began), 0o600) != nil {
		return func() {}
	}
	return func() { _ = os.Remove(path) }
}

// Reap ends what a process left that was killed, and returns how many leaders it had. It takes some seconds and may be
// repeated.
func (r Reaper) Reap() (left int) {
	entries, _ := os.ReadDir(r.Dir)
	var ending errgroup.Group
	ending.SetLimit(endAtOnce)
	for _, entry := range entries {
		leader, err := strconv.Atoi(entry.Name())
		if err != nil || leader <= 1 {
			continue
		}
		path := filepath.Join(r.Dir, entry.Name())
		stays, owned := r.holds(leader, path)
		switch {
		case owned:
			continue
		case stays:
			left++
		}
		ending.Go(func() error {
			if stays {
				End(leader)
			}
			return os.Remove(path)
		})
	}
	_ = ending.Wait() // a file that stays says nothing that is true of others
	return left
}

// noteOf is what is kept of a leader: when it began, and who is to forget it.
func noteOf(owner int, began string) []byte {
	since, _ := beginning(owner)
	return fmt.Appendf(nil, "%s %s %d %s\n", boot(), began, owner, since)
}

// holds reports whether a leader was left, and its number is still its own: it is as long as anybody is in its session or group,
// also without the leader itself.
func (r Reaper) holds(leader int, path string) (holds, owned bool) {
	text, err := os.ReadFile(path)
	if err != nil {
		return false, false
	}
	var booted, began, since string
	var owner int
	if _, err := fmt.Sscan(string(text), &booted, &began, &owner, &since); err != nil || booted != boot() {
		return false, false
	}
	if now, alive := beginning(owner); alive && now == since {
		return false, true
	}
	now, alive := beginning(leader)
	return (!alive || now == began) && members(leader, 0) > 0, false
}

// End ends a leader and all that is in its session or group: they are hung up, and soon after killed. Who left both, as a service
// does that shall stay, stays. It takes some seconds at most.
func End(leader int) {
	members(leader, hangUp)
	ticker := time.NewTicker(look)
	defer ticker.Stop()
	for limit := time.Now().Add(killAfter); members(leader, 0) > 0 && time.Now().Before(limit); {
		<-ticker.C
	}
	// Who was forking meanwhile is found the next time.
	for limit := time.Now().Add(giveUp); members(leader, kill) > 0 && time.Now().Before(limit); {
		<-ticker.C
	}
}
