//go:build linux

package rootfs

import (
	"fmt"
	"io"
	"os"
	"path"
	"slices"
	"strconv"
	"strings"

	"mctl/internal/fault"
)

// account is who logs in.
type account struct {
	uid, gid int
	home     string // relative to the root
}

// account finds the user in the image, or adds one who may sudo without a password.
func (h Host) account(t *tree, image string) (account, error) {
	users, err := table(image, "etc/passwd")
	if err != nil {
		return account{}, err
	}
	name := h.User
	a := account{uid: 1000, gid: 1000, home: "home/" + name}
	found := slices.IndexFunc(users, func(fields []string) bool { return fields[0] == name && len(fields) >= 6 })
	if found >= 0 {
		fields := users[found]
		a.uid, _ = strconv.Atoi(fields[2])
		a.gid, _ = strconv.Atoi(fields[3])
		a.home = strings.TrimPrefix(path.Clean("/"+fields[5]), "/")
	}
	if a.home == "" {
		return a, refuse(flagUser, fmt.Errorf("%s has no home in the image", name), "choose another user")
	}
	if name == "root" {
		return a, nil
	}
	if !inside(image, "usr/bin/sudo") {
		return a, refuse(flagUser, fmt.Errorf("there is no sudo in the image, which %s would need", name), "log in as root, or use another image")
	}
	t.dir("etc/sudoers.d", 0o750)
	t.file("etc/sudoers.d/90-mctl", 0o440, name+" ALL=(ALL:ALL) NOPASSWD:ALL\n")
	if found >= 0 {
		return a, nil
	}
	return a, h.addAccount(t, image, users, &a)
}

// addAccount writes the image's account files with one line more. An asterisk is no password, and does not lock the
// account for sshd as an exclamation mark does.
func (h Host) addAccount(t *tree, image string, users [][]string, a *account) error {
	groups, err := table(image, "etc/group")
	if err != nil {
		return err
	}
	taken := func(id int) bool {
		return slices.ContainsFunc(slices.Concat(users, groups), func(fields []string) bool { return len(fields) > 2 && fields[2] == strconv.Itoa(id) })
	}
	for taken(a.uid) {
		a.uid++
	}
	a.gid = a.uid
	shell := "/bin/sh"
	if inside(image, "usr/bin/bash", "bin/bash") {
		shell = "/bin/bash"
	}
	for _, file := range []struct {
		path, line string
		mode       os.FileMode
	}{
		{"etc/passwd", fmt.Sprintf("%s:x:%d:%d::/%s:%s\n", h.User, a.uid, a.gid, a.home, shell), 0o644},
		{"etc/group", fmt.Sprintf("%s:x:%d:\n", h.User, a.gid), 0o644},
		{"etc/shadow", fmt.Sprintf("%s:*:19000:0:99999:7:::\n", h.User), 0o640},
		{"etc/gshadow", fmt.Sprintf("%s:*::\n", h.User), 0o640},
	} {
		content, err := slurp(image, file.path)
		if err != nil {
			return err
		}
		t.file(file.path, file.mode, strings.TrimRight(content, "\n")+"\n"+file.line)
		if file.mode == 0o640 {
			t.own(file.path, 0, shadowGroup(groups))
		}
	}
	return nil
}

func shadowGroup(groups [][]string) int {
	for _, fields := range groups {
		if fields[0] == "shadow" && len(fields) > 2 {
			id, _ := strconv.Atoi(fields[2])
			return id
		}
	}
	return 0
}

// table reads an account file.
func table(image, name string) ([][]string, error) {
	content, err := slurp(image, name)
	if err != nil {
		return nil, err
	}
	var rows [][]string
	for line := range strings.Lines(content) {
		rows = append(rows, strings.Split(strings.TrimSpace(line), ":"))
	}
	return rows, nil
}

// slurp reads a small file of an image; its links cannot lead out.
func slurp(image, name string) (string, error) {
	root, err := os.OpenRoot(image)
	if err != nil {
		return "", err
	}
	defer root.Close()
	file, err := root.Open(name)
	if err != nil {
		return "", fault.E("rootfs", fault.Precondition, "", fmt.Errorf("read the image: %w", err))
	}
	defer file.Close()
	content, err := io.ReadAll(io.LimitReader(file, 1<<20))
	return string(content), err
}
