package fake_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"mctl/internal/controller/driver"
	"mctl/internal/controller/driver/drivertest"
	"mctl/internal/controller/driver/fake"
	"mctl/internal/fault"
)

func machine(name string) driver.Machine {
	return driver.Machine{ControllerID: "c1", UID: "uid-" + name, Name: name, Progress: func(string) {}}
}

// faults lets the cloud fail as a harness asks.
type faults struct{ cloud *fake.Cloud }

func (f faults) Inject(act drivertest.Act, how drivertest.Fault, times int) {
	failure := fake.Failure{Kind: fault.Unavailable, Times: times}
	switch how {
	case drivertest.Throttled:
		failure.Kind = fault.Quota
	case drivertest.LostAnswer:
		failure.After = true
	case drivertest.Unavailable, drivertest.Timeout:
	}
	f.cloud.Fail(fake.Op(act), failure)
}

func (f faults) Fill() {
	m := machine("filler")
	_, _ = fake.New(f.cloud).Create(context.Background(), m)
	f.cloud.Limit(1)
}

func (f faults) Heal() {
	f.cloud.Heal()
	f.cloud.Vanish("uid-filler")
}

func TestContract(t *testing.T) {
	drivertest.Run(t, func(*testing.T) drivertest.Harness {
		cloud := &fake.Cloud{}
		return drivertest.Harness{
			New:        func() driver.Driver { return fake.New(cloud) },
			Machine:    driver.Machine{ControllerID: "c1", Options: driver.Options{"fake-delay": {Values: []string{"2"}}}},
			List:       func(context.Context) ([]string, error) { return cloud.List(), nil },
			Vanish:     func(_ context.Context, m driver.Machine) error { cloud.Vanish(m.UID); return nil },
			Vanished:   fault.NotFound,
			Mute:       func(m driver.Machine) { cloud.NeverBoots(m.Name) },
			Faults:     faults{cloud},
			NewAddress: true,
			CreateTime: 3 * time.Millisecond,
		}
	})
}

func TestAnAnswerThatIsLostHasBeenActedOn(t *testing.T) {
	cloud := &fake.Cloud{}
	cloud.Fail(fake.Create, fake.Failure{Kind: fault.Unavailable, After: true})
	if _, err := fake.New(cloud).Create(t.Context(), machine("web")); !fault.Is(err, fault.Unavailable) {
		t.Fatalf("Create: %v", err)
	}
	if len(cloud.List()) != 1 {
		t.Errorf("%v, want one instance", cloud.List())
	}
}

func TestFailuresComeInTheirOrderAndEnd(t *testing.T) {
	cloud := &fake.Cloud{}
	cloud.Fail(fake.Create, fake.Failure{Kind: fault.Quota, Times: 2})
	cloud.Fail(fake.Create, fake.Failure{Kind: fault.Denied})
	var kinds []fault.Kind
	for range 4 {
		_, err := fake.New(cloud).Create(t.Context(), machine("web"))
		kinds = append(kinds, fault.KindOf(err))
	}
	for i, want := range []fault.Kind{fault.Quota, fault.Quota, fault.Denied, ""} {
		if kinds[i] != want {
			t.Errorf("call %d: %q, want %q", i, kinds[i], want)
		}
	}
}

func TestASlowCloudIsLeftWhenTheContextEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cloud := &fake.Cloud{}
		cloud.Fail(fake.Stop, fake.Failure{Delay: time.Hour})
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		start := time.Now()
		if _, err := fake.New(cloud).Stop(ctx, machine("web"), true); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Stop: %v", err)
		}
		if took := time.Since(start); took != time.Second {
			t.Errorf("it took %s", took)
		}
	})
}

func TestOneThatNeverBootsStaysStarting(t *testing.T) {
	cloud := &fake.Cloud{}
	cloud.NeverBoots("mute")
	d := fake.New(cloud)
	if _, err := d.Create(t.Context(), machine("mute")); err != nil {
		t.Fatal(err)
	}
	seen, err := d.Inspect(t.Context(), machine("mute"))
	if err != nil || seen.Power != driver.Starting || len(seen.Addresses) > 0 {
		t.Errorf("%+v %v", seen, err)
	}
}

func TestAddressesCanBeKept(t *testing.T) {
	cloud := &fake.Cloud{}
	cloud.KeepAddresses()
	d, m := fake.New(cloud), machine("web")
	before, _ := d.Create(t.Context(), m)
	_, _ = d.Stop(t.Context(), m, false)
	after, err := d.Start(t.Context(), m)
	if err != nil || after.Addresses[0] != before.Addresses[0] {
		t.Errorf("%v, then %v %v", before.Addresses, after.Addresses, err)
	}
}

func TestFlagsTellAHostToFail(t *testing.T) {
	d := fake.New(&fake.Cloud{})
	for text, want := range map[string]fault.Kind{
		"create=quota": fault.Quota, "create=denied": fault.Denied, "delete=quota": "", "fly=quota": fault.Invalid, "create=sadness": fault.Invalid, "": fault.Invalid,
	} {
		m := machine("web")
		m.Options = driver.Options{"fake-fail": {Values: []string{text}}}
		err := d.Validate(m.Options)
		if err == nil {
			_, err = d.Create(t.Context(), m)
		}
		if fault.KindOf(err) != want {
			t.Errorf("%q: %v, want %q", text, err, want)
		}
	}
}
