package login

import (
	"errors"
	"io"
	"os"
	"slices"
)

// Pipes are those between us and one program. The first failure to make one is kept in Err.
type Pipes struct {
	Err          error
	ours, theirs []*os.File
}

// To makes one that the program reads.
func (p *Pipes) To(end *io.Reader) *os.File {
	r, w, err := os.Pipe()
	if err != nil {
		p.Err = errors.Join(p.Err, err)
		return nil
	}
	p.ours, p.theirs, *end = append(p.ours, w), append(p.theirs, r), r
	return w
}

// From makes one that the program writes.
func (p *Pipes) From(end *io.Writer) *os.File {
	r, w, err := os.Pipe()
	if err != nil {
		p.Err = errors.Join(p.Err, err)
		return nil
	}
	p.ours, p.theirs, *end = append(p.ours, r), append(p.theirs, w), w
	return r
}

// Handed closes the ends that the program has by now. May be repeated.
func (p *Pipes) Handed() {
	for _, file := range p.theirs {
		_ = file.Close()
	}
}

// Close closes all, which ends reads and writes that wait. May be repeated.
func (p *Pipes) Close() {
	for _, file := range slices.Concat(p.ours, p.theirs) {
		_ = file.Close()
	}
}
