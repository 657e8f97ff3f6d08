package top

import (
	"context"
	"os"
	"os/signal"
	"syscall"
	"time"

	"golang.org/x/sync/errgroup"

	"mctl/internal/mctl/cli"
	"mctl/internal/mctl/screen"
)

const (
	// calm is the least time between two pictures: more than people can read costs only their computer's time.
	calm = 250 * time.Millisecond
	// costly is how many times as long as a picture took nothing else is drawn, so that large fleets take no more.
	costly = 20
	// tick is how often ages are told anew.
	tick = time.Second
)

// live shows the fleet until somebody has seen enough: by a key, a signal or the end of ctx, none of which is a failure.
func live(ctx context.Context, env *cli.Env, names []string, o order) error {
	ctx, stop := signal.NotifyContext(ctx, syscall.SIGHUP)
	defer stop()
	terminal := &screen.Screen{Out: env.Out.(*os.File)}
	if file, ok := env.In.(*os.File); ok && env.InTerm {
		terminal.Keyboard = file
	}
	signals := make(chan os.Signal, 8)
	signal.Notify(signals, syscall.SIGWINCH, syscall.SIGTSTP, syscall.SIGCONT)
	defer signal.Stop(signals)
	if err := terminal.Enter(); err != nil {
		return err
	}
	defer terminal.Leave()
	f := newFleet(env, names)
	group, ctx := errgroup.WithContext(ctx)
	ctx, cancel := context.WithCancel(ctx)
	group.Go(func() error { return f.follow(ctx) })
	group.Go(func() error {
		defer cancel()
		return watchScreen(ctx, env, f, terminal, signals, o)
	})
	return group.Wait()
}

// watchScreen draws what changes and does what keys and signals ask for.
func watchScreen(ctx context.Context, env *cli.Env, f *fleet, terminal *screen.Screen, signals <-chan os.Signal, o order) error {
	keys := make(chan screen.Key)
	go screen.ReadKeys(env.In, keys, ctx.Done()) // which may wait for a key that nobody wants any more
	view := view{order: o}
	var rows []*row
	next := time.NewTimer(0) // when to draw
	defer next.Stop()
	last, cost := time.Time{}, time.Duration(0) // of the last picture
	soon := func() { next.Reset(max(max(calm, costly*cost)-time.Since(last), 0)) }
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-f.changed:
			soon()
		case s := <-signals:
			switch s {
			case syscall.SIGTSTP:
				if err := suspend(terminal); err != nil {
					return err
				}
			case syscall.SIGCONT:
				if err := terminal.Enter(); err != nil {
					return err
				}
			}
			terminal.Forget()
			next.Reset(0)
		case k := <-keys:
			switch k {
			case 'q', 'Q', screen.Interrupt:
				return nil
			case screen.Suspend:
				if err := suspend(terminal); err != nil {
					return err
				}
			case screen.Redraw:
				terminal.Forget()
			}
			view.press(k, len(rows))
			next.Reset(0)
		case <-next.C:
			if !terminal.Entered() { // the stop that was asked for is still on its way
				continue
			}
			began := time.Now()
			var synced bool
			var broken error
			rows, synced, broken = f.shown(rows, view.order)
			view.width, view.height = terminal.Size()
			view.now = env.Now()
			view.scroll(0, len(rows))
			if err := terminal.Draw(view.lines(rows, synced, broken)); err != nil {
				return err
			}
			last, cost = time.Now(), time.Since(began)
			next.Reset(tick)
		}
	}
}

// suspend gives the terminal back and stops this process, as the key for it does elsewhere. SIGCONT takes it again.
func suspend(terminal *screen.Screen) error {
	terminal.Leave()
	return syscall.Kill(syscall.Getpid(), syscall.SIGSTOP)
}

// press does what a key asks for, with so many rows.
func (v *view) press(k screen.Key, rows int) {
	all := columns()
	switch page := max(v.body(), 1); k {
	case screen.Left:
		v.order = order{by: (v.order.by + len(all) - 1) % len(all)}
	case screen.Right:
		v.order = order{by: (v.order.by + 1) % len(all)}
	case 'r':
		v.order.reversed = !v.order.reversed
	case screen.Up, 'k':
		v.scroll(-1, rows)
	case screen.Down, 'j':
		v.scroll(1, rows)
	case screen.PageUp:
		v.scroll(-page, rows)
	case screen.PageDown, ' ':
		v.scroll(page, rows)
	case screen.Home:
		v.offset = 0
	case screen.End:
		v.scroll(rows, rows)
	}
	for i, c := range all {
		if k == screen.Key(c.letter) {
			v.order = order{by: i}
		}
	}
}

// scroll moves by some rows, as far as there are any.
func (v *view) scroll(by, rows int) {
	v.offset = max(min(v.offset+by, rows-v.body()), 0)
}
