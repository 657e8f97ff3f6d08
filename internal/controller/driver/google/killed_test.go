package google

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"

	"mctl/internal/controller/driver"
)

// killer is the network of a controller that is killed at its nth call: before the call leaves, or when its answer comes.
type killer struct {
	next   http.RoundTripper
	after  bool
	cancel context.CancelFunc

	mu   sync.Mutex
	left int
	dead bool
}

var errKilled = errors.New("killed")

func (k *killer) RoundTrip(r *http.Request) (*http.Response, error) {
	k.mu.Lock()
	k.left--
	strikes := k.left == 0
	k.dead = k.dead || strikes
	dead, after := k.dead, k.after && strikes
	k.mu.Unlock()
	if dead && !after {
		k.cancel()
		return nil, errKilled
	}
	response, err := k.next.RoundTrip(r)
	if after {
		if err == nil {
			response.Body.Close()
		}
		k.cancel()
		return nil, errKilled
	}
	return response, err
}

// killedAt does something with a controller that is killed at its nth call, and reports whether it got that far.
func killedAt(t *testing.T, n int, after bool, act func(context.Context, *Driver)) bool {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	config := quick(t)
	k := &killer{next: config.Transport, after: after, cancel: cancel, left: n}
	config.Transport = k
	act(ctx, New(config))
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.dead
}

func instances(s *stub) (found []string) {
	for _, p := range s.list() {
		if strings.Contains(p, "/instances/") {
			found = append(found, p)
		}
	}
	return found
}

func TestAControllerKilledAtAnyCallGoesOn(t *testing.T) {
	kinds := map[string][]string{"plain": nil, "own address": {"google-reserve-address", "true"}}
	for name, options := range kinds {
		for _, after := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, after the call %t", name, after), func(t *testing.T) {
				calls := 0
				for n := 1; ; n++ {
					s := newStub(t)
					m := machineOn(t, s, "web", options...)
					reached := killedAt(t, n, after, func(ctx context.Context, d *Driver) { _, _ = d.Create(ctx, m) })
					if !reached {
						calls = n - 1
						break
					}
					checkGoesOn(t, s, m, n)
					// Removed at once instead, by a controller that knows nothing of the first one's doing.
					s = newStub(t)
					m = machineOn(t, s, "web", options...)
					killedAt(t, n, after, func(ctx context.Context, d *Driver) { _, _ = d.Create(ctx, m) })
					if err := New(quick(t)).Delete(t.Context(), m); err != nil {
						t.Errorf("killed at call %d, then removed: %v", n, err)
					}
					if left := s.list(); len(left) > 0 {
						t.Errorf("killed at call %d, then removed, left %v", n, left)
					}
				}
				if calls < 8 {
					t.Errorf("only %d calls were cut", calls)
				}
				t.Logf("killed at each of %d calls", calls)
			})
		}
	}
}

func checkGoesOn(t *testing.T, s *stub, m driver.Machine, n int) {
	t.Helper()
	made, err := New(quick(t)).Create(t.Context(), m)
	if err != nil || made.Power != driver.Running {
		t.Errorf("killed at call %d, then %+v %v", n, made, err)
	}
	if found := instances(s); len(found) != 1 {
		t.Errorf("killed at call %d, then there are %v", n, found)
	}
	m.State = made.State
	// Now the removal is killed at each of its calls.
	for at := 1; killedAt(t, at, at%2 == 0, func(ctx context.Context, d *Driver) { _ = d.Delete(ctx, m) }); at++ {
		if len(s.list()) == 0 {
			break
		}
	}
	if err := New(quick(t)).Delete(t.Context(), m); err != nil {
		t.Error(err)
	}
	if left := s.list(); len(left) > 0 {
		t.Errorf("killed at call %d, left %v", n, left)
	}
}
