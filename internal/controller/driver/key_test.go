package driver

import (
	"crypto/ed25519"
	"crypto/rand"
	"encoding/pem"
	"strings"
	"testing"

	"golang.org/x/crypto/ssh"

	"mctl/internal/fault"
)

func TestAKeyThatCannotBeUsedSaysWhatItIs(t *testing.T) {
	public, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	locked, err := ssh.MarshalPrivateKeyWithPassphrase(private, "", []byte("open sesame"))
	if err != nil {
		t.Fatal(err)
	}
	sshPublic, err := ssh.NewPublicKey(public)
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		content []byte
		says    string
	}{
		"passphrase":        {pem.EncodeToMemory(locked), "has a passphrase"},
		"encrypted PKCS #8": {pem.EncodeToMemory(&pem.Block{Type: "ENCRYPTED PRIVATE KEY", Bytes: []byte("x")}), "has a passphrase"},
		"empty":             {[]byte(" \n"), "is empty"},
		"PuTTY":             {[]byte("PuTTY-User-Key-File-3: ssh-ed25519\n"), "PuTTY"},
		"public key":        {ssh.MarshalAuthorizedKey(sshPublic), "a public key"},
		"garbage":           {[]byte("hunter2\x00\x1b[31m"), "neither"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := ParseKey(c.content)
			if !fault.Is(err, fault.Invalid) || fault.HintOf(err) == "" || !strings.Contains(err.Error(), c.says) {
				t.Errorf("%v, hint %q", err, fault.HintOf(err))
			}
			if strings.Contains(err.Error(), "hunter2") {
				t.Error("the content is in the error")
			}
		})
	}
}

func TestAPlainKeyIsRead(t *testing.T) {
	_, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	block, err := ssh.MarshalPrivateKey(private, "")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := ParseKey(pem.EncodeToMemory(block)); err != nil {
		t.Error(err)
	}
}
