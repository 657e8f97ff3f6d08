package link

import (
	"context"
	"time"
)

// rest is the pause before the next session. It is cut short when SSH opens a way. false when ctx ended first.
func (l *Link) rest(ctx context.Context, pause time.Duration) bool {
	for end := l.config.Now().Add(pause); ; {
		left := end.Sub(l.config.Now())
		if !wait(ctx, min(left, lookForSockets)) {
			return false
		}
		if left <= lookForSockets || l.fresh() {
			return true
		}
	}
}

// renewal is when the certificate is to be replaced: the host's own choice, or earlier when the controller said so; and its end.
func (l *Link) renewal() (at, end time.Time) {
	at, end = l.config.Identity.Renewal()
	if told := l.renewAt.Load(); told != nil && told.Before(at) {
		at = *told
	}
	return at, end
}

// wait lets time pass; false when ctx ended first.
func wait(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}
