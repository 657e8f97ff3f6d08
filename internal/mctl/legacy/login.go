package legacy

import (
	"errors"
	"io/fs"
	"path/filepath"

	"golang.org/x/crypto/ssh"

	controllerv1 "mctl/proto/mctl/controller/v1"
)

// findLogin finds out how to log in to the host, and with what key.
func (s *subject) findLogin() {
	if s.Driver == "none" {
		return
	}
	user, port := s.login.SSHUser, s.login.SSHPort
	if user == "" {
		user = "root"
	}
	if port <= 0 || port > 65535 {
		port = 22
	}
	address := s.login.IPAddress
	if s.Driver == "virtualbox" {
		address = "127.0.0.1" // where VirtualBox forwards the port from
	}
	key, path := s.findKey()
	switch {
	case address == "":
		s.note("", "its host has no address that is known, so the driver has to tell one")
	case key != nil:
		s.Request.Ssh = &controllerv1.SSHEndpoint{Address: address, User: user, Port: uint32(port)} //nolint:gosec // checked above
		s.Request.SshKey = key
		if s.Driver == "generic" {
			s.Request.Spec.DriverOptions = append(s.Request.Spec.DriverOptions, &controllerv1.DriverOption{Name: "generic-ssh-key", Content: key})
		}
	case path == "": // said below
		s.Request.Ssh = &controllerv1.SSHEndpoint{Address: address, User: user, Port: uint32(port)} //nolint:gosec // checked above
	default:
		s.Request.Ssh = &controllerv1.SSHEndpoint{Address: address, User: user, Port: uint32(port)} //nolint:gosec // checked above
		s.Request.Agentless = sentence("its SSH key %s was no use when it was imported", path)
	}
}

// findKey reads the private key. Without one it is said why, and path is where it should be; empty where the store names none.
func (s *subject) findKey() (key []byte, path string) {
	const hint = "put the key there before the import: without a login the host gets no agent. After it, `mctl import --undo` comes first"
	path = s.rebase(s.login.SSHKeyPath)
	candidates := []string{path}
	if path == "" {
		candidates = []string{filepath.Join(s.folder, "id_rsa")}
	} else {
		candidates = append(candidates, filepath.Join(s.folder, filepath.Base(path)))
	}
	for _, candidate := range candidates {
		text, err := s.reader.read(candidate)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			s.note(hint, "its SSH key %s can't be read: %s", candidate, cause(err))
			return nil, candidate
		}
		if publicRSA(text) != nil {
			return text, candidate
		}
		var locked *ssh.PassphraseMissingError
		switch _, err := ssh.ParsePrivateKey(text); {
		case errors.As(err, &locked):
			s.note("take the passphrase off (ssh-keygen -p) before the import: without a login the host gets no agent. After it, `mctl import --undo` comes first", "its SSH key %s has a passphrase", candidate)
			return nil, candidate
		case err != nil:
			s.note(hint, "its SSH key %s is no private key", candidate)
			return nil, candidate
		}
		return text, candidate
	}
	if path == "" {
		s.note("have the key in your ssh-agent and `mctl retry` the machine", "the store has no SSH key for it, so that mctl needs one that your ssh-agent lends")
		return nil, ""
	}
	s.note(hint, "its SSH key %s is missing", path)
	return nil, path
}
