package link

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"mctl/internal/fault"
)

// SocketDir is where the controller's SSH connections leave their sockets. It belongs to the user that the controller logs in
// as, because sshd makes sockets as that user.
const SocketDir = "/run/mctl-link"

// portFile, in SocketDir, names the loopback port where sshd does not forward unix sockets.
const portFile = "port"

const (
	maxSockets = 4 // newest ones that are tried
	maxPort    = 16
)

var socketName = regexp.MustCompile(`^[0-9a-f]{16}\.sock$`)

// way is one way to the controller.
type way struct {
	network, address string
	name             string // of a socket, or the port file with its port; empty for a direct one
	made             time.Time
}

// prepareSockets makes the directory for sockets, where one is wanted. It may be repeated, and is, since /run is emptied now
// and then.
func (l *Link) prepareSockets(uid int) error {
	dir := l.config.SocketDir
	if dir == "" {
		return nil
	}
	err := os.Mkdir(dir, 0o700)
	if errors.Is(err, fs.ErrExist) {
		err = nil
	}
	var info fs.FileInfo
	if err == nil {
		info, err = os.Lstat(dir)
	}
	switch {
	case err != nil:
	case !info.IsDir():
		err = fmt.Errorf("%s is no directory", dir)
	case owner(info) != uid:
		err = os.Lchown(dir, uid, -1)
	}
	if err != nil {
		return fault.E("link.prepareSockets", fault.Internal, dir, err)
	}
	return nil
}

func owner(info fs.FileInfo) int {
	if stat, ok := info.Sys().(*syscall.Stat_t); ok {
		return int(stat.Uid)
	}
	return -1
}

// sockets are the ways that SSH connections opened, newest first. What is in the directory was put there by another user:
// it is looked at through a root that nothing leads out of, and who answers must be our controller all the same.
func (l *Link) sockets() []way {
	if l.config.SocketDir == "" {
		return nil
	}
	root, err := os.OpenRoot(l.config.SocketDir)
	if err != nil {
		return nil
	}
	defer root.Close()
	entries, err := fs.ReadDir(root.FS(), ".")
	if err != nil {
		return nil
	}
	var found []way
	for _, entry := range entries {
		info, err := root.Lstat(entry.Name())
		switch {
		case err != nil:
		case socketName.MatchString(entry.Name()) && info.Mode().Type() == fs.ModeSocket:
			found = append(found, way{network: "unix", address: filepath.Join(l.config.SocketDir, entry.Name()), name: entry.Name(), made: info.ModTime()})
		case entry.Name() == portFile && info.Mode().IsRegular():
			if port, ok := readPort(root); ok {
				found = append(found, way{network: "tcp", address: "127.0.0.1:" + port, name: portFile + " " + port, made: info.ModTime()})
			}
		}
	}
	slices.SortFunc(found, func(a, b way) int { return b.made.Compare(a.made) })
	if len(found) > maxSockets {
		l.removeSockets(root, found[maxSockets:])
		found = found[:maxSockets]
	}
	return found
}

func readPort(root *os.Root) (string, bool) {
	file, err := root.Open(portFile)
	if err != nil {
		return "", false
	}
	defer file.Close()
	text, err := io.ReadAll(io.LimitReader(file, maxPort))
	port := strings.TrimSpace(string(text))
	n, errNumber := strconv.ParseUint(port, 10, 16)
	return port, err == nil && errNumber == nil && n > 0
}

// supersede removes sockets older than the one that a connection was made through: sshd leaves them behind, and one that hangs
// can hold its own for hours.
func (l *Link) supersede(by way) {
	if by.name != "" {
		l.drop(slices.DeleteFunc(l.sockets(), func(w way) bool { return !w.made.Before(by.made) }))
	}
}

// drop removes sockets that lead nowhere.
func (l *Link) drop(stale []way) {
	if len(stale) == 0 {
		return
	}
	root, err := os.OpenRoot(l.config.SocketDir)
	if err != nil {
		return
	}
	defer root.Close()
	l.removeSockets(root, stale)
}

func (l *Link) removeSockets(root *os.Root, stale []way) {
	for _, w := range stale {
		if w.network != "unix" {
			continue // the next one replaces it
		}
		if err := root.Remove(w.name); err != nil && !errors.Is(err, fs.ErrNotExist) {
			l.config.Logger.Warn("a stale socket stays", "socket", w.name, "error", err)
		}
	}
}

// fresh reports whether an SSH connection has opened a way that was not tried last time.
func (l *Link) fresh() bool {
	return slices.ContainsFunc(l.sockets(), func(w way) bool { return !l.tried[w.name] })
}
