package front

import (
	"bytes"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/google/renameio/v2"

	"mctl/internal/fault"
	"mctl/internal/pki"
)

// DockerDir is where users of docker-machine look for the engine's certificates.
const DockerDir = "/etc/docker"

// Footprint remembers what we put on the host, so that it can be taken away.
type Footprint interface {
	// File is called before a path is created or changed.
	File(path string) error
	// Written is called after.
	Written(path string) error
}

// The files that Export writes.
const (
	exportedCA, exportedKey, exportedCertificate = "ca.pem", "server-key.pem", "server.pem"
)

// Exported are the names of the files that Export writes.
func Exported() []string { return []string{exportedCA, exportedKey, exportedCertificate} }

// Export copies the material in dir to target (DockerDir but in tests) as ca.pem, server.pem and server-key.pem. Nothing
// reads them but people. Files that hold the same already stay. NotFound when there is no material yet. It may be repeated.
func Export(dir, target string, footprint Footprint) error {
	material, err := ReadMaterial(dir)
	if err != nil {
		return err
	}
	key, err := pki.EncodeKey(material.Key)
	if err != nil {
		return fault.E("front.Export", fault.Internal, serverFile, err)
	}
	for _, file := range []struct {
		name    string
		content []byte
		mode    fs.FileMode
	}{
		{exportedCA, material.ClientCA, 0o644},
		{exportedKey, key, 0o600},
		{exportedCertificate, pki.EncodeCertificates(material.Chain...), 0o644},
	} {
		path := filepath.Join(target, file.name)
		if present, err := os.ReadFile(path); err == nil && bytes.Equal(present, file.content) {
			continue
		}
		if err := footprint.File(path); err != nil { // before the folder comes into being, which is in the footprint too
			return err
		}
		if err := os.MkdirAll(target, 0o755); err != nil {
			return fault.E("front.Export", fault.Precondition, target, err)
		}
		if err := renameio.WriteFile(path, file.content, file.mode, renameio.WithTempDir(target), renameio.WithStaticPermissions(file.mode)); err != nil {
			return fault.E("front.Export", fault.Precondition, path, fmt.Errorf("can't write %s: %w", path, err))
		}
		if err := footprint.Written(path); err != nil {
			return err
		}
	}
	return nil
}
