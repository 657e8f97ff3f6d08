//go:build linux

package rootfs

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/hashicorp/go-hclog"

	"mctl/internal/fault"
)

func silent(string) {}

func TestAnImageIsMadeOnceByWhoeverComesFirst(t *testing.T) {
	dir := t.TempDir()
	var made atomic.Int32
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			c := Cache{Dir: dir, Logger: hclog.NewNullLogger()}
			got, err := c.cached(t.Context(), "base", silent, "building", func(_ context.Context, dir string, _ *os.File) error {
				made.Add(1)
				return os.WriteFile(filepath.Join(dir, "file"), nil, 0o600)
			})
			if err != nil || got != filepath.Join(dir, "base") {
				t.Errorf("%s %v", got, err)
			}
			if _, err := os.Stat(filepath.Join(got, "file")); err != nil {
				t.Errorf("it was given before it was complete: %v", err)
			}
		})
	}
	all.Wait()
	if made.Load() != 1 {
		t.Errorf("it was made %d times", made.Load())
	}
}

func TestAHalfBuiltImageIsRemoved(t *testing.T) {
	c := Cache{Dir: t.TempDir(), Logger: hclog.NewNullLogger()}
	broken := errors.New("no network")
	fill := func(_ context.Context, dir string, _ *os.File) error {
		return errors.Join(os.WriteFile(filepath.Join(dir, "half"), nil, 0o600), broken)
	}
	if _, err := c.cached(t.Context(), "base", silent, "building", fill); !errors.Is(err, broken) {
		t.Fatalf("got %v", err)
	}
	// As after a crash, which cleans up nothing.
	crashed := filepath.Join(c.Dir, building+"base")
	for _, dir := range []string{crashed, crashed + "/deep"} {
		if err := os.Mkdir(dir, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	dir, err := c.cached(t.Context(), "base", silent, "building", func(_ context.Context, dir string, _ *os.File) error {
		if entries, err := os.ReadDir(dir); err != nil || len(entries) > 0 {
			t.Errorf("it goes on from what is half built: %v %v", entries, err)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	entries, _ := os.ReadDir(c.Dir)
	if len(entries) != 2 || entries[0].Name() != filepath.Base(dir) {
		t.Errorf("the cache has %v", entries)
	}
}

func TestWaitingForAnImageEndsWithTheContext(t *testing.T) {
	c := Cache{Dir: t.TempDir(), Logger: hclog.NewNullLogger()}
	ctx, cancel := context.WithCancel(t.Context())
	_, err := c.cached(t.Context(), "one", silent, "building", func(context.Context, string, *os.File) error {
		_, err := c.cached(ctx, "other", func(line string) {
			if strings.HasPrefix(line, "waiting") {
				cancel()
			}
		}, "building", nil)
		return err
	})
	if !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
}

// image is a directory that passes for a system.
func image(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	for name, content := range map[string]string{
		"usr/lib/systemd/systemd": "", "usr/sbin/sshd": "", "usr/bin/sudo": "", "usr/bin/bash": "", "usr/lib/systemd/system/ssh.service": "",
		"etc/passwd":  "root:x:0:0:root:/root:/bin/bash\ndaemon:x:1:1::/:/usr/sbin/nologin\ntaken:x:1000:1000::/srv/taken:/bin/sh\n",
		"etc/group":   "root:x:0:\nshadow:x:42:\ntaken:x:1000:\nwheel:x:1001:\n",
		"etc/shadow":  "root:*:19000:0:99999:7:::\n",
		"etc/gshadow": "root:*::\n",
	} {
		path := filepath.Join(dir, name)
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, []byte(content), 0o600)); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func TestWhatIsNoSystemIsRefused(t *testing.T) {
	good := image(t)
	if err := Check(good); err != nil {
		t.Error(err)
	}
	for _, lacks := range []string{"usr/lib/systemd/systemd", "usr/sbin/sshd"} {
		bad := image(t)
		if err := os.Remove(filepath.Join(bad, lacks)); err != nil {
			t.Fatal(err)
		}
		if err := Check(bad); !fault.Is(err, fault.Invalid) || fault.HintOf(err) == "" {
			t.Errorf("without %s: %v", lacks, err)
		}
	}
	if _, err := (Cache{}).Image(t.Context(), filepath.Join(good, "nothing"), silent); !fault.Is(err, fault.Invalid) {
		t.Errorf("a path where nothing is: %v", err)
	}
}

func TestAccounts(t *testing.T) {
	for user, want := range map[string]account{
		"root": {0, 0, "root"}, "taken": {1000, 1000, "srv/taken"}, "ops": {1002, 1002, "home/ops"},
	} {
		root := &tree{root: t.TempDir()}
		root.dir("etc", 0o755)
		got, err := (Host{User: user}).account(root, image(t))
		if err != nil || got != want {
			t.Errorf("%s: %+v %v", user, got, err)
		}
		passwd, _ := os.ReadFile(filepath.Join(root.root, "etc/passwd"))
		if added := strings.HasSuffix(string(passwd), "\nops:x:1002:1002::/home/ops:/bin/bash\n"); added != (user == "ops") {
			t.Errorf("%s: passwd is now %q", user, passwd)
		}
		sudoers, _ := os.ReadFile(filepath.Join(root.root, "etc/sudoers.d/90-mctl"))
		if (len(sudoers) > 0) != (user != "root") {
			t.Errorf("%s: sudoers %q", user, sudoers)
		}
	}
	if _, err := (Host{User: "daemon"}).account(&tree{root: t.TempDir()}, image(t)); !fault.Is(err, fault.Invalid) {
		t.Errorf("a user without a home: %v", err)
	}
}

func TestAnOutfitIsWhole(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("files of other users need root")
	}
	dir, base := t.TempDir(), image(t)
	h := Host{Name: "web", User: "ops", PublicKeys: []string{"ssh-ed25519 AAAA one\n", "ssh-ed25519 BBBB two"}}
	for range 2 { // a crash in between is followed by another
		if err := h.Outfit(dir, base); err != nil {
			t.Fatal(err)
		}
	}
	upper := filepath.Join(dir, "upper")
	for name, want := range map[string]string{
		"etc/hostname": "web\n", "home/ops/.ssh/authorized_keys": "ssh-ed25519 AAAA one\nssh-ed25519 BBBB two\n",
	} {
		if content, err := os.ReadFile(filepath.Join(upper, name)); err != nil || string(content) != want {
			t.Errorf("%s: %q %v", name, content, err)
		}
	}
	if keys := HostKeys(upper); len(keys) != 2 || !strings.HasPrefix(keys[0], "ssh-ed25519 ") || !strings.HasPrefix(keys[1], "ecdsa-sha2-nistp256 ") {
		t.Errorf("host keys %q", keys)
	}
	if link, err := os.Readlink(filepath.Join(dir, "base")); err != nil || link != base {
		t.Errorf("base is %s %v", link, err)
	}
	for name, mode := range map[string]os.FileMode{"etc": 0o755, "home": 0o755, "etc/shadow": 0o640, "etc/ssh/ssh_host_ecdsa_key": 0o600} {
		if info, err := os.Stat(filepath.Join(upper, name)); err != nil || info.Mode().Perm() != mode {
			t.Errorf("%s: %v %v", name, info, err)
		}
	}
}

func TestAHostsLinksDoNotLeadOut(t *testing.T) {
	secret := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(secret, []byte("ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIBF06UkPN49DaYU6WJVYsyEvHeKj1/Zk/IvnMmiO2oxe\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	upper := t.TempDir()
	for _, err := range []error{
		os.MkdirAll(filepath.Join(upper, "etc/ssh"), 0o755),
		os.Symlink(secret, filepath.Join(upper, "etc/ssh/ssh_host_ed25519_key.pub")),
		os.Symlink(secret, filepath.Join(upper, "etc/resolv.conf")),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	before, _ := os.ReadFile(secret)
	if keys := HostKeys(upper); len(keys) > 0 {
		t.Errorf("keys from outside: %v", keys)
	}
	if err := RefreshResolver(upper); err != nil {
		t.Errorf("a host that minds its own resolver: %v", err)
	}
	if after, _ := os.ReadFile(secret); !slices.Equal(before, after) {
		t.Error("a file outside was written to")
	}
}

func TestLinesArriveWholeAndTheLastAreKept(t *testing.T) {
	var got []string
	l := &lines{each: func(line string) { got = append(got, line) }}
	for _, piece := range []string{"I: one\nI: ", "two\n", "E: it ", "failed\n"} {
		if _, err := l.Write([]byte(piece)); err != nil {
			t.Fatal(err)
		}
	}
	if !slices.Equal(got, []string{"I: one", "I: two", "E: it failed"}) || !strings.HasSuffix(l.String(), "E: it failed") {
		t.Errorf("%q, then %q", got, l)
	}
}
