package plugin

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"

	"mctl/internal/controller/driver"
	"mctl/internal/controller/driver/plugin/folder"
	"mctl/internal/controller/driver/plugin/wire"
	"mctl/internal/fault"
)

// Prefix in front of a driver's name asks for the plugin, also where we have a driver of that name. A file may follow the
// name, after fileMark: "plugin:generic@/usr/local/bin/docker-machine".
const (
	Prefix   = "plugin:"
	fileMark = "@"
	// filePrefix is what plugins are called.
	filePrefix = "docker-machine-driver-"
)

var driverName = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$`)

// program is a plugin's file and the driver that it is asked for.
type program struct {
	asked string // as users name it
	name  string // as the plugin is told
	path  string
}

func (p program) label() string { return filepath.Base(p.path) }

// NamesFile reports whether a driver's name names a file of the controller's computer.
func NamesFile(name string) bool {
	return strings.HasPrefix(name, Prefix) && strings.Contains(name, fileMark)
}

// Find returns the driver that a plugin serves, after asking it for its flags: NAME or plugin:NAME for the file
// docker-machine-driver-NAME in the directory of drivers or in PATH, plugin:NAME@FILE for that file. fault.NotFound when there is
// no such file, fault.Precondition when it is no plugin, or not one that can be used. It may be repeated: a file that is as
// it was is not asked again.
func (p *Plugins) Find(name string) (*Driver, error) {
	found, err := p.find(name)
	if err != nil {
		return nil, err
	}
	account, err := folder.FindAccount(p.config.User)
	if err != nil {
		return nil, err
	}
	d := &Driver{plugins: p, plugin: found, account: account}
	stamp, err := stampOf(found.path)
	if err != nil {
		return nil, fault.E("plugin.Find", fault.NotFound, name, fmt.Errorf("the plugin %s is gone", found.path))
	}
	p.mu.Lock()
	asked := p.asked[found]
	if asked == nil {
		asked = &answer{}
		p.asked[found] = asked
	}
	p.mu.Unlock()
	// One at a time asks one plugin.
	asked.mu.Lock()
	defer asked.mu.Unlock()
	if asked.stamp != stamp {
		if asked.flags, asked.schema, err = d.describe(p.life); err != nil { // the answer is kept for whoever asks next
			return nil, err
		}
		asked.stamp = stamp
	}
	d.flags, d.schema = asked.flags, asked.schema
	return d, nil
}

// List returns a driver for each plugin that is found without being named, by name. They know no flags, since nothing is run
// that nobody asked for.
func (p *Plugins) List() []driver.Driver {
	var names []string
	for _, dir := range p.directories() {
		entries, err := os.ReadDir(dir)
		if err != nil {
			continue // PATH may name what is not there
		}
		for _, entry := range entries {
			if name, ok := strings.CutPrefix(entry.Name(), filePrefix); ok && driverName.MatchString(name) {
				names = append(names, name)
			}
		}
	}
	slices.Sort(names)
	var all []driver.Driver
	for _, name := range slices.Compact(names) {
		if found, err := p.find(name); err == nil {
			all = append(all, &Driver{plugins: p, plugin: found})
		}
	}
	return all
}

func (p *Plugins) find(asked string) (program, error) {
	name, file, named := asked, "", false
	if rest, forced := strings.CutPrefix(asked, Prefix); forced {
		name, file, named = strings.Cut(rest, fileMark)
	}
	if !driverName.MatchString(name) {
		return program{}, fault.E("plugin.find", fault.NotFound, asked, fmt.Errorf("%q is no driver's name", asked)).WithReason(fault.ReasonUsage)
	}
	if named {
		if err := usable(file); err != nil {
			return program{}, err
		}
		return program{asked, name, file}, nil
	}
	var unusable error
	for _, dir := range p.directories() {
		path := filepath.Join(dir, filePrefix+name)
		err := usable(path)
		if err == nil {
			return program{asked, name, path}, nil
		}
		if _, there := os.Lstat(path); there == nil {
			unusable = cmp.Or(unusable, err)
		}
	}
	if unusable != nil {
		return program{}, unusable
	}
	return program{}, fault.E("plugin.find", fault.NotFound, asked, fmt.Errorf("Driver %q not found", name)). //nolint:staticcheck // docker-machine's words
															WithHint(fmt.Sprintf("put %s%s in the controller's PATH or in %s", filePrefix, name, p.config.driversDir())).WithReason(fault.ReasonUsage)
}

// usable refuses a file that can't be run, in a sentence.
func usable(file string) error {
	refuse := func(sentence, hint string) error {
		return fault.E("plugin.find", fault.Precondition, file, fmt.Errorf("%s %s", printable(file, maxSentence), sentence)).
			WithHint(hint).WithReason(fault.ReasonPrecheck)
	}
	const hint = "name the plugin's program on the controller's computer"
	if !filepath.IsAbs(file) || filepath.Clean(file) != file {
		return refuse("is no absolute path", hint)
	}
	switch err := executable(file); {
	case errors.Is(err, fs.ErrNotExist):
		return refuse("does not exist", hint)
	case err != nil:
		return refuse("is no program that can be run", "if it is the plugin's program, `chmod 755` it")
	}
	return nil
}

func executable(path string) error {
	info, err := os.Stat(path)
	if err != nil {
		return err
	}
	if !info.Mode().IsRegular() || info.Mode()&0o111 == 0 {
		return fs.ErrPermission
	}
	return nil
}

// directories are where plugins are looked for; only absolute ones, since the controller's working directory is nobody's.
func (p *Plugins) directories() []string {
	dirs := []string{p.config.driversDir()}
	for _, dir := range filepath.SplitList(p.config.Path) {
		if filepath.IsAbs(dir) {
			dirs = append(dirs, dir)
		}
	}
	return dirs
}

// stamp tells whether a file is as it was.
type stamp struct {
	device, inode uint64
	size, time    int64
}

func stampOf(path string) (stamp, error) {
	info, err := os.Stat(path)
	if err != nil {
		return stamp{}, err
	}
	s := stamp{size: info.Size(), time: info.ModTime().UnixNano()}
	if system, ok := info.Sys().(*syscall.Stat_t); ok {
		s.device, s.inode = uint64(system.Dev), system.Ino //nolint:unconvert // another type on other systems
	}
	return s, nil
}

// describe asks a plugin for its flags, as docker-machine does before a create.
func (d *Driver) describe(ctx context.Context) ([]wire.Flag, []driver.Flag, error) {
	dir, err := folder.OpenScratch(d.plugins.config.ownFolders(), d.account, "flag-lookup")
	if err != nil {
		return nil, nil, err
	}
	defer dir.Drop()
	s, err := d.open(ctx, dir, driver.Machine{Name: "flag-lookup", Progress: func(string) {}})
	if err != nil {
		return nil, nil, err
	}
	defer s.close(ctx)
	flags, err := s.introduce(ctx, base("flag-lookup", ""))
	var known *fault.Error
	if errors.As(err, &known) {
		return nil, nil, known.WithReason(fault.ReasonPrecheck)
	}
	if err != nil {
		return nil, nil, err
	}
	schema, err := schemaOf(d.plugin.name, flags)
	return flags, schema, err
}
