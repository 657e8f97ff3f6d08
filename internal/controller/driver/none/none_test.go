package none

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"mctl/internal/controller/driver"
	"mctl/internal/fault"
)

func machine(url string) driver.Machine {
	return driver.Machine{Name: "web", Options: driver.Options{flagURL: {Values: []string{url}}}}
}

func TestItSaysWhereTheEngineIsAndMakesNothing(t *testing.T) {
	want := driver.Instance{ID: "192.0.2.1:3376", Power: driver.Running, Addresses: []string{"192.0.2.1"}, Port: 3376}
	for range 2 {
		made, err := New().Create(t.Context(), machine("tcp://192.0.2.1:3376"))
		if diff := cmp.Diff(want, made); err != nil || diff != "" {
			t.Error(err, diff)
		}
		if err := New().Delete(t.Context(), machine("tcp://192.0.2.1:3376")); err != nil {
			t.Error(err)
		}
	}
	seen, err := New().Inspect(t.Context(), machine("tcp://[2001:db8::1]"))
	if err != nil || seen.Addresses[0] != "2001:db8::1" || seen.Port != 0 {
		t.Errorf("%+v, %v", seen, err)
	}
}

func TestWhatIsNoAddressIsRefused(t *testing.T) {
	for _, text := range []string{"", "192.0.2.1:2376", "http://192.0.2.1", "tcp://", "tcp://a:0", "tcp://a:99999", "tcp://u@a:1", "tcp://a/x", "tcp://a:\x00"} {
		if err := New().Validate(machine(text).Options); fault.ReasonOf(err) != fault.ReasonUsage || fault.HintOf(err) == "" {
			t.Errorf("%q: %v", text, err)
		}
	}
}

func TestItHasNoPower(t *testing.T) {
	m := machine("tcp://192.0.2.1:2376")
	_, start := New().Start(t.Context(), m)
	_, stop := New().Stop(t.Context(), m, false)
	_, kill := New().Stop(t.Context(), m, true)
	for _, err := range []error{start, stop, kill} {
		if !fault.Is(err, fault.Precondition) || fault.HintOf(err) == "" {
			t.Error(err)
		}
	}
}
