package event

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"mctl/internal/fault"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var noon = time.Date(2026, 11, 24, 12, 0, 0, 0, time.UTC)

// kept lists the messages that a journal has after a sequence.
func kept(t *testing.T, j *Journal, after uint64) []string {
	t.Helper()
	var messages []string
	for e, err := range j.Watch(t.Context(), after, false) {
		if err != nil {
			t.Fatal(err)
		}
		messages = append(messages, e.Message)
	}
	return messages
}

func emit(j *Journal, from, to int) {
	for i := from; i < to; i++ {
		j.Emit(Event{Message: fmt.Sprint(i)})
	}
}

func TestAWatchMayBeginBeforeTheFirstEvent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		j := NewJournal(noon)
		var seen []string
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() {
			defer close(done)
			for e, err := range j.Watch(ctx, 0, true) {
				if err != nil {
					t.Error(err)
				}
				seen = append(seen, e.Message)
			}
		}()
		synctest.Wait()
		emit(j, 0, 3)
		synctest.Wait()
		cancel()
		<-done
		if got := strings.Join(seen, " "); got != "0 1 2" {
			t.Errorf("seen %s", got)
		}
	})
}

func TestAWatchSeesWhatIsKeptAndWhatIsToCome(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		j := NewJournal(noon)
		emit(j, 0, 3)
		var seen []string
		last := uint64(0)
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() {
			defer close(done)
			for e, err := range j.Watch(ctx, 0, true) {
				if err != nil || e.Sequence <= last {
					t.Errorf("%+v after %d, %v", e, last, err)
				}
				last = e.Sequence
				seen = append(seen, e.Message)
			}
		}()
		synctest.Wait()
		emit(j, 3, 6)
		synctest.Wait()
		cancel()
		<-done
		if got := strings.Join(seen, " "); got != "0 1 2 3 4 5" {
			t.Errorf("seen %s", got)
		}
		if got := strings.Join(kept(t, j, last-2), " "); got != "4 5" {
			t.Errorf("after the last but two: %s", got)
		}
		if got := kept(t, j, last); len(got) != 0 {
			t.Errorf("after the last: %v", got)
		}
	})
}

func TestAWatchThatDoesNotFollowEnds(t *testing.T) {
	if got := kept(t, NewJournal(noon), 0); len(got) != 0 {
		t.Errorf("an empty journal has %v", got)
	}
}

func TestManyEmitAndManyWatchAndNobodyMissesOrRepeats(t *testing.T) {
	j := NewJournal(noon)
	const emitters, each, watchers = 8, 200, 8
	var all sync.WaitGroup
	for range watchers {
		all.Go(func() {
			next := uint64(noon.UnixMicro())
			for e, err := range j.Watch(context.Background(), 0, true) {
				if next++; err != nil || e.Sequence != next {
					t.Errorf("%+v, %v; want sequence %d", e, err, next)
					return
				}
				if e.Sequence == uint64(noon.UnixMicro())+emitters*each {
					return
				}
			}
		})
	}
	for range emitters {
		all.Go(func() { emit(j, 0, each) })
	}
	all.Wait()
}

func TestAWatcherThatIsSlowHoldsNobodyUpAndIsTold(t *testing.T) {
	j := NewJournal(noon)
	emit(j, 0, 2)
	told := false
	for e, err := range j.Watch(t.Context(), 0, true) {
		if err != nil {
			if !fault.Is(err, fault.Resync) || fault.HintOf(err) == "" {
				t.Errorf("got %v", err)
			}
			told = true
			continue // it ends by itself
		}
		if e.Message == "0" {
			emit(j, 2, 3*capacity) // while it does not read
		}
	}
	if !told {
		t.Error("it ended without a word")
	}
}

func TestTheOldestMakeRoom(t *testing.T) {
	j := NewJournal(noon)
	emit(j, 0, capacity+5)
	if got := kept(t, j, 0); len(got) != capacity || got[0] != "5" {
		t.Errorf("%d are kept, from %s on", len(got), got[0])
	}
	long := strings.Repeat("x", 100_000)
	for range 2 * maxBytes / len(long) {
		j.Emit(Event{Message: "m", Attributes: map[string]string{"long": long}})
	}
	if got := kept(t, j, 0); len(got) > maxBytes/len(long) || j.bytes > maxBytes {
		t.Errorf("%d bytes in %d events", j.bytes, len(got))
	}
}

func TestAWatchGoesOnOverARestartAndMissesNothing(t *testing.T) {
	before := NewJournal(noon)
	emit(before, 0, 500)
	var last uint64
	for e, err := range before.Watch(t.Context(), 0, false) {
		if err != nil {
			t.Fatal(err)
		}
		last = e.Sequence
	}
	after := NewJournal(noon.Add(time.Second)) // another process
	emit(after, 1000, 1600)
	if got := kept(t, after, last); len(got) != 600 || got[0] != "1000" {
		t.Errorf("%d events, from %v on", len(got), got[:min(1, len(got))])
	}
	back := NewJournal(noon.Add(-time.Hour)) // the clock was set back
	emit(back, 0, 3)
	if got := kept(t, back, last); len(got) != 3 {
		t.Errorf("a clock that was set back: %v", got)
	}
}

func TestAWatchEndsWithItsLoop(t *testing.T) {
	j := NewJournal(noon)
	emit(j, 0, 2)
	for e, err := range j.Watch(t.Context(), 0, true) {
		if err != nil || e.Message != "0" {
			t.Errorf("%+v, %v", e, err)
		}
		break
	}
}
