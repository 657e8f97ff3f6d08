package googledriver_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"testing"
	"time"

	"mctl/internal/controller/driver"
	"mctl/internal/controller/driver/google"
	front "mctl/test/cloud/google"
	"mctl/test/cloud/lab"
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
func (w *world) killedAt(n int, after bool, act func(context.Context, *google.Driver)) bool {
	ctx, cancel := context.WithCancel(w.Context())
	defer cancel()
	config := w.quick()
	k := &killer{next: config.Transport, after: after, cancel: cancel, left: n}
	config.Transport = k
	act(ctx, google.New(config))
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.dead
}

// TestAControllerKilledAtAnyCall kills a controller at every call of a create, of a removal, of a stop and of a start. A new one, which
// knows nothing of the first, goes on: there are never two instances, and after a removal nothing is left.
func TestAControllerKilledAtAnyCall(t *testing.T) {
	for _, options := range [][]string{nil, {"google-reserve-address", "true", "google-subnetwork", "default"}} {
		for _, after := range []bool{false, true} {
			t.Run(fmt.Sprintf("%v, after the call %t", options, after), func(t *testing.T) {
				w := newWorld(t, lab.Config{}, front.Config{WaitLimit: 10 * time.Millisecond})
				calls := 0
				for n := 1; ; n++ {
					m := w.machine(fmt.Sprintf("web-%d", n), options...)
					if !w.killedAt(n, after, func(ctx context.Context, d *google.Driver) { _, _ = d.Create(ctx, m) }) {
						w.delete(m)
						break
					}
					calls++
					if made, err := google.New(w.quick()).Create(t.Context(), m); err != nil || made.Power != driver.Running || w.hosts() != 1 {
						t.Errorf("killed at call %d of create, then %+v %v, %d hosts", n, made, err, w.hosts())
					}
					w.delete(m)
					w.nothingLeft(fmt.Sprintf("killed at call %d of create, resumed, removed", n))

					early := w.machine(fmt.Sprintf("early-%d", n), options...)
					w.killedAt(n, after, func(ctx context.Context, d *google.Driver) { _, _ = d.Create(ctx, early) })
					w.delete(early)
					w.nothingLeft(fmt.Sprintf("killed at call %d of create, removed at once", n))
				}
				calls += w.killedInLife(after, options)
				if calls < 30 {
					t.Errorf("only %d calls were cut", calls)
				}
				t.Logf("killed at each of %d calls", calls)
			})
		}
	}
}

// killedInLife kills at each call of stop, start and removal.
func (w *world) killedInLife(after bool, options []string) (calls int) {
	for name, act := range map[string]func(context.Context, *google.Driver, driver.Machine) error{
		"stop": func(ctx context.Context, d *google.Driver, m driver.Machine) error {
			_, err := d.Stop(ctx, m, false)
			return err
		},
		"start": func(ctx context.Context, d *google.Driver, m driver.Machine) error {
			_, err := d.Start(ctx, m)
			return err
		},
		"remove": func(ctx context.Context, d *google.Driver, m driver.Machine) error { return d.Delete(ctx, m) },
	} {
		for n := 1; ; n++ {
			m := w.machine(fmt.Sprintf("%s-%d", name, n), options...)
			d := google.New(w.quick())
			made := w.create(d, m)
			m.State = made.State
			if name == "start" {
				if _, err := d.Stop(w.Context(), m, true); err != nil {
					w.Error(err)
				}
			}
			reached := w.killedAt(n, after, func(ctx context.Context, d *google.Driver) { _ = act(ctx, d, m) })
			if err := act(w.Context(), google.New(w.quick()), m); err != nil {
				w.Errorf("killed at call %d of %s, then: %v", n, name, err)
			}
			if want := map[string]int{"remove": 0}[name]; name == "remove" && w.hosts() != want || name != "remove" && w.hosts() != 1 {
				w.Errorf("killed at call %d of %s: %d hosts", n, name, w.hosts())
			}
			w.delete(m)
			w.nothingLeft(fmt.Sprintf("killed at call %d of %s", n, name))
			if !reached {
				break
			}
			calls++
		}
	}
	return calls
}
