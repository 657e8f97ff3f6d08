package credential_test

import (
	"bytes"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/pem"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/crypto/ssh"

	"mctl/internal/fault"
	"mctl/internal/mctl/credential"
)

func TestKeyPairBelongsTogether(t *testing.T) {
	pair, err := credential.NewKeyPair("mctl-web")
	if err != nil {
		t.Fatal(err)
	}
	line, err := credential.AuthorizedLine(pair.Private)
	if err != nil || strings.TrimSpace(string(line))+" mctl-web" != pair.Authorized {
		t.Errorf("%q, %q, %v", line, pair.Authorized, err)
	}
	other, err := credential.NewKeyPair("mctl-web")
	if err != nil || bytes.Equal(other.Private, pair.Private) {
		t.Error("two keys are the same one")
	}
	if _, err := credential.AuthorizedLine([]byte("no key")); err == nil {
		t.Error("no key has a public line")
	}
}

func locked(t *testing.T) []byte {
	t.Helper()
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	block, err := ssh.MarshalPrivateKeyWithPassphrase(key, "", []byte("secret"))
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(block)
}

func TestFileOfAFlagIsReadOrRefusedInOneSentence(t *testing.T) {
	dir := t.TempDir()
	pair, err := credential.NewKeyPair("x")
	if err != nil {
		t.Fatal(err)
	}
	file := func(name string, content []byte, mode os.FileMode) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, content, mode); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(path, mode); err != nil {
			t.Fatal(err)
		}
		return path
	}
	pipe := filepath.Join(dir, "pipe")
	if err := syscall.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct{ path, sentence, hint string }{
		"missing":       {dir + "/nosuch", "the file of --key does not exist: '" + dir + "/nosuch'", "check the path"},
		"a directory":   {dir, "'" + dir + "' is not readable", "name a regular file"},
		"a pipe":        {pipe, "'" + pipe + "' is not readable", "name a regular file"},
		"below a file":  {file("f", nil, 0o600) + "/x", "'" + dir + "/f/x' is not readable", "check its owner and mode"},
		"too open":      {file("open", pair.Private, 0o644), "permissions 0644 for '" + dir + "/open' are too open", "chmod 600 '" + dir + "/open'"},
		"a passphrase":  {file("locked", locked(t), 0o600), "the key '" + dir + "/locked' has a passphrase", "ssh-add"},
		"broken":        {file("broken", []byte("-----BEGIN OPENSSH PRIVATE KEY-----\nx\n-----END OPENSSH PRIVATE KEY-----\n"), 0o600), "'" + dir + "/broken' holds no private key that can be read", "check the path"},
		"far too large": {file("large", bytes.Repeat([]byte("x"), 257<<10), 0o600), "'" + dir + "/large' is too large: more than 256 kB", "check the path"},
	} {
		content, err := credential.ReadFile("key", c.path)
		if content != nil || err == nil || err.Error() != c.sentence || !strings.Contains(fault.HintOf(err), c.hint) || fault.ReasonOf(err) != fault.ReasonPrecheck {
			t.Errorf("%s: %q, hint %q, reason %q", name, err, fault.HintOf(err), fault.ReasonOf(err))
		}
	}
	for name, c := range map[string]struct {
		content []byte
		mode    os.FileMode
	}{
		"a key":                           {pair.Private, 0o600},
		"a key that nobody may write":     {pair.Private, 0o400},
		"user data, for all to read":      {[]byte("#cloud-config\n"), 0o644},
		"a cloud's credential with a key": {[]byte(`{"private_key": "-----BEGIN PRIVATE KEY-----\n"}`), 0o644},
		"a certificate, for all to read":  {[]byte("-----BEGIN CERTIFICATE-----\n"), 0o644},
		"nothing":                         {[]byte{}, 0o644},
	} {
		content, err := credential.ReadFile("key", file("good", c.content, c.mode))
		if err != nil || !bytes.Equal(content, c.content) {
			t.Errorf("%s: %q, %v", name, content, err)
		}
		_ = os.Remove(filepath.Join(dir, "good"))
	}
}
