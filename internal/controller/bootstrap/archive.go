package bootstrap

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sync"

	"mctl/internal/fault"
)

// maxAgent bounds what is read as an agent.
const maxAgent = 100 << 20

// archive is the agent for one architecture.
type archive struct {
	digest     string // SHA-256 of the binary, hexadecimal
	compressed []byte // gzip
}

// archives keeps the agents in memory, compressed once for all hosts.
type archives struct {
	dir   string
	mu    sync.Mutex
	known map[string]archive
}

// prepare compresses an agent while somebody does something else.
func (a *archives) prepare(arch string) {
	go func() { _, _ = a.get(arch) }()
}

// get returns the agent for an architecture; those who come meanwhile wait. A failure is not kept.
func (a *archives) get(arch string) (archive, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if found, ok := a.known[arch]; ok {
		return found, nil
	}
	found, err := pack(filepath.Join(a.dir, "agent-linux-"+arch))
	if err != nil {
		return archive{}, fault.E("bootstrap.archive", fault.Precondition, arch, fmt.Errorf("the agent for linux/%s can't be read: %w", arch, err)).
			WithHint("`make build` puts it beside the controller; --agent-dir names another directory")
	}
	a.known[arch] = found
	return found, nil
}

// pack reads and compresses a binary. It is fast rather than small, because somebody waits for it.
func pack(path string) (archive, error) {
	file, err := os.Open(path)
	if err != nil {
		return archive{}, err
	}
	defer file.Close()
	digest, compressed := sha256.New(), &bytes.Buffer{}
	writer, err := gzip.NewWriterLevel(compressed, gzip.BestSpeed)
	if err != nil {
		return archive{}, err
	}
	n, err := io.Copy(io.MultiWriter(digest, writer), io.LimitReader(file, maxAgent+1))
	if err != nil {
		return archive{}, err
	}
	if n == 0 || n > maxAgent {
		return archive{}, fmt.Errorf("%s has %d bytes or more, which is no agent", path, n)
	}
	if err := writer.Close(); err != nil {
		return archive{}, err
	}
	return archive{digest: hex.EncodeToString(digest.Sum(nil)), compressed: compressed.Bytes()}, nil
}
