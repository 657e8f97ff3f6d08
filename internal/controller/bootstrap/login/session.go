package login

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"
	"unicode"

	"golang.org/x/crypto/ssh"

	"mctl/internal/fault"
)

// Limits of what a host may say, so that a broken or hostile one can't fill the controller's memory.
const (
	maxLine       = 64 << 10
	maxOutput     = 4 << 20
	maxComplaint  = 4 << 10
	maxTextLength = 400 // of a text for people
)

// Outcome is how a command ended.
type Outcome struct {
	Status int
	Stderr string // its beginning
}

// Complaint is what a command said on standard error, for people.
func (o Outcome) Complaint() string {
	for line := range strings.Lines(o.Stderr) {
		if text := Clean(line); text != "" {
			return text
		}
	}
	return fmt.Sprintf("exit status %d", o.Status)
}

// Run executes a command and hands over each line of its output. A command that fails is no error; one whose end is not
// known is fault.Unavailable, and the connection is lost then. stdin and line may be nil.
func (c *Connection) Run(ctx context.Context, limit time.Duration, command string, stdin io.Reader, line func(string)) (Outcome, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, limit, fmt.Errorf("no end within %s", limit))
	defer cancel()
	// A session can't be left alone while it runs, so the whole connection goes with it.
	stop := context.AfterFunc(ctx, func() { c.cancel(context.Cause(ctx)) })
	defer stop()
	session, err := c.client.NewSession()
	if err != nil {
		return Outcome{}, c.broken(err)
	}
	defer func() { _ = session.Close() }()
	complaint := &beginning{}
	session.Stdin, session.Stderr = stdin, complaint
	stdout, err := session.StdoutPipe()
	if err != nil {
		return Outcome{}, c.broken(err)
	}
	if err := session.Start(command); err != nil {
		return Outcome{}, c.broken(err)
	}
	lines := bufio.NewScanner(io.LimitReader(stdout, maxOutput))
	lines.Buffer(nil, maxLine)
	for lines.Scan() {
		if line != nil {
			line(lines.Text())
		}
	}
	if n, _ := io.Copy(io.Discard, io.LimitReader(stdout, 1)); n > 0 || lines.Err() != nil {
		return Outcome{}, fault.E("login.Run", fault.Precondition, c.Machine, fmt.Errorf("%s says more than it should", c.Address))
	}
	err = session.Wait()
	out := Outcome{Stderr: complaint.text.String()}
	var exit *ssh.ExitError
	switch {
	case errors.As(err, &exit):
		out.Status = exit.ExitStatus()
	case err != nil && !errors.Is(err, io.EOF): // EOF: it ended before it had read all
		return out, c.broken(err)
	}
	return out, nil
}

// beginning keeps the first part of what is written.
type beginning struct{ text bytes.Buffer }

func (b *beginning) Write(p []byte) (int, error) {
	b.text.Write(p[:min(len(p), maxComplaint-b.text.Len())])
	return len(p), nil
}

// Clean makes one line for people of what a host or user gave: no control characters, not long.
func Clean(text string) string {
	text = strings.Map(func(r rune) rune {
		if unicode.IsPrint(r) {
			return r
		}
		return ' '
	}, text)
	text = strings.TrimSpace(text)
	if runes := []rune(text); len(runes) > maxTextLength {
		return string(runes[:maxTextLength]) + "…"
	}
	return text
}

// broken is the fault of a connection that ended in the middle.
func (c *Connection) broken(err error) error {
	if cause := context.Cause(c.ctx); cause != nil {
		err = cause
	}
	return fault.E("login.Run", fault.Unavailable, c.Machine, fmt.Errorf("the SSH connection to %s broke off: %w", c.Address, err))
}

var errSilent = errors.New("the host went silent")
