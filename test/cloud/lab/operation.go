package lab

import (
	"context"
	"fmt"
	"time"
)

// Operation is an act that goes on after its call was answered. Whoever begins one gives scope, action and doc.
type Operation struct {
	Record
	Action string // the front's word
	Target uint64 // id of what is acted on
	Begun  time.Time
	Ended  time.Time // zero while it goes on
	Err    error     // why it failed
	done   chan struct{}
}

// operate begins an operation, and has its work done with the call's faults. undo takes back what was recorded before, when
// the work fails; nil for nothing. The caller has the lock.
func (c *Call) operate(o Operation, target uint64, work func(ctx context.Context) error, undo func()) Operation {
	l := c.lab
	o.ID, o.Target, o.Begun, o.done = l.newID(), target, time.Now(), make(chan struct{})
	o.Name = fmt.Sprintf("operation-%d", o.ID)
	l.operations.put(o, lag{})
	unstick := l.unstick
	l.working.Go(func() {
		err := c.act(l.life, work)
		if err != nil && undo != nil {
			undo()
		}
		if c.stuck {
			select {
			case <-unstick:
			case <-l.life.Done():
			}
		}
		l.finish(o.Ref, err)
	})
	return o
}

// Nothing begins an operation that does nothing, for what a front does by itself.
func (c *Call) Nothing(o Operation) Operation {
	c.lab.mu.Lock()
	defer c.lab.mu.Unlock()
	return c.operate(o, 0, func(context.Context) error { return nil }, nil)
}

func (c *Call) act(ctx context.Context, work func(context.Context) error) error {
	if err := wait(ctx, c.slow, nil); err != nil {
		return err
	}
	if c.late != nil {
		return c.late
	}
	return work(ctx)
}

func (l *Lab) finish(ref Ref, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	o, _ := l.operations.get(ref)
	o.Ended, o.Err = time.Now(), err
	l.operations.put(o, lag{})
	close(o.done)
	if err != nil {
		l.config.Logger.Info("operation failed", "operation", o.Name, "action", o.Action, "error", err)
	}
}

// Operation returns one; NotFound when there is none.
func (l *Lab) Operation(ref Ref) (Operation, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	o, ok := l.operations.get(ref)
	if !ok {
		return o, refuse(NotFound, "there is no operation %s", ref.Name)
	}
	return o, nil
}

// WaitOperation returns an operation when it has ended, or as it is after the limit.
func (l *Lab) WaitOperation(ctx context.Context, ref Ref, limit time.Duration) (Operation, error) {
	o, err := l.Operation(ref)
	if err != nil {
		return o, err
	}
	if err := wait(ctx, limit, o.done); err != nil {
		return o, err
	}
	return l.Operation(ref)
}

// Operations lists all that ever were, the oldest first.
func (l *Lab) Operations() []Operation {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.operations.all()
}

// Once begins an operation unless one was begun with the same token, which is returned then. A begin that is refused does
// not count. An empty token is no token.
func (l *Lab) Once(ctx context.Context, token string, begin func() (Operation, error)) (Operation, error) {
	if token == "" {
		return begin()
	}
	release, err := l.tokens.take(ctx, token)
	if err != nil {
		return Operation{}, err
	}
	defer release()
	l.mu.Lock()
	earlier, ok := l.begun[token]
	l.mu.Unlock()
	if ok {
		return l.Operation(earlier)
	}
	o, err := begin()
	if err == nil {
		l.mu.Lock()
		l.begun[token] = o.Ref
		l.mu.Unlock()
	}
	return o, err
}
