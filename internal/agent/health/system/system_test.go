package system

import (
	"os"
	"path/filepath"
	"testing"
	"time"
)

func fakeRoot(t *testing.T, files map[string]string) Root {
	t.Helper()
	root := t.TempDir()
	for path, content := range files {
		full := filepath.Join(root, path)
		if err := os.MkdirAll(filepath.Dir(full), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(full, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return Root(root)
}

func proc() map[string]string {
	return map[string]string{
		"/proc/stat":           "cpu  10 1 9 70 10 0 0 0 5 5\ncpu0 1 1 1 1\nintr 1 2 3\nbtime 1700000000\n",
		"/proc/loadavg":        "1.25 0.5 0.4 2/300 4000\n",
		"/proc/meminfo":        "MemTotal:        2048 kB\nMemFree: 1 kB\nMemAvailable:    1024 kB\n",
		"/proc/1/stat":         "1 (a) b (init) S 0 1 1 0 -1 4194560 1 2 3 4 5 6 7 8 20 0 1 0 250 1 1\n",
		"/proc/self/mountinfo": "",
	}
}

func TestReadTellsTheHost(t *testing.T) {
	h, ticks, err := fakeRoot(t, proc()).Read()
	if err != nil {
		t.Fatal(err)
	}
	if h.Load1 != 1.25 || h.MemoryTotal != 2048*1024 || h.MemoryAvailable != 1024*1024 {
		t.Errorf("%+v", h)
	}
	if want := time.Unix(1700000002, 500_000_000); !h.BootTime.Equal(want) {
		t.Errorf("booted %v, want %v", h.BootTime, want)
	}
	if got := ticks.PercentSince(Ticks{}); got != 20 {
		t.Errorf("busy %v %% since boot, want 20: guests are not counted twice", got)
	}
}

func TestPercentSince(t *testing.T) {
	tests := map[string]struct {
		before, now Ticks
		want        float64
	}{
		"half busy":          {Ticks{100, 1000}, Ticks{150, 1100}, 50},
		"no time has passed": {Ticks{100, 1000}, Ticks{100, 1000}, 0},
		"ticks ran back":     {Ticks{100, 1000}, Ticks{99, 1001}, 0},
		"wholly busy":        {Ticks{0, 0}, Ticks{100, 100}, 100},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			if got := test.now.PercentSince(test.before); got != test.want {
				t.Errorf("%v, want %v", got, test.want)
			}
		})
	}
}

func TestWhatCannotBeReadIsAnError(t *testing.T) {
	for _, path := range []string{"/proc/stat", "/proc/loadavg", "/proc/meminfo"} {
		for name, content := range map[string]string{"is missing": "", "is nonsense": "cpu x\nMemTotal: x kB\nx\n"} {
			t.Run(path+" "+name, func(t *testing.T) {
				files := proc()
				if files[path] = content; content == "" {
					delete(files, path)
				}
				if _, _, err := fakeRoot(t, files).Read(); err == nil {
					t.Error("no error")
				}
			})
		}
	}
}

func TestDisksAreLocalFileSystemsOnce(t *testing.T) {
	files := proc()
	files["/proc/self/mountinfo"] = "21 1 8:1 / / rw - ext4 /dev/sda1 rw\n" +
		"22 21 0:5 / /proc rw - proc proc rw\n" +
		"23 21 8:2 / /var/lib/docker rw shared:1 - xfs /dev/sdb1 rw\n" +
		"24 21 8:2 /containerd /var/lib/containerd rw - xfs /dev/sdb1 rw\n" +
		"29 21 8:5 / /etc/hostname rw - ext4 /dev/sde1 rw\n" +
		"30 21 8:6 / /run/host/x rw - ext4 /dev/sdf1 rw\n" +
		"25 21 0:40 / /mnt/nfs rw - nfs4 server:/ rw\n" +
		"26 21 8:3 / /with\\040blank rw - ext4 /dev/sdc1 rw\n" +
		"27 21 0:50 / /var/lib/docker/overlay2/x/merged rw - overlay overlay rw\n" +
		"28 21 8:4 / /gone rw - ext4 /dev/sdd1 rw\nshort line\n"
	for _, folder := range []string{"/var/lib/docker/x", "/with blank/x", "/etc/hostname", "/run/host/x/y"} {
		files[folder] = ""
	}
	h, _, err := fakeRoot(t, files).Read()
	if err != nil {
		t.Fatal(err)
	}
	var paths []string
	for _, disk := range h.Disks {
		paths = append(paths, disk.Path)
		if disk.Total == 0 || disk.Available > disk.Total {
			t.Errorf("%+v", disk)
		}
	}
	if want := "[/ /var/lib/docker /with blank]"; len(paths) != 3 || paths[0]+paths[1]+paths[2] != "//var/lib/docker/with blank" {
		t.Errorf("%v, want %s", paths, want)
	}
}

func TestThisHost(t *testing.T) {
	h, ticks, err := Root("").Read()
	if err != nil {
		t.Fatal(err)
	}
	if h.MemoryTotal == 0 || len(h.Disks) == 0 || ticks.PercentSince(Ticks{}) <= 0 || h.BootTime.After(time.Now()) {
		t.Errorf("%+v", h)
	}
}
