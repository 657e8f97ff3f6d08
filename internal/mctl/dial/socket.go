package dial

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"syscall"

	"mctl/internal/fault"
)

// maxSocketPath is what fits into a socket address on every system that we know, with room to spare.
const maxSocketPath = 90

// socketDir is where the caller's sockets are: the session's runtime directory if it is the caller's own, else a private
// directory under /tmp.
func (l Local) socketDir() string {
	if runtime, _ := l.Lookup("XDG_RUNTIME_DIR"); filepath.IsAbs(runtime) && len(runtime) <= 60 && owned(runtime) == nil {
		return filepath.Join(runtime, "mctl")
	}
	return "/tmp/mctl-" + strconv.Itoa(os.Getuid())
}

// Socket is where the controller of the state directory listens: at most 90 bytes, whatever the state directory's path.
func (l Local) Socket() string {
	path := l.Dir.Root
	if resolved, err := filepath.EvalSymlinks(path); err == nil {
		path = resolved
	}
	digest := sha256.Sum256([]byte(path))
	return filepath.Join(l.socketDir(), hex.EncodeToString(digest[:8])+".sock")
}

// OtherSocket is where another task of the caller's listens that has a key of its own: in the directory of the controller's
// socket, which it makes, and at most 90 bytes long.
func (l Local) OtherSocket(key string) (string, error) {
	directory := l.socketDir()
	digest := sha256.Sum256([]byte(l.Dir.Root + "\x00" + key))
	return filepath.Join(directory, hex.EncodeToString(digest[:8])+".s"), makeSocketDir(directory)
}

// CheckPeer refuses whoever is at the other end of a socket, if that is neither the caller nor root.
func CheckPeer(conn *net.UnixConn) error {
	uid, _, err := peerOf(conn)
	if err == nil && uid != os.Getuid() && uid != 0 {
		err = fault.New("dial.CheckPeer", fault.Denied, "", "another user's process is at the other end of the socket")
	}
	return err
}

// noted is where a controller said that it listens. It differs from Socket when it was started in a session with another
// runtime directory.
func (l Local) noted() string { return filepath.Join(l.Dir.Own(), "socket") }

// sockets are all the places where the controller may listen, the likeliest first.
func (l Local) sockets() []string {
	sockets := []string{l.Socket()}
	text, err := os.ReadFile(l.noted())
	if noted := string(text); err == nil && len(noted) <= maxSocketPath && filepath.IsAbs(noted) && noted != sockets[0] {
		sockets = append(sockets, noted)
	}
	return sockets
}

// makeSocketDir makes the directory, or checks the one that is there.
func makeSocketDir(path string) error {
	if err := os.Mkdir(path, 0o700); err != nil && !errors.Is(err, os.ErrExist) {
		return fault.E("dial.makeSocketDir", fault.Precondition, path, err)
	}
	return private(path)
}

// private checks that a directory is the caller's own and that nobody else gets in: otherwise somebody else could answer
// in the controller's place.
func private(path string) error {
	if err := owned(path); err != nil {
		return err
	}
	info, err := os.Lstat(path)
	if err != nil {
		return err
	}
	if info.Mode().Perm()&0o077 != 0 {
		return insecureDir(path, "others may open it")
	}
	return nil
}

func owned(path string) error {
	info, err := os.Lstat(path)
	if err != nil {
		return err
	}
	if !info.IsDir() {
		return insecureDir(path, "it is no directory")
	}
	if stat, ok := info.Sys().(*syscall.Stat_t); !ok || int(stat.Uid) != os.Getuid() {
		return insecureDir(path, "it belongs to another user")
	}
	return nil
}

func insecureDir(path, why string) error {
	return fault.New("dial.socketDir", fault.Precondition, path, "the directory for the controller's socket, "+path+", can't be trusted: "+why).
		WithHint("remove it, or have XDG_RUNTIME_DIR name a directory of your own")
}
