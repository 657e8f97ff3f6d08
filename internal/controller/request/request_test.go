package request

import (
	"fmt"
	"testing"
	"time"

	"mctl/internal/fault"
)

var noon = time.Date(2026, 11, 24, 12, 0, 0, 0, time.UTC)

func known(t *testing.T, m Memory, id string) bool {
	t.Helper()
	known, err := m.Knows(id, "stop")
	if err != nil {
		t.Fatal(err)
	}
	return known
}

func TestARequestIsKnownForADayAndForItsOwnActAlone(t *testing.T) {
	m := Memory(nil).With("r1", "stop", noon)
	again := Decode(m.Encode())
	if !known(t, again, "r1") || known(t, again, "r2") {
		t.Errorf("%+v", again)
	}
	if _, err := again.Knows("r1", "start"); !fault.Is(err, fault.Invalid) {
		t.Errorf("for another act: %v", err)
	}
	if m = again.With("r2", "stop", noon.Add(Life)); !known(t, m, "r1") {
		t.Error("forgotten within the day")
	}
	if m = m.With("r3", "stop", noon.Add(Life+time.Second)); known(t, m, "r1") || !known(t, m, "r2") {
		t.Errorf("after a day: %+v", m)
	}
}

func TestARequestThatWasNotCarriedOutIsForgotten(t *testing.T) {
	m := Memory(nil).With("r1", "stop", noon).With("r2", "stop", noon)
	if without := m.Without("r1"); known(t, without, "r1") || !known(t, without, "r2") || !known(t, m, "r1") {
		t.Errorf("%+v of %+v", without, m)
	}
}

func TestNoIDIsNeverKnown(t *testing.T) {
	if m := Memory(nil).With("", "stop", noon); len(m) != 0 || known(t, m, "") {
		t.Errorf("%+v", m)
	}
}

func TestAMemoryIsBounded(t *testing.T) {
	var m Memory
	for i := range 10 * maxKept {
		m = m.With(fmt.Sprint(i), "stop", noon)
	}
	if len(m) != maxKept || !known(t, m, fmt.Sprint(10*maxKept-1)) || known(t, m, "0") {
		t.Errorf("%d are kept", len(m))
	}
	if both := m.And(Memory{{ID: "x", Method: "stop", Time: noon}}, noon); len(both) != maxKept || !known(t, both, "x") {
		t.Errorf("together %d", len(both))
	}
}
