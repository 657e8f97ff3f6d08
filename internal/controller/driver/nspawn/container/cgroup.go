//go:build linux

package container

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"mctl/internal/controller/driver/nspawn/system"
	"mctl/internal/fault"
)

// cgroupParent holds the cgroups of all hosts of this computer, beside whatever the controller is in.
const cgroupParent = "mctl"

// cpuPeriod is what CPU quotas are parts of, in microseconds.
const cpuPeriod = 100_000

// hierarchy is one mounted cgroup tree.
type hierarchy struct {
	path    string
	unified bool // version 2
}

// hierarchies lists the computer's: many on version 1, one on version 2, both on a hybrid.
func hierarchies() ([]hierarchy, error) {
	all, err := system.Mounts()
	if err != nil {
		return nil, err
	}
	var found []hierarchy
	seen := map[string]bool{}
	for _, m := range all {
		key := m.Kind + strings.Join(m.Options, ",")
		if (m.Kind != "cgroup" && m.Kind != "cgroup2") || seen[key] {
			continue
		}
		seen[key] = true
		found = append(found, hierarchy{path: m.Point, unified: m.Kind == "cgroup2"})
	}
	if len(found) == 0 {
		return nil, fault.New("container.hierarchies", fault.Precondition, "", "no cgroups are mounted").WithHint("mount /sys/fs/cgroup")
	}
	return found, nil
}

// group is the cgroup of one host, in every hierarchy.
type group struct {
	id    string
	trees []hierarchy
}

func newGroup(id string) (group, error) {
	trees, err := hierarchies()
	return group{id: id, trees: trees}, err
}

func (g group) dir(tree hierarchy) string { return filepath.Join(tree.path, cgroupParent, g.id) }

// unifiedDir is the version 2 cgroup; empty where there is none.
func (g group) unifiedDir() string {
	for _, tree := range g.trees {
		if tree.unified {
			return g.dir(tree)
		}
	}
	return ""
}

// make makes the cgroups and sets the limits.
func (g group) make(b Boot) error {
	for _, tree := range g.trees {
		if err := g.makeIn(tree); err != nil {
			return fmt.Errorf("cgroup: %w", err)
		}
	}
	for _, l := range b.limits() {
		if err := g.limit(l); err != nil && !l.optional {
			return err
		}
	}
	return nil
}

// makeIn makes the cgroup in one hierarchy. Whoever removes the last host's cgroup takes the parent away too, perhaps just
// now: then it is made again.
func (g group) makeIn(tree hierarchy) error {
	parent := filepath.Join(tree.path, cgroupParent)
	for {
		if err := os.Mkdir(parent, 0o755); err != nil && !errors.Is(err, fs.ErrExist) {
			return err
		}
		inherit(parent)
		if tree.unified {
			delegate(tree.path)
			delegate(parent)
		}
		err := os.Mkdir(g.dir(tree), 0o755)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil && !errors.Is(err, fs.ErrExist) {
			return err
		}
		inherit(g.dir(tree))
		if tree.unified {
			delegate(g.dir(tree))
		}
		return nil
	}
}

// inherit gives a new version 1 cpuset the CPUs and memory nodes of its parent, without which it can hold no process.
func inherit(dir string) {
	for _, name := range []string{"cpuset.cpus", "cpuset.mems"} {
		if own, err := os.ReadFile(filepath.Join(dir, name)); err != nil || len(bytes.TrimSpace(own)) > 0 {
			continue
		}
		if value, err := os.ReadFile(filepath.Join(filepath.Dir(dir), name)); err == nil && len(bytes.TrimSpace(value)) > 0 {
			_ = os.WriteFile(filepath.Join(dir, name), value, 0o644)
		}
	}
}

// delegate gives a version 2 cgroup's children its controllers, as far as it lets us.
func delegate(dir string) {
	controllers, _ := os.ReadFile(filepath.Join(dir, "cgroup.controllers"))
	for name := range bytes.FieldsSeq(controllers) {
		_ = os.WriteFile(filepath.Join(dir, "cgroup.subtree_control"), append([]byte("+"), name...), 0o644)
	}
}

