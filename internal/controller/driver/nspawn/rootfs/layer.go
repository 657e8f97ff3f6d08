//go:build linux

package rootfs

import (
	"io"
	"os"
	"slices"
	"strings"

	"golang.org/x/crypto/ssh"
	"golang.org/x/sys/unix"
)

// HostKeys reads sshd's public keys out of a host's upper layer. They are the host's word about itself, so they are checked
// and bounded; paths cannot lead out.
func HostKeys(upper string) []string {
	root, err := os.OpenRoot(upper)
	if err != nil {
		return nil
	}
	defer root.Close()
	var keys []string
	for _, kind := range hostKeyKinds {
		file, err := root.OpenFile("etc/ssh/ssh_host_"+kind+"_key.pub", os.O_RDONLY|unix.O_NONBLOCK, 0)
		if err != nil {
			continue
		}
		content, err := io.ReadAll(io.LimitReader(file, 4096))
		file.Close()
		if err != nil {
			continue
		}
		if key, _, _, _, err := ssh.ParseAuthorizedKey(content); err == nil {
			keys = append(keys, strings.TrimSpace(string(ssh.MarshalAuthorizedKey(key))))
		}
	}
	return keys
}

// RefreshResolver lets a host that was off follow the computer to another network, unless it minds its own resolver. The
// host's root may have put links there, which must not lead out.
func RefreshResolver(upper string) error {
	content := resolvConf()
	if content == "" {
		return nil
	}
	root, err := os.OpenRoot(upper)
	if err != nil {
		return err
	}
	defer root.Close()
	const name = "etc/resolv.conf"
	if info, err := root.Lstat(name); err != nil || !info.Mode().IsRegular() {
		return err
	}
	if err := root.Remove(name); err != nil {
		return err
	}
	return root.WriteFile(name, []byte(content), 0o644)
}

// resolvConf is what hosts resolve names with: the computer's own, but never an address that only the computer reaches.
func resolvConf() string {
	for _, path := range []string{"/etc/resolv.conf", "/run/systemd/resolve/resolv.conf"} {
		content, err := os.ReadFile(path)
		if err != nil || len(content) > 64<<10 {
			continue
		}
		lines := strings.Split(strings.TrimSpace(string(content)), "\n")
		lines = slices.DeleteFunc(lines, func(line string) bool {
			fields := strings.Fields(line)
			return len(fields) > 1 && fields[0] == "nameserver" && (strings.HasPrefix(fields[1], "127.") || fields[1] == "::1")
		})
		if slices.ContainsFunc(lines, func(line string) bool { return strings.HasPrefix(line, "nameserver") }) {
			return strings.Join(lines, "\n") + "\n"
		}
	}
	return ""
}
