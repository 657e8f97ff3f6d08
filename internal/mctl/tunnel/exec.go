package tunnel

import (
	"context"
	"errors"
	"io"
	"os"
	"os/signal"
	"strings"
	"sync"
	"syscall"

	"golang.org/x/term"

	"mctl/internal/fault"
	"mctl/internal/frame"
	"mctl/internal/mctl/cli"
	tunnelv1 "mctl/proto/mctl/tunnel/v1"
)

// command is what ssh's arguments after the host's name come to.
type command struct {
	text     string // for the host's shell; empty for a login shell
	terminal bool
	noInput  bool
}

// parseCommand reads the arguments as ssh does, as far as they mean something here.
func parseCommand(args []string, interactive bool) (command, error) {
	var c command
	terminal, given := false, false
	for len(args) > 0 && strings.HasPrefix(args[0], "-") && args[0] != "-" {
		option := args[0]
		args = args[1:]
		if option == "--" {
			break
		}
		for _, letter := range strings.TrimPrefix(option, "-") {
			switch letter {
			case 't':
				terminal, given = true, true
			case 'T':
				terminal, given = false, true
			case 'n':
				c.noInput = true
			case 'q':
			default:
				return c, fault.New("tunnel.parseCommand", fault.Invalid, option, "through the agent there is no option "+option+" of ssh").
					WithHint("`mctl forward` forwards ports; --via direct has all of ssh's options").WithReason(fault.ReasonUsage)
			}
		}
	}
	c.text = strings.Join(args, " ")
	c.terminal = terminal || !given && interactive && len(args) == 0
	return c, nil
}

// Session is a command, or a login shell, that has begun on a host.
type Session struct {
	tunnel  *Tunnel
	machine string
	command command
	file    *os.File // our terminal, if it is to be the host's; else nil
}

// SSH begins what `mctl ssh` wants, through the agent. args are ssh's after the host's name. Run must be called; where SSH
// fails, nothing has begun.
func SSH(ctx context.Context, env *cli.Env, machine string, args []string) (*Session, error) {
	c, err := parseCommand(args, env.InTerm)
	if err != nil {
		return nil, err
	}
	client, err := env.Client(ctx)
	if err != nil {
		return nil, err
	}
	s := &Session{machine: machine, command: c}
	wanted := &tunnelv1.Exec{Command: c.text}
	if c.terminal {
		wanted.Terminal = &tunnelv1.Terminal{Type: env.Getenv("TERM")}
		if file, isFile := env.In.(*os.File); isFile && env.InTerm { // or there is no terminal here, and only the host has one
			s.file, wanted.Terminal.Size = file, sizeOf(file)
		}
	}
	s.tunnel, err = Open(ctx, client, machine, &tunnelv1.Work{What: &tunnelv1.Work_Exec{Exec: wanted}})
	if err != nil {
		return nil, err
	}
	return s, nil
}

// Run goes on until it ends on the host, and ends as it does.
func (s *Session) Run(ctx context.Context, env *cli.Env) error {
	t := s.tunnel
	defer t.Close()
	if s.file != nil {
		before, err := term.MakeRaw(int(s.file.Fd()))
		if err != nil {
			return fault.E("tunnel.Run", fault.Internal, s.machine, err)
		}
		defer func() { _ = term.Restore(int(s.file.Fd()), before) }()
		defer t.followSize(s.file)()
	}
	if s.command.noInput {
		_ = t.End()
	} else {
		go t.feed(env.In) // which may wait for input that nobody wants any more
	}
	return t.Output(ctx, env.Out, env.Err)
}

// feed sends a reader's data to the host, up to its end.
func (t *Tunnel) feed(r io.Reader) {
	buffer := make([]byte, frame.MaxData)
	for {
		n, err := r.Read(buffer)
		if n > 0 {
			if _, err := t.Write(buffer[:n]); err != nil {
				return
			}
		}
		if err != nil {
			_ = t.End()
			return
		}
	}
}

// Output writes what the host says until the work ends, and returns a cli.Exit for an end other than success.
func (t *Tunnel) Output(ctx context.Context, out, complaints io.Writer) error {
	for {
		said, err := t.Recv()
		if ctx.Err() != nil {
			return cli.Exit{Code: cli.ExitInterrupted}
		}
		if err != nil {
			return err
		}
		switch kind := said.GetKind().(type) {
		case *tunnelv1.Frame_Data:
			_, err = out.Write(kind.Data)
		case *tunnelv1.Frame_ErrorData:
			_, err = complaints.Write(kind.ErrorData)
		case *tunnelv1.Frame_Exit:
			if kind.Exit.GetCode() == 0 {
				return nil
			}
			return cli.Exit{Code: int(kind.Exit.GetCode())}
		}
		if err != nil { // nobody reads it any more
			return cli.Exit{Code: cli.ExitFailure}
		}
	}
}

func sizeOf(terminal *os.File) *tunnelv1.Size {
	columns, rows, err := term.GetSize(int(terminal.Fd()))
	if err != nil || rows < 0 || columns < 0 {
		return &tunnelv1.Size{}
	}
	return &tunnelv1.Size{Rows: uint32(rows), Columns: uint32(columns)}
}

// followSize tells the host when our terminal gets another size, until the function that it returns is called.
func (t *Tunnel) followSize(terminal *os.File) func() {
	changed, done := make(chan os.Signal, 1), make(chan struct{})
	signal.Notify(changed, syscall.SIGWINCH)
	var group sync.WaitGroup
	group.Go(func() {
		for {
			select {
			case <-done:
				return
			case <-changed:
				if err := t.Send(&tunnelv1.Frame{Kind: &tunnelv1.Frame_Size{Size: sizeOf(terminal)}}); errors.Is(err, io.EOF) {
					return
				}
			}
		}
	})
	return func() {
		signal.Stop(changed)
		close(done)
		group.Wait()
	}
}
