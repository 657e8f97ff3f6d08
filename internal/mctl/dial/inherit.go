package dial

import (
	"os"
	"strconv"
	"syscall"
)

// keepToOurselves has the controller not inherit what we inherited without knowing: it outlives the shell that we were called
// from, and would hold that shell's locks and pipes open.
func keepToOurselves() {
	entries, err := os.ReadDir("/dev/fd")
	if err != nil {
		return
	}
	for _, entry := range entries {
		if fd, err := strconv.Atoi(entry.Name()); err == nil && fd > 2 {
			syscall.CloseOnExec(fd)
		}
	}
}

// environment is what a task gets of ours: nothing that could be a credential, since those travel with each
// request, by whoever makes it.
func (l Local) environment() []string {
	var kept []string
	for _, name := range []string{
		"PATH", "HOME", "USER", "LANG", "TMPDIR", "XDG_RUNTIME_DIR", "SSL_CERT_FILE", "SSL_CERT_DIR", "GODEBUG", "GOCOVERDIR",
		"HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "http_proxy", "https_proxy", "no_proxy",
		"MCTL_CONTROLLER_BIN", "MCTL_SEAL_KEY", "MCTL_LISTEN", "MCTL_ADVERTISE", "MCTL_PLUGIN_USER",
		"MCTL_DEV_ISSUED_EARLIER", // nothing to a release
	} {
		if value, ok := l.Lookup(name); ok {
			kept = append(kept, name+"="+value)
		}
	}
	if _, told := l.Lookup("MCTL_PLUGIN_USER"); !told {
		kept = append(kept, "MCTL_PLUGIN_USER=") // its starter's own controller runs its starter's plugins as its starter
	}
	return kept
}
