// Package seal encrypts what must not be read from the store: AES-256-GCM under one key for each store, the record's key
// being the additional data, so that a value can't be moved to another record.
package seal

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"mctl/internal/fault"
)

const (
	keySize = 32
	version = 1 // the first byte of what is sealed
)

// Sealer seals and opens. It is safe for use at the same time, and prints nothing of its key.
type Sealer struct {
	aead cipher.AEAD
	key  [keySize]byte
}

// Open makes a sealer with the key in a file, which is made when it is not there, or with given (base64 of 32 bytes) when
// that is not empty. A file that others may read, or a key of another length, is fault.Precondition.
func Open(path, given string) (*Sealer, error) {
	text, source := []byte(given), "MCTL_SEAL_KEY"
	if given == "" {
		source = path
		if err := makeKey(path); err != nil {
			return nil, refuse(path, err, "")
		}
		info, err := os.Stat(path)
		if err != nil {
			return nil, refuse(path, err, "")
		}
		if info.Mode().Perm()&0o077 != 0 {
			return nil, refuse(path, fmt.Errorf("permissions %04o for the seal key %s are too open", info.Mode().Perm(), path), "chmod 600 "+path)
		}
		if text, err = os.ReadFile(path); err != nil {
			return nil, refuse(path, err, "")
		}
	}
	key, err := base64.StdEncoding.DecodeString(strings.TrimSpace(string(text)))
	if err != nil || len(key) != keySize {
		return nil, refuse(path, fmt.Errorf("the seal key in %s is not 32 bytes in base64", source), restore)
	}
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, err
	}
	aead, err := cipher.NewGCM(block)
	if err != nil {
		return nil, err
	}
	return &Sealer{aead: aead, key: [keySize]byte(key)}, nil
}

// restore is what to do where the key is not the one.
const restore = "put the right key back; without it sealed records can't be read"

// Missing is fault.Precondition where Open would make a new key: nobody could read with that what a store holds already.
func Missing(path, given string) error {
	if _, err := os.Stat(path); given != "" || !errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return refuse(path, fmt.Errorf("the seal key %s is missing, with which the store beside it was sealed", path), restore)
}

// makeKey makes the key once: written whole beside, then linked, which fails when another process was first. It is on the
// disk before anything is sealed with it, or a power cut could take the key and leave what it sealed.
func makeKey(path string) error {
	if _, err := os.Stat(path); !errors.Is(err, fs.ErrNotExist) {
		return errors.Join(err, syncDirectory(filepath.Dir(path)))
	}
	key := make([]byte, keySize)
	if _, err := rand.Read(key); err != nil {
		return err
	}
	file, err := os.CreateTemp(filepath.Dir(path), filepath.Base(path)+".new-*") // 0600
	if err != nil {
		return err
	}
	defer os.Remove(file.Name())
	_, err = file.WriteString(base64.StdEncoding.EncodeToString(key) + "\n")
	if err := errors.Join(err, file.Sync(), file.Close()); err != nil {
		return err
	}
	if err := os.Link(file.Name(), path); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	return syncDirectory(filepath.Dir(path))
}

func syncDirectory(path string) error {
	directory, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(directory.Sync(), directory.Close())
}

func refuse(path string, err error, hint string) error {
	return fault.E("seal.Open", fault.Precondition, path, err).WithHint(hint)
}

// Seal encrypts plaintext for the record of a store key. Every call gives another text.
func (s *Sealer) Seal(recordKey string, plaintext []byte) ([]byte, error) {
	sealed := make([]byte, 1+s.aead.NonceSize(), 1+s.aead.NonceSize()+len(plaintext)+s.aead.Overhead())
	sealed[0] = version
	if _, err := rand.Read(sealed[1:]); err != nil {
		return nil, err
	}
	return s.aead.Seal(sealed, sealed[1:], plaintext, []byte(recordKey)), nil
}

// Open decrypts what Seal made for the same record; anything else is fault.Precondition.
func (s *Sealer) Open(recordKey string, sealed []byte) ([]byte, error) {
	head := 1 + s.aead.NonceSize()
	if len(sealed) < head || sealed[0] != version {
		return nil, s.cannot(recordKey)
	}
	plaintext, err := s.aead.Open(nil, sealed[1:head], sealed[head:], []byte(recordKey))
	if err != nil {
		return nil, s.cannot(recordKey)
	}
	return plaintext, nil
}

func (s *Sealer) cannot(recordKey string) error {
	return fault.E("seal.Open", fault.Precondition, recordKey, fmt.Errorf("the secret in %s can't be opened with this seal key", recordKey)).
		WithHint("use the seal.key, or MCTL_SEAL_KEY, that the store was made with")
}

// MAC is HMAC-SHA-256 of data under a key of its own for each purpose.
func (s *Sealer) MAC(purpose string, data []byte) []byte {
	key, err := hkdf.Expand(sha256.New, s.key[:], purpose, keySize)
	if err != nil {
		panic(err) // only for a length that is out of range, and ours is not
	}
	mac := hmac.New(sha256.New, key)
	mac.Write(data)
	return mac.Sum(nil)
}

// String keeps the key out of logs.
func (*Sealer) String() string { return "redacted" }

// GoString keeps the key out of logs.
func (*Sealer) GoString() string { return "redacted" }
