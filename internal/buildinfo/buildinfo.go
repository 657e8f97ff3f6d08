// Package buildinfo says which build this is.
package buildinfo

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"os"
	"runtime/debug"
)

// Protocol is the version of the agent link that this build speaks. It is raised when two sides could not talk any more;
// both sides support the one before.
const Protocol = 1

// version is set by the linker.
var version string

// Version returns the version of this build, "dev" where the build was told none.
func Version() string {
	if version != "" {
		return version
	}
	if info, ok := debug.ReadBuildInfo(); ok && info.Main.Version != "" && info.Main.Version != "(devel)" {
		return info.Main.Version
	}
	return "dev"
}

// Digest returns the hexadecimal SHA-256 of the running executable, which tells two builds of one version apart. It reads
// the whole file each time; keep the answer.
func Digest() (string, error) {
	path, err := os.Executable()
	if err != nil {
		return "", fmt.Errorf("find own executable: %w", err)
	}
	file, err := os.Open(path)
	if err != nil {
		return "", fmt.Errorf("open own executable: %w", err)
	}
	defer file.Close()
	hash := sha256.New()
	if _, err := io.Copy(hash, file); err != nil {
		return "", fmt.Errorf("read own executable: %w", err)
	}
	return hex.EncodeToString(hash.Sum(nil)), nil
}
