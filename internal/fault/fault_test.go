package fault

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
)

func TestKindsFromOutsideAreOurs(t *testing.T) {
	for text, want := range map[string]Kind{"quota": Quota, "resync": Resync, "": Internal, "OK": Internal, "quota\x1b": Internal} {
		if got := ParseKind(text); got != want {
			t.Errorf("%q is %s, want %s", text, got, want)
		}
	}
}

func TestWhatIsToldOfAFault(t *testing.T) {
	inner := New("driver.Create", Quota, "web", "no room in zone a").WithHint("try zone b")
	wrapped := fmt.Errorf("create: %w", inner)
	outer := E("machine.creating", Unavailable, "web", wrapped).WithReason(ReasonPrecheck)
	for name, c := range map[string]struct {
		err    error
		kind   Kind
		hint   string
		reason string
	}{
		"itself":            {inner, Quota, "try zone b", ""},
		"wrapped":           {wrapped, Quota, "try zone b", ""},
		"the outermost":     {outer, Unavailable, "try zone b", ReasonPrecheck},
		"a context's end":   {fmt.Errorf("x: %w", context.DeadlineExceeded), Unavailable, "", ""},
		"something foreign": {errors.New("x"), Internal, "", ""},
		"nothing":           {nil, "", "", ""},
	} {
		if KindOf(c.err) != c.kind || HintOf(c.err) != c.hint || ReasonOf(c.err) != c.reason {
			t.Errorf("%s: kind %q, hint %q, reason %q", name, KindOf(c.err), HintOf(c.err), ReasonOf(c.err))
		}
	}
	if outer.Error() != "create: no room in zone a" {
		t.Errorf("people read %q", outer)
	}
	if ops := OpOf(outer); !slices.Equal(ops, []string{"machine.creating", "driver.Create"}) {
		t.Errorf("operations %v", ops)
	}
	if !errors.Is(outer, inner) {
		t.Error("the cause is lost")
	}
	if inner.Reason != "" || E("o", Denied, "", nil).WithHint("h").Hint != "h" {
		t.Error("With changes the original")
	}
}

func TestWhichFaultsPassByThemselves(t *testing.T) {
	for kind, want := range map[Kind]bool{
		Quota: true, Unavailable: true, Conflict: true, Invalid: false, NotFound: false, Denied: false, Precondition: false, Internal: false,
	} {
		if got := Retryable(New("o", kind, "", "x")); got != want {
			t.Errorf("%s: %v", kind, got)
		}
	}
}

func TestAFaultWithoutACauseStillSaysSomething(t *testing.T) {
	if got := E("o", NotFound, "web", nil).Error(); got != "web: not_found" {
		t.Error(got)
	}
	if got := E("o", NotFound, "", nil).Error(); got != "not_found" {
		t.Error(got)
	}
}
