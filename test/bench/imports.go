package main

import (
	"fmt"
	"os"
	"path/filepath"
	"time"

	"mctl/internal/mctl/legacy/sample"
)

// imported is how many machines the store has that is imported.
const imported = 1000

// imports is how long it takes to bring along a large store, none of whose hosts is there: every check, every record, every folder.
func (b *bench) imports() error {
	dir := filepath.Join(b.folder, "legacy")
	store, err := sample.New(dir, "/home/user/.docker/machine")
	if err != nil {
		return err
	}
	if err := store.Fill("host", imported); err != nil {
		return err
	}
	var plans, imports []float64
	for i := range 3 {
		root, stop := b.state(fmt.Sprintf("import-%d", i))
		if _, err := b.run(root, "ls", "-q"); err != nil { // starts the controller
			return err
		}
		for _, take := range []struct {
			args    []string
			figures *[]float64
		}{{[]string{"import", "--dry-run", dir}, &plans}, {[]string{"import", dir}, &imports}} {
			began := time.Now()
			if _, err := b.run(root, take.args...); err != nil {
				return err
			}
			*take.figures = append(*take.figures, time.Since(began).Seconds())
		}
		stop()
		_ = os.RemoveAll(root)
	}
	row(fmt.Sprintf("import --dry-run of %d machines", imported), "s", "2 s", plans...)
	row(fmt.Sprintf("import of %d machines", imported), "s", "2 s", imports...)
	return nil
}
