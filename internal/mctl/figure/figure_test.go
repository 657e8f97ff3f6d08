package figure

import (
	"math"
	"testing"
	"time"

	controllerv1 "mctl/proto/mctl/controller/v1"
)

func TestFiguresAreWhatPeopleRead(t *testing.T) {
	h := &controllerv1.Health{
		CpuPercent: 12.4, MemoryTotalBytes: 4_100_000_000, MemoryAvailableBytes: 2_829_000_000, EngineUp: true, ContainersRunning: 3,
		Disks: []*controllerv1.DiskUsage{{TotalBytes: 100, AvailableBytes: 90}, {TotalBytes: 20_000_000_000, AvailableBytes: 7_800_000_000}, {Path: "/empty"}},
	}
	for got, want := range map[string]string{
		CPU(h): "12%", Memory(h).String(): "31%", Memory(h).Of(): "31% of 4.1 GB", Disk(h).Of(): "61% of 20 GB", Containers(h): "3",
	} {
		if got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
	h.ContainersUnhealthy = 2
	if got := Containers(h); got != "3 (2 unhealthy)" {
		t.Errorf("%q", got)
	}
	h.EngineUp = false
	for _, got := range []string{CPU(nil), Memory(nil).String(), Disk(nil).Of(), Containers(nil), Containers(h), AgeOf(nil, time.Now())} {
		if got != Unknown {
			t.Errorf("%q of nothing", got)
		}
	}
	if s := used(10, 20); s.Part != 0 { // more is free than there is, as hosts may say
		t.Errorf("%v", s)
	}
}

func TestSizesAndAgesAreShort(t *testing.T) {
	for n, want := range map[uint64]string{0: "0 B", 999: "999 B", 1000: "1.0 kB", 9949: "9.9 kB", 9951: "10 kB", 999_600: "1.0 MB", 16_700_000_000: "17 GB", math.MaxUint64: "18 EB"} {
		if got := Bytes(n); got != want {
			t.Errorf("%d is %q, want %q", n, got, want)
		}
	}
	for d, want := range map[time.Duration]string{-time.Second: "0s", 59 * time.Second: "59s", time.Minute: "1m", 47 * time.Hour: "47h", 48 * time.Hour: "2d", 1000 * time.Hour: "41d"} {
		if got := Age(d); got != want {
			t.Errorf("%s is %q, want %q", d, got, want)
		}
	}
}
