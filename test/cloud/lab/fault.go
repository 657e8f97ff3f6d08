package lab

import (
	"context"
	"path"
	"time"
)

// BootFault is how an instance fails to come up although its provider says that it runs.
type BootFault string

// The faults of booting.
const (
	NeverBoots BootFault = "never boots" // nothing ever answers at its address
	NoSSH      BootFault = "no sshd"     // it boots, and nothing listens on port 22
)

// Fault says which calls fail, and how. All of its effects that are set take place.
type Fault struct {
	Call    string // path.Match pattern for the front's name of the call; empty for every one
	Scope   string // path.Match pattern, where the asterisk does not match a slash; empty for every one
	Subject string // path.Match pattern for the name of what the call is about; empty for every one
	Skip    int    // let so many calls that match pass first
	Times   int    // how many calls; zero for one, negative for all

	Do    func()        // called before anything else happens
	Delay time.Duration // how much longer the call takes
	Error *Error        // the call is refused, before it does anything
	Raw   *Raw          // the call is answered with this, before it does anything
	Late  *Error        // the call is taken, and its operation fails in the end with nothing done
	Slow  time.Duration // how much longer the call's operation takes, before it does anything
	Stuck bool          // the call's operation acts, and does not end until Unstick
	Boot  BootFault     // of the instance that the call creates or starts
	// Behind is how many reads of what the call makes or removes are answered from before: eventual consistency. Every page
	// of a list is a read. It ends after BehindFor, if that is set.
	Behind     int
	BehindFor  time.Duration
	LoseAnswer bool // the call does all, and then the connection breaks
}

// Raw is an answer that no front makes.
type Raw struct {
	Status      int
	ContentType string
	Body        string
}

// Fail adds a fault. Of the faults that match a call, all count.
func (l *Lab) Fail(f Fault) {
	if f.Times == 0 {
		f.Times = 1
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.faults = append(l.faults, &f)
}

// Heal forgets every fault, and lets stuck operations end.
func (l *Lab) Heal() {
	l.mu.Lock()
	l.faults = nil
	l.mu.Unlock()
	l.Unstick()
}

// Unstick lets the operations that are stuck end.
func (l *Lab) Unstick() {
	l.mu.Lock()
	defer l.mu.Unlock()
	close(l.unstick)
	l.unstick = make(chan struct{})
}

// Calls returns how often each call was made, refused ones included, and how many were beyond the rate.
func (l *Lab) Calls() (byName map[string]int, beyondRate int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	byName = map[string]int{}
	for name, n := range l.calls {
		byName[name] = n
	}
	return byName, l.refused
}

// Call is a call that was admitted, with what is going to go wrong.
type Call struct {
	lab        *Lab
	Raw        *Raw // what to answer with instead, before doing anything
	LoseAnswer bool // break the connection instead of answering
	Boot       BootFault
	late       *Error
	slow       time.Duration
	stuck      bool
	behind     lag
}

// Admit takes a call of a front, which must ask it before it does anything else, and returns when the cloud's latency is over.
// The error is *Error, or the context's.
func (l *Lab) Admit(ctx context.Context, name, scope, subject string) (*Call, error) {
	if l.life.Err() != nil {
		return nil, refuse(Unavailable, "the cloud is closed")
	}
	l.mu.Lock()
	l.calls[name]++
	if !l.limiter.Allow() {
		l.refused++
		l.mu.Unlock()
		return nil, &Error{Kind: RateLimited, Text: "too many requests", RetryAfter: time.Second}
	}
	matching := l.match(name, scope, subject)
	l.mu.Unlock()

	c, delay := &Call{lab: l}, l.config.Latency
	var refused *Error
	for _, f := range matching {
		if f.Do != nil {
			f.Do()
		}
		delay += f.Delay
		if f.Error != nil {
			refused = f.Error
		}
		c.take(f)
	}
	if err := wait(ctx, delay, nil); err != nil {
		return nil, err
	}
	if refused != nil {
		return nil, refused
	}
	return c, nil
}

// Setup returns a call of nobody, with which a front makes what is there from the start. See Seal.
func (l *Lab) Setup() *Call { return &Call{lab: l} }

func (c *Call) take(f *Fault) {
	if f.Raw != nil {
		c.Raw = f.Raw
	}
	if f.Late != nil {
		c.late = f.Late
	}
	if f.Boot != "" {
		c.Boot = f.Boot
	}
	c.slow += f.Slow
	c.behind.reads += f.Behind
	c.behind.limit = max(c.behind.limit, f.BehindFor)
	c.stuck = c.stuck || f.Stuck
	c.LoseAnswer = c.LoseAnswer || f.LoseAnswer
}

// match returns the faults of a call and uses them up. The caller has the lock.
func (l *Lab) match(name, scope, subject string) []*Fault {
	var found, left []*Fault
	for _, f := range l.faults {
		switch {
		case !matches(f.Call, name) || !matches(f.Scope, scope) || !matches(f.Subject, subject):
		case f.Skip > 0:
			f.Skip--
		default:
			found = append(found, f)
			if f.Times > 0 {
				f.Times--
			}
		}
		if f.Times != 0 {
			left = append(left, f)
		}
	}
	l.faults = left
	return found
}

func matches(pattern, text string) bool {
	ok, err := path.Match(pattern, text)
	return pattern == "" || ok && err == nil
}

// wait returns after a while, or when the channel closes, or with the context's error.
func wait(ctx context.Context, d time.Duration, early <-chan struct{}) error {
	if d <= 0 {
		return ctx.Err()
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-early:
	case <-ctx.Done():
		return ctx.Err()
	}
	return nil
}
