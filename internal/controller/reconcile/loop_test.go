package reconcile

import (
	"context"
	"errors"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/go-hclog"
	"go.uber.org/goleak"

	"mctl/internal/fault"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// run starts a loop in a bubble of fake time; the returned function stops it.
func run(t *testing.T, step func(context.Context, string) (Result, error), keys ...string) (*Loop, func()) {
	t.Helper()
	loop := New(Config{
		Step: step, Keys: func(context.Context) ([]string, error) { return keys, nil },
		Logger: hclog.NewNullLogger(), Workers: 4, Resync: time.Hour,
	})
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- loop.Run(ctx) }()
	return loop, func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Run: %v", err)
		}
	}
}

func TestEveryKnownKeyIsSteppedAtTheStartAndOnResync(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var steps atomic.Int32
		_, stop := run(t, func(context.Context, string) (Result, error) {
			steps.Add(1)
			return Result{}, nil
		}, "a", "b", "c", "d", "e", "f")
		defer stop()
		synctest.Wait()
		if got := steps.Load(); got != 6 {
			t.Fatalf("steps after the start: %d, want 6", got)
		}
		time.Sleep(time.Hour + time.Second) //nolint:forbidigo // fake time
		synctest.Wait()
		if got := steps.Load(); got != 12 {
			t.Fatalf("steps after a resync: %d, want 12", got)
		}
	})
}

func TestOneKeyIsNeverSteppedTwiceAtATimeAndNoAddIsLost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var working, steps atomic.Int32
		release := make(chan struct{})
		loop, stop := run(t, func(context.Context, string) (Result, error) {
			if working.Add(1) > 1 {
				t.Error("two steps of one key at a time")
			}
			defer working.Add(-1)
			steps.Add(1)
			<-release
			return Result{}, nil
		})
		defer stop()
		loop.Add("a")
		synctest.Wait()
		for range 100 {
			loop.Add("a") // while it is worked on: one more step afterwards, not a hundred
		}
		close(release)
		synctest.Wait()
		if got := steps.Load(); got != 2 {
			t.Fatalf("steps: %d, want 2", got)
		}
	})
}

func TestPausesAfterErrorsGrowAndEndWithSuccess(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var mu sync.Mutex
		var at []time.Time
		loop, stop := run(t, func(context.Context, string) (Result, error) {
			mu.Lock()
			defer mu.Unlock()
			at = append(at, time.Now())
			if len(at) == 5 {
				return Result{}, nil
			}
			return Result{}, fault.New("test", fault.Unavailable, "", "not now")
		})
		defer stop()
		loop.Add("a")
		time.Sleep(10 * time.Minute) //nolint:forbidigo // fake time
		synctest.Wait()
		if len(at) != 5 {
			t.Fatalf("steps: %d, want 5", len(at))
		}
		for i, want := range []time.Duration{1, 2, 4, 8} {
			pause := at[i+1].Sub(at[i])
			if want *= time.Second; pause < want/2 || pause > want {
				t.Errorf("pause %d: %s, want between %s and %s", i, pause, want/2, want)
			}
		}
	})
}

func TestAResyncCutsNoPauseShortAndAWishDoes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var steps atomic.Int32
		loop := New(Config{
			Step: func(context.Context, string) (Result, error) {
				steps.Add(1)
				return Result{}, fault.New("test", fault.Unavailable, "", "not now")
			},
			Keys:   func(context.Context) ([]string, error) { return []string{"a"}, nil },
			Logger: hclog.NewNullLogger(), Resync: time.Second, FirstPause: time.Hour, LastPause: time.Hour,
		})
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- loop.Run(ctx) }()
		time.Sleep(time.Minute) //nolint:forbidigo // fake time
		synctest.Wait()
		if got := steps.Load(); got != 1 {
			t.Errorf("steps within a minute: %d, want 1 and then the pause", got)
		}
		loop.Add("a")
		synctest.Wait()
		if got := steps.Load(); got != 2 {
			t.Errorf("steps after somebody asked: %d, want 2", got)
		}
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}

func TestKeysThatWaitForTheirHostsHoldUpNoOther(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var good atomic.Bool
		loop := New(Config{
			Step: func(ctx context.Context, key string) (Result, error) {
				if key == "good" {
					good.Store(true)
					return Result{}, nil
				}
				<-ctx.Done()
				return Result{}, ctx.Err()
			},
			Keys: func(context.Context) ([]string, error) { return nil, nil }, Logger: hclog.NewNullLogger(),
		})
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- loop.Run(ctx) }()
		for i := range 500 {
			loop.Add(strconv.Itoa(i))
		}
		loop.Add("good")
		synctest.Wait()
		if !good.Load() {
			t.Error("it waits behind hosts that do not answer")
		}
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}

func TestAStepChoosesWhenItComesBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		start, steps := time.Now(), 0
		var last time.Time
		loop, stop := run(t, func(context.Context, string) (Result, error) {
			steps++
			last = time.Now()
			return []Result{{Again: true}, {After: 30 * time.Second}, {}}[steps-1], nil
		})
		defer stop()
		loop.Add("a")
		time.Sleep(10 * time.Minute) //nolint:forbidigo // fake time
		synctest.Wait()
		if steps != 3 || last.Sub(start) != 30*time.Second {
			t.Fatalf("%d steps, the last after %s; want 3 and 30s", steps, last.Sub(start))
		}
	})
}

func TestAPanicOfOneKeyStopsNoOther(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var good atomic.Int32
		loop, stop := run(t, func(_ context.Context, key string) (Result, error) {
			if key == "bad" {
				panic("a mistake")
			}
			good.Add(1)
			return Result{}, nil
		})
		defer stop()
		loop.Add("bad")
		loop.Add("good")
		synctest.Wait()
		if good.Load() != 1 {
			t.Fatal("the other key was not stepped")
		}
	})
}

func TestRunWaitsForTheStepsUnderWay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var ended atomic.Bool
		loop, stop := run(t, func(ctx context.Context, _ string) (Result, error) {
			<-ctx.Done()
			ended.Store(true)
			return Result{}, errors.Join(ctx.Err())
		})
		loop.Add("a")
		synctest.Wait()
		if loop.Busy() != 1 {
			t.Errorf("busy: %d, want 1", loop.Busy())
		}
		stop()
		if !ended.Load() {
			t.Fatal("Run returned before its step")
		}
	})
}
