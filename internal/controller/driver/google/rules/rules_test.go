package rules

import (
	"context"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"mctl/internal/fault"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const settle = 30 * time.Second

var here, there = Place{"c", "https://x/", "p"}, Place{"c", "https://x/", "q"}

func TestAMachineIsInTheWayOfOthersUntilListsShowIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := New(settle)
		done := b.Use(here, "a")
		<-time.After(time.Hour)
		if !b.Others(here, "b") || b.Others(here, "a") || b.Others(there, "b") {
			t.Error("one that is made stands in the way of others at its place, and of those alone")
		}
		done()
		<-time.After(settle - 1)
		if !b.Others(here, "b") {
			t.Error("lists may not show it yet")
		}
		<-time.After(2)
		if b.Others(here, "b") {
			t.Error("lists show it by now")
		}
		b.Use(here, "a")
		if b.Release(here, "a"); b.Others(here, "b") {
			t.Error("it is being removed")
		}
	})
}

func TestARuleIsMadeByOneAtATimeAndAContextGivesUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := New(settle)
		unlock, err := b.Lock(t.Context(), Rule{here, "r"})
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := b.Lock(ctx, Rule{here, "r"}); !fault.Is(err, fault.Unavailable) {
			t.Errorf("a second one: %v", err)
		}
		other, err := b.Lock(t.Context(), Rule{there, "r"})
		if err != nil {
			t.Fatal(err)
		}
		other()
		unlock()
		if unlock, err = b.Lock(t.Context(), Rule{here, "r"}); err != nil {
			t.Fatal(err)
		}
		unlock()
	})
}

func TestNothingIsKeptForEver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := New(settle)
		for i := range 100 {
			rule := Rule{here, fmt.Sprint(i)}
			unlock, err := b.Lock(t.Context(), rule)
			if err != nil {
				t.Fatal(err)
			}
			if b.Fresh(rule) {
				t.Errorf("%s was never seen", rule.Name)
			}
			if b.See(rule); !b.Fresh(rule) {
				t.Errorf("%s was only just seen", rule.Name)
			}
			unlock()
			b.Use(here, rule.Name)()
			<-time.After(settle / 2)
		}
		if seen, held, making := len(b.seen), len(b.held), len(b.making); seen > 3 || held > 3 || making > 0 {
			t.Errorf("kept: %d seen, %d held, %d being made", seen, held, making)
		}
		last := Rule{here, "99"}
		if b.Forget(last); b.Fresh(last) {
			t.Error("it was forgotten")
		}
	})
}