// limit writes the first of the knobs that is there.
func (g group) limit(l limit) error {
	for _, tree := range g.trees {
		for _, knob := range l.knobs {
			file := filepath.Join(g.dir(tree), knob[0])
			if _, err := os.Stat(file); err != nil {
				continue
			}
			if err := os.WriteFile(file, []byte(knob[1]), 0o644); err != nil {
				return fmt.Errorf("limit of %s: %w", l.what, err)
			}
			return nil
		}
	}
	return l.impossible()
}

// join moves a process into the cgroups. On version 2 it gets a leaf of its own, since only leaves may hold processes.
func (g group) join(pid int) error {
	for _, tree := range g.trees {
		dir := g.dir(tree)
		if tree.unified {
			dir = filepath.Join(dir, "launcher")
			if err := os.Mkdir(dir, 0o755); err != nil && !errors.Is(err, fs.ErrExist) {
				return err
			}
		}
		if err := os.WriteFile(filepath.Join(dir, "cgroup.procs"), []byte(strconv.Itoa(pid)), 0o644); err != nil {
			return fmt.Errorf("join cgroup: %w", err)
		}
	}
	return nil
}

// processes lists who is in the cgroups.
func (g group) processes() []int {
	var found []int
	for _, tree := range g.trees {
		_ = filepath.WalkDir(g.dir(tree), func(path string, entry fs.DirEntry, err error) error {
			if err != nil || !entry.IsDir() {
				return nil //nolint:nilerr // it was removed meanwhile
			}
			content, _ := os.ReadFile(filepath.Join(path, "cgroup.procs"))
			for field := range bytes.FieldsSeq(content) {
				if pid, err := strconv.Atoi(string(field)); err == nil && pid > 0 {
					found = append(found, pid)
				}
			}
			return nil
		})
	}
	slices.Sort(found)
	return slices.Compact(found)
}

// holds reports whether a process still is in the cgroups.
func (g group) holds(pid int) bool {
	content, _ := os.ReadFile(fmt.Sprintf("/proc/%d/cgroup", pid))
	return bytes.Contains(append(bytes.ReplaceAll(content, []byte("\n"), []byte("/")), '/'), []byte("/"+cgroupParent+"/"+g.id+"/"))
}

// kill ends every process in the cgroups and returns when they are gone.
func (g group) kill(ctx context.Context) error {
	for {
		pids := g.processes()
		if len(pids) == 0 {
			return nil
		}
		for _, pid := range pids {
			if err := g.killOne(ctx, pid); err != nil {
				return err
			}
		}
	}
}

func (g group) killOne(ctx context.Context, pid int) error {
	p, err := hold(pid)
	if p == nil || err != nil {
		return err
	}
	defer p.close()
	if !g.holds(pid) { // the number has come to mean another
		return nil
	}
	if err := p.signal(unix.SIGKILL); err != nil {
		return err
	}
	return p.wait(ctx)
}

// remove kills what is left and removes the cgroups. The kernel takes a moment to let go of the dead.
func (g group) remove(ctx context.Context) error {
	ticker := time.NewTicker(system.Pause)
	defer ticker.Stop()
	for {
		err := g.kill(ctx)
		for _, tree := range g.trees {
			err = errors.Join(err, removeGroups(g.dir(tree)))
		}
		if err == nil {
			break
		}
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return err
		}
	}
	for _, tree := range g.trees {
		_ = os.Remove(filepath.Join(tree.path, cgroupParent)) // the last one does
	}
	return nil
}

// removeGroups removes a cgroup and those below it. Files in them vanish by themselves.
func removeGroups(dir string) error {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	for _, entry := range entries {
		if entry.IsDir() {
			err = errors.Join(err, removeGroups(filepath.Join(dir, entry.Name())))
		}
	}
	if err != nil {
		return err
	}
	if err := unix.Rmdir(dir); err != nil && !errors.Is(err, unix.ENOENT) {
		return fmt.Errorf("remove cgroup %s: %w", dir, err)
	}
	return nil
}
