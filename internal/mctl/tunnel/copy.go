package tunnel

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"mctl/internal/fault"
	"mctl/internal/filetree"
	"mctl/internal/frame"
	"mctl/internal/mctl/cli"
	tunnelv1 "mctl/proto/mctl/tunnel/v1"
)

// Place is one end of a copy.
type Place struct {
	Machine string // empty for here
	Path    string
}

// Copy copies a file, or with recursive a tree, from one place to another, of which at least one is a host. Between two hosts
// it goes through here.
func Copy(ctx context.Context, env *cli.Env, from, to Place, recursive bool) error {
	asked := filetree.Asked{Path: from.Path, Recursive: recursive}
	switch {
	case from.Machine == "":
		sink, err := openCopy(ctx, env, to, true, recursive)
		if err != nil {
			return err
		}
		defer sink.Close()
		return sink.fill(ctx, func(w io.Writer) error { return filetree.Send(w, from.Path, recursive) })
	case to.Machine == "":
		source, err := openCopy(ctx, env, from, false, recursive)
		if err != nil {
			return err
		}
		defer source.Close()
		return interrupted(ctx, filetree.Receive(&reader{copying: source}, to.Path, asked))
	}
	source, err := openCopy(ctx, env, from, false, recursive)
	if err != nil {
		return err
	}
	defer source.Close()
	sink, err := openCopy(ctx, env, to, true, recursive)
	if err != nil {
		return err
	}
	defer sink.Close()
	return sink.fill(ctx, func(w io.Writer) error { return filetree.Relay(w, &reader{copying: source}, asked) })
}

// copying is a copy at a host.
type copying struct {
	*Tunnel
	place Place
}

func openCopy(ctx context.Context, env *cli.Env, place Place, toHost, recursive bool) (copying, error) {
	client, err := env.Client(ctx)
	if err != nil {
		return copying{}, err
	}
	wanted := &tunnelv1.Copy{Path: place.Path, ToHost: toHost, Recursive: recursive}
	t, err := Open(ctx, client, place.Machine, &tunnelv1.Work{What: &tunnelv1.Work_Copy{Copy: wanted}})
	return copying{t, place}, err
}

// fill sends a stream to the host and waits until it is all in place. A stream that breaks off is told by both sides.
func (c copying) fill(ctx context.Context, produce func(io.Writer) error) error {
	heard := make(chan error, 1)
	go func() {
		_, err := io.Copy(io.Discard, &reader{copying: c})
		heard <- err
	}()
	produced := produce(c)
	_ = c.End()
	theirs := <-heard
	if theirs != nil && errors.Is(produced, io.EOF) {
		produced = nil // the host has said why it took no more
	}
	return interrupted(ctx, errors.Join(produced, theirs))
}

func interrupted(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return cli.Exit{Code: cli.ExitInterrupted}
	}
	return err
}

// reader reads what a host sends, up to its last word; io.EOF when that is a good one.
type reader struct {
	copying copying
	rest    []byte
	said    bytes.Buffer // to standard error
	end     error
}

// Read implements io.Reader.
func (r *reader) Read(p []byte) (int, error) {
	for len(r.rest) == 0 {
		if r.end != nil {
			return 0, r.end
		}
		r.next()
	}
	n := copy(p, r.rest)
	r.rest = r.rest[n:]
	return n, nil
}

func (r *reader) next() {
	said, err := r.copying.Recv()
	if err != nil {
		r.end = err
		return
	}
	switch kind := said.GetKind().(type) {
	case *tunnelv1.Frame_Data:
		r.rest = kind.Data
	case *tunnelv1.Frame_ErrorData:
		r.said.Write(kind.ErrorData[:min(len(kind.ErrorData), max(0, frame.MaxData-r.said.Len()))])
	case *tunnelv1.Frame_Exit:
		if r.end = r.copying.ended(kind.Exit, r.said.String()); r.end == nil {
			r.end = io.EOF
		}
	}
}

// ended is the host's last word as an error, a sentence for each line that it said.
func (c copying) ended(exit *tunnelv1.Exit, said string) error {
	if exit.GetCode() == 0 {
		return nil
	}
	var failed []error
	for line := range strings.Lines(said) {
		failed = append(failed, fault.New("tunnel.Copy", fault.Precondition, c.place.Machine, c.place.Machine+": "+strings.TrimSpace(line)).WithHint("look at paths and rights on the host"))
	}
	if len(failed) == 0 {
		failed = append(failed, fault.E("tunnel.Copy", fault.Precondition, c.place.Machine, fmt.Errorf("the copy on %s ended with code %d", c.place.Machine, exit.GetCode())))
	}
	return errors.Join(failed...)
}
