package driver

import (
	"bytes"
	"encoding/pem"
	"errors"
	"strings"

	"golang.org/x/crypto/ssh"

	"mctl/internal/fault"
)

// ParseKey reads a private SSH key, OpenSSH or PEM. What can't be used is fault.Invalid with a sentence that says what it is
// instead; nothing of the content is in it.
func ParseKey(content []byte) (ssh.Signer, error) {
	signer, err := ssh.ParsePrivateKey(content)
	if err == nil {
		return signer, nil
	}
	refuse := func(sentence, hint string) (ssh.Signer, error) {
		return nil, fault.New("driver.ParseKey", fault.Invalid, "", sentence).WithHint(hint)
	}
	text := bytes.TrimSpace(content)
	block, _ := pem.Decode(text)
	var locked *ssh.PassphraseMissingError
	switch {
	case errors.As(err, &locked), block != nil && strings.HasPrefix(block.Type, "ENCRYPTED"):
		return refuse("the SSH key has a passphrase", "add it to your ssh-agent (ssh-add FILE) and leave the key flag out")
	case len(text) == 0:
		return refuse("the SSH key file is empty", "give the file of the private key")
	case bytes.HasPrefix(text, []byte("PuTTY-User-Key-File")):
		return refuse("the SSH key is in PuTTY's format", "export it with puttygen as an OpenSSH key")
	case publicKey(text):
		return refuse("the SSH key is a public key", "give the file of the private key, which has no .pub at its end")
	}
	return refuse("the SSH key is neither in OpenSSH's format nor in PEM", "give the file of a private key that ssh can use")
}

// OpenSSHKey is a private key in a form that every ssh reads: one of the form that the controller's own keys are in (PKCS #8) becomes
// OpenSSH's, any other stays as it is. nil stays nil.
func OpenSSHKey(content []byte) ([]byte, error) {
	block, _ := pem.Decode(content)
	if block == nil || block.Type != "PRIVATE KEY" {
		return content, nil
	}
	key, err := ssh.ParseRawPrivateKey(content)
	if err == nil {
		block, err = ssh.MarshalPrivateKey(key, "")
	}
	if err != nil {
		return nil, fault.New("driver.OpenSSHKey", fault.Internal, "", "the SSH key can't be written in OpenSSH's format")
	}
	return pem.EncodeToMemory(block), nil
}

func publicKey(text []byte) bool {
	_, _, _, _, err := ssh.ParseAuthorizedKey(text)
	return err == nil || bytes.Contains(text, []byte("PUBLIC KEY-----"))
}
