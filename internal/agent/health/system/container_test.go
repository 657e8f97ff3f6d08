package system

import (
	"maps"
	"runtime"
	"testing"
)

func TestAContainerTellsItsOwnFigures(t *testing.T) {
	const mib = 1 << 20
	all := float64(runtime.NumCPU())
	half := map[string]string{"/proc/uptime": "100.50 7.00\n", "/run/systemd/container": "systemd-nspawn\n"}
	later := "200.50 7.00\n"
	for name, test := range map[string]struct {
		files, then      map[string]string
		total, available uint64
		percent          float64
	}{
		"version 2, bounded": {
			files: map[string]string{
				"cpu.stat": "usage_usec 1000000\nuser_usec 1\n", "cpu.max": "50000 100000\n",
				"memory.current": "1048576\n", "memory.max": "1572864\n", "memory.stat": "anon 1\ninactive_file 524288\n",
			},
			then:  map[string]string{"cpu.stat": "usage_usec 11000000\nuser_usec 1\n"}, // ten seconds of fifty
			total: 3 * mib / 2, available: mib, percent: 20,
		},
		"version 1, unbounded": {
			files: map[string]string{
				"cpuacct/cpuacct.usage": "1000000000\n", "cpu/cpu.cfs_quota_us": "-1\n", "cpu/cpu.cfs_period_us": "100000\n",
				"memory/memory.usage_in_bytes": "1048576\n", "memory/memory.limit_in_bytes": "9223372036854771712\n",
				"memory/memory.stat": "inactive_file 1\ntotal_inactive_file 524288\n",
			},
			then:  map[string]string{"cpuacct/cpuacct.usage": "11000000000\n"},
			total: 2 * mib, available: 3 * mib / 2, percent: 10 / all,
		},
		"more quota than processors": {
			files: map[string]string{"cpu.stat": "usage_usec 0\n", "cpu.max": "9999900000 100000\n"},
			then:  map[string]string{"cpu.stat": "usage_usec 10000000\n"},
			total: 2 * mib, available: mib, percent: 10 / all,
		},
		"over its bound": {
			files: map[string]string{"memory.current": "4096\n", "memory.max": "1024\n"},
			total: 1024, available: 0, percent: 0, // the times of /proc/stat stand still here
		},
		"nothing is counted": {total: 2 * mib, available: mib, percent: 0},
	} {
		t.Run(name, func(t *testing.T) {
			files := proc()
			maps.Copy(files, half)
			for name, content := range test.files {
				files[groups+name] = content
			}
			_, before, err := fakeRoot(t, files).Read()
			if err != nil {
				t.Fatal(err)
			}
			files["/proc/uptime"] = later
			for name, content := range test.then {
				files[groups+name] = content
			}
			h, now, err := fakeRoot(t, files).Read()
			if err != nil {
				t.Fatal(err)
			}
			if h.MemoryTotal != test.total || h.MemoryAvailable != test.available {
				t.Errorf("memory %d of %d, want %d of %d", h.MemoryAvailable, h.MemoryTotal, test.available, test.total)
			}
			if got := now.PercentSince(before); got < test.percent-0.01 || got > test.percent+0.01 {
				t.Errorf("%v %%, want %v", got, test.percent)
			}
		})
	}
}

func TestAMachineTellsWhatItsKernelDoes(t *testing.T) {
	files := proc() // and groups, as each machine with systemd has, but it is no container
	files[groups+"cpu.stat"], files[groups+"memory.current"] = "usage_usec 1\n", "1\n"
	h, cpu, err := fakeRoot(t, files).Read()
	if err != nil || h.MemoryAvailable != 1024*1024 || cpu.PercentSince(Ticks{}) != 20 {
		t.Errorf("%+v, %+v, %v", h, cpu, err)
	}
}
