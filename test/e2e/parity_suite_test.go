package e2e

import (
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

// What docker-machine's own integration suite asked of it is asked here of mctl under its predecessor's name. Each file of
// that suite, and where its questions are:
//
//	core/core-commands     before a stop: "commands"; from the stop on: "power", "power of a host that was there before"
//	core/engine-options    "engine options"
//	core/env_shell         "environment"
//	core/inspect_format    "inspect"
//	core/certs-extra-san   "certificates"
//	core/regenerate-certs  "certificates"
//	core/ssh-backends      "ssh"
//	core/scp               "copies", "copies between machines"
//	virtualbox/certs-checksum  "certificates"
//	virtualbox/pause-save-start, custom-mem-disk, guards, upgrade, amazonec2/*: questions about one driver, asked in its tests
//	core/crashreport, virtualbox/create-with-upgrading, dns: about what is no more (crash reports, boot2docker's ISO)
//	core/swarm-options     in swarm_test.go, for swarm mode
//
// All but the power is asked on both an nspawn host and one that was there before.

// subject is one machine that questions are asked about.
type subject struct {
	*lab
	link   string // the program under its predecessor's name
	name   string
	driver string
	user   string // who logs in to the host
}

func (s subject) in(t *testing.T) subject {
	s.lab = s.within(t)
	return s
}

// try runs docker-machine, without a terminal.
func (s subject) try(args ...string) result {
	s.t.Helper()
	return s.execEnv([]string{"MACHINE_STORAGE_PATH=" + s.state}, nil, s.link, args...)
}

// ok is try for what must succeed, in silence on standard error.
func (s subject) ok(args ...string) string {
	s.t.Helper()
	r := s.try(args...)
	if r.code != 0 || r.stderr != "" {
		s.t.Fatalf("want success in silence: %s", r)
	}
	return r.stdout
}

// no is try for what must fail with code 1 and a sentence.
func (s subject) no(sentence string, args ...string) {
	s.t.Helper()
	r := s.try(args...)
	if first, _, _ := strings.Cut(r.stderr, "\n"); r.code != 1 || first != sentence {
		s.t.Errorf("want exit 1 and %q: %s", sentence, r)
	}
}

// sh runs a line of shell that calls docker-machine as "$0", as scripts do.
func (s subject) sh(line string) result {
	s.t.Helper()
	return s.execEnv([]string{"MACHINE_STORAGE_PATH=" + s.state}, nil, "bash", "-c", line, s.link, s.name)
}

// on runs a line of shell on the host.
func (s subject) on(line string) string {
	s.t.Helper()
	return strings.TrimSpace(s.ok("ssh", s.name, line))
}

// engineOptions are those of core/engine-options, with the SANs of core/certs-extra-san.
func engineOptions() []string {
	return []string{
		"--engine-label", "spam=eggs", "--engine-storage-driver", "overlay", "--engine-insecure-registry", "registry.example:5000",
		"--engine-env", "TEST=VALUE", "--engine-opt", "log-driver=none", "--tls-san", "10.42.42.42", "--tls-san", "foo.bar.example",
	}
}

// farPort is where the sshd of the host listens that was there before, and there alone.
const farPort = "2222"

func TestOldSuite(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	link := filepath.Join(t.TempDir(), "docker-machine")
	if err := os.Symlink(filepath.Join(l.bin, "mctl"), link); err != nil {
		t.Fatal(err)
	}
	image, err := dockerImage()
	if err != nil {
		t.Fatal(err)
	}
	h := newBareHost(t, "far", image)
	h.run(`useradd -m -s /bin/bash ops && cp -r /root/.ssh /home/ops/ && chown -R ops: /home/ops/.ssh && echo 'ops ALL=(ALL) NOPASSWD: ALL' >/etc/sudoers.d/ops
		echo 'Port ` + farPort + `' >/etc/ssh/sshd_config.d/port.conf && systemctl restart ssh`)
	h.port = farPort
	near := subject{l, link, "near", "nspawn", "root"}
	far := subject{l, link, "far", "generic", "ops"}
	var creates sync.WaitGroup
	creates.Go(func() {
		near.ok(append(append([]string{"create", "-d", "nspawn", "--nspawn-image", image}, engineOptions()...), "near")...)
	})
	creates.Go(func() {
		far.ok(append(h.adopt("far", "--generic-ssh-port="+farPort, "--generic-ssh-user", "ops"), engineOptions()...)...)
	})
	creates.Wait()
	if t.Failed() {
		t.FailNow()
	}
	t.Run("each", func(t *testing.T) {
		for _, s := range []subject{near, far} {
			t.Run(s.driver, func(t *testing.T) {
				t.Parallel()
				s.in(t).importBusybox(s.name)
				t.Run("commands", func(t *testing.T) { commandsWork(s.in(t)) })
				t.Run("engine options", func(t *testing.T) { engineOptionsArrive(s.in(t)) })
				t.Run("environment", func(t *testing.T) { environmentIsExact(s.in(t)) })
				t.Run("inspect", func(t *testing.T) { inspectFormats(s.in(t)) })
				t.Run("certificates", func(t *testing.T) { certificatesAreRenewed(s.in(t)) })
				t.Run("ssh", func(t *testing.T) { sshPassesOn(s.in(t)) })
				t.Run("copies", func(t *testing.T) { copiesArrive(s.in(t)) })
			})
		}
	})
	t.Run("copies between machines", func(t *testing.T) { copiesBetween(near.in(t), far.in(t)) })
	t.Run("mount", func(t *testing.T) { mountWorks(far.in(t)) })
	t.Run("a host with another key", func(t *testing.T) { anotherKeyIsRefused(far.in(t), h.in(t)) })
	t.Run("power", func(t *testing.T) { powerWorks(near.in(t)) })
	t.Run("power of a host that was there before", func(t *testing.T) { powerIsNotOurs(far.in(t)) })
}
