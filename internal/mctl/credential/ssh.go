package credential

import (
	"bytes"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"syscall"
	"unicode"

	"golang.org/x/crypto/ssh"

	"mctl/internal/fault"
)

// maxFile bounds a file that is sent to the controller; a private key has about 3 kB, user data at most 64 kB.
const maxFile = 256 << 10

// KeyPair is an SSH key for logging in.
type KeyPair struct {
	Private    []byte // OpenSSH format
	Authorized string // one line of authorized_keys
}

// NewKeyPair makes an Ed25519 key; comment ends its public line.
func NewKeyPair(comment string) (KeyPair, error) {
	const op = "credential.NewKeyPair"
	public, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return KeyPair{}, fault.E(op, fault.Internal, "", err)
	}
	block, err := ssh.MarshalPrivateKey(private, comment)
	if err != nil {
		return KeyPair{}, fault.E(op, fault.Internal, "", err)
	}
	key, err := ssh.NewPublicKey(public)
	if err != nil {
		return KeyPair{}, fault.E(op, fault.Internal, "", err)
	}
	line := string(bytes.TrimSpace(ssh.MarshalAuthorizedKey(key))) + " " + comment
	return KeyPair{Private: pem.EncodeToMemory(block), Authorized: line}, nil
}

// ReadFile reads a file that a flag names, on the caller's side. What is wrong with it is one sentence, and the create is
// refused. A private key must be readable by its owner alone and have no passphrase, since nobody could be asked for it.
func ReadFile(flag, path string) ([]byte, error) {
	refuse := func(sentence, hint string) error {
		return fault.New("credential.ReadFile", fault.Precondition, path, sentence).WithHint(hint).WithReason(fault.ReasonPrecheck)
	}
	shown := "'" + path + "'"
	if strings.ContainsFunc(path, unicode.IsControl) {
		shown = strconv.Quote(path)
	}
	// A pipe that nobody writes to would never open otherwise.
	file, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	switch {
	case errors.Is(err, os.ErrNotExist):
		return nil, refuse(fmt.Sprintf("the file of --%s does not exist: %s", flag, shown), "check the path")
	case err != nil:
		return nil, refuse(shown+" is not readable", "check its owner and mode")
	}
	defer file.Close()
	info, err := file.Stat()
	if err != nil || !info.Mode().IsRegular() {
		return nil, refuse(shown+" is not readable", "name a regular file")
	}
	content, err := io.ReadAll(io.LimitReader(file, maxFile+1))
	if err != nil {
		return nil, refuse(shown+" is not readable", "check its owner and mode")
	}
	if len(content) > maxFile {
		return nil, refuse(fmt.Sprintf("%s is too large: more than %d kB", shown, maxFile>>10), "check the path")
	}
	if !bytes.HasPrefix(bytes.TrimSpace(content), []byte("-----BEGIN")) || !bytes.Contains(content, []byte("PRIVATE KEY-----")) {
		return content, nil // no key, or one inside of something else, such as a cloud's credentials
	}
	if mode := info.Mode().Perm(); mode&0o077 != 0 {
		return nil, refuse(fmt.Sprintf("permissions %#o for %s are too open", mode, shown), "chmod 600 "+shown)
	}
	var locked *ssh.PassphraseMissingError
	if _, err := ssh.ParseRawPrivateKey(content); errors.As(err, &locked) {
		return nil, refuse(fmt.Sprintf("the key %s has a passphrase", shown),
			"load it into an ssh-agent with ssh-add and leave --"+flag+" out, or use a key without passphrase")
	} else if err != nil {
		return nil, refuse(shown+" holds no private key that can be read", "check the path")
	}
	return content, nil
}

// AuthorizedLine returns the public line of a private key in PEM or OpenSSH format.
func AuthorizedLine(private []byte) ([]byte, error) {
	signer, err := ssh.ParsePrivateKey(private)
	if err != nil {
		return nil, err
	}
	return ssh.MarshalAuthorizedKey(signer.PublicKey()), nil
}
