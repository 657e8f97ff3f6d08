// Package login is what sshd does for a user of the host beyond the connection: it knows accounts and what a login sets, and
// runs programs for them, each in a session of its own that can be ended whole.
package login

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"mctl/internal/fault"
)

// lookupLimit bounds a question to the host's directory services.
const lookupLimit = 5 * time.Second

// account is a user of the host.
type Account struct {
	Name, Home, Shell string
	UID, GID          uint32
	Groups            []uint32 // with GID
}

// Accounts knows the host's users: those in its files and, beyond them, those of its name service.
type Accounts struct{ Root string } // Root is "/" but in tests

// Find returns an account; fault.Precondition for a user that the host does not have.
func (a Accounts) Find(ctx context.Context, name string) (Account, error) {
	const op = "login.Find"
	if name == "" || strings.ContainsAny(name, ":\n") || strings.HasPrefix(name, "-") {
		return Account{}, fault.E(op, fault.Invalid, name, fmt.Errorf("%q can't be a user", name))
	}
	ctx, cancel := context.WithTimeout(ctx, lookupLimit)
	defer cancel()
	line, local := a.entry("passwd", name)
	if !local && a.Root == "/" {
		answer, err := exec.CommandContext(ctx, "getent", "passwd", name).Output()
		if err == nil {
			line = strings.TrimSpace(string(answer))
		}
	}
	fields := strings.Split(line, ":")
	if len(fields) < 7 || fields[0] != name {
		return Account{}, fault.E(op, fault.Precondition, name, fmt.Errorf("this host has no user %q", name))
	}
	uid, uidErr := strconv.ParseUint(fields[2], 10, 32)
	gid, gidErr := strconv.ParseUint(fields[3], 10, 32)
	if err := errors.Join(uidErr, gidErr); err != nil {
		return Account{}, fault.E(op, fault.Precondition, name, fmt.Errorf("the entry of user %q can't be read", name))
	}
	found := Account{Name: name, Home: fields[5], Shell: fields[6], UID: uint32(uid), GID: uint32(gid)}
	if found.Shell == "" {
		found.Shell = "/bin/sh"
	}
	found.Groups = append([]uint32{found.GID}, a.groups(ctx, found, local)...)
	slices.Sort(found.Groups)
	found.Groups = slices.Compact(found.Groups)
	return found, nil
}

// entry is the line of a name in one of the files under /etc.
func (a Accounts) entry(file, name string) (string, bool) {
	for line := range a.lines(file) {
		if strings.HasPrefix(line, name+":") {
			return line, true
		}
	}
	return "", false
}

func (a Accounts) groups(ctx context.Context, user Account, local bool) []uint32 {
	var groups []uint32
	add := func(text string) {
		if gid, err := strconv.ParseUint(text, 10, 32); err == nil {
			groups = append(groups, uint32(gid))
		}
	}
	for line := range a.lines("group") {
		if fields := strings.Split(line, ":"); len(fields) >= 4 && slices.Contains(strings.Split(fields[3], ","), user.Name) {
			add(fields[2])
		}
	}
	if !local {
		if answer, err := exec.CommandContext(ctx, "id", "-G", user.Name).Output(); err == nil {
			for _, text := range strings.Fields(string(answer)) {
				add(text)
			}
		}
	}
	return groups
}

// lines are those of a file under /etc; a file that can't be read has none.
func (a Accounts) lines(file string) func(yield func(string) bool) {
	return func(yield func(string) bool) {
		opened, err := os.Open(filepath.Join(a.Root, "etc", file))
		if err != nil {
			return
		}
		defer opened.Close()
		for scanner := bufio.NewScanner(opened); scanner.Scan(); {
			if !yield(scanner.Text()) {
				return
			}
		}
	}
}

// Environment is what a login sets: what sshd does, and what the host wants for everybody.
func (a Accounts) Environment(user Account, extra []string) []string {
	path := "/usr/local/bin:/usr/bin:/bin:/usr/games"
	if user.UID == 0 {
		path = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
	}
	environment := []string{
		"PATH=" + path, "USER=" + user.Name, "LOGNAME=" + user.Name, "HOME=" + user.Home, "SHELL=" + user.Shell, "MAIL=/var/mail/" + user.Name,
	}
	for line := range a.lines("environment") {
		name, value, assigned := strings.Cut(strings.TrimPrefix(strings.TrimSpace(line), "export "), "=")
		if assigned && !strings.HasPrefix(name, "#") {
			environment = append(environment, name+"="+strings.Trim(value, `"'`))
		}
	}
	return append(environment, extra...)
}

// TerminalGroup is whose members may write to others' terminals: tty, or the user's own group where there is none.
func (a Accounts) TerminalGroup(user Account) int {
	if line, found := a.entry("group", "tty"); found {
		if fields := strings.Split(line, ":"); len(fields) > 2 {
			if gid, err := strconv.Atoi(fields[2]); err == nil {
				return gid
			}
		}
	}
	return int(user.GID)
}
