//go:build linux

package host_test

import (
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"mctl/test/cloud/lab"
)

const userData = `#cloud-config
hostname: renamed
users:
  - default
  - name: deploy
    ssh_authorized_keys: [%KEY%]
write_files:
  - path: /etc/lab/greeting
    permissions: "0640"
    content: |
      it's "quoted" $HOME
runcmd:
  - echo once >>/root/boots; cat /etc/lab/greeting
  - [sh, -c, 'printf %s "$0" >/root/argument', "two words $(id)"]
`

func TestAHostIsWhatItsMetadataSay(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	began := time.Now()
	s := w.spec("web")
	s.Guest.StartupScript = "#!/bin/bash\necho every >>/root/starts; echo the startup script ran\n"
	s.Guest.UserData = strings.ReplaceAll(userData, "%KEY%", w.key)
	s.Guest.Users = append(s.Guest.Users, lab.User{Name: "root", Keys: []string{w.key}}, lab.User{Name: "; rm -rf /", Keys: []string{w.key}})
	i := w.create(s)
	ops := w.login(i.Public, "ops")
	t.Logf("logged in %s after create", time.Since(began).Round(time.Millisecond))
	if got := w.run(ops, "hostname; id -un; sudo -n id -un; stat -c %a .ssh .ssh/authorized_keys"); got != "renamed\nops\nroot\n700\n600" {
		t.Errorf("got %q", got)
	}
	if state := w.run(ops, "systemctl is-system-running --wait || systemctl --failed"); state != "running" {
		t.Errorf("systemd says %s", state)
	}
	root := w.login(i.Public, "root")
	w.login(i.Public, "deploy")
	w.eventually("the startup script ran", func() bool { return strings.Contains(w.lab.Console(i.ID), "the startup script ran") })
	if got := w.run(root, "cat /root/boots /root/starts; cat /root/argument; echo; stat -c %a /etc/lab/greeting; cat /etc/lab/greeting; getent passwd debian >/dev/null && echo default"); got != "once\nevery\ntwo words $(id)\n640\nit's \"quoted\" $HOME\ndefault" {
		t.Errorf("user data came to %q", got)
	}
	// A second boot of the same disk runs the one and not the other.
	w.must(w.call().ResetInstance(i.Ref, lab.Operation{}))
	root = w.login(i.Public, "root")
	w.eventually("the startup script ran again", func() bool { return w.run(root, "wc -l </root/starts") == "2" })
	if got := w.run(root, "cat /root/boots"); got != "once" {
		t.Errorf("user data ran again: %q", got)
	}
	// Users come and go while the host is on.
	w.must(w.call().UpdateInstance(i.Ref, lab.Operation{}, func(i *lab.Instance) error {
		i.Guest.Users = []lab.User{{Name: "root", Keys: []string{w.key}}, {Name: "late", Keys: []string{w.key}}}
		return nil
	}))
	w.login(i.Public, "late")
	if _, err := w.tryLogin(i.Public, "ops", 0); err == nil {
		t.Error("a user whose key was taken away can log in")
	}
}

func TestNothingComesInWithoutARule(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	one, other := w.spec("one"), w.spec("other")
	one.Tags, other.Tags = []string{"web"}, []string{"client"}
	a, b := w.create(one), w.create(other)
	onA, onB := w.login(a.Public, "ops"), w.login(b.Public, "ops")
	const serve = "sudo systemd-run --quiet systemd-socket-activate --inetd --accept --listen=8080 /bin/cat && until ss -ltn | grep -q :8080; do sleep 0.1; done"
	w.run(onA, serve)
	w.run(onB, serve)

	// Who can reach port 8080 of a: the test at the public and the private address, the neighbour at both. Nobody reaches
	// that of b, which lacks the tag.
	check := func(when string, public, private, neighbour bool) {
		t.Helper()
		var all sync.WaitGroup
		for who, c := range map[string]struct {
			open bool
			dial func() error
		}{
			"the test, public address":       {public, func() error { return reach(a.Public, 8080) }},
			"the test, private address":      {private, func() error { return reach(a.Private, 8080) }},
			"the neighbour, private address": {neighbour, func() error { return w.reachFrom(onB, a.Private, 8080) }},
			"the neighbour, public address":  {neighbour, func() error { return w.reachFrom(onB, a.Public, 8080) }},
			"the test, host without the tag": {false, func() error { return reach(b.Public, 8080) }},
		} {
			all.Go(func() {
				if err := c.dial(); (err == nil) != c.open {
					t.Errorf("%s: %s: %v", when, who, err)
				}
			})
		}
		all.Wait()
	}
	check("no rule", false, false, false)

	rule := w.rule("web", 8080, "web")
	w.must(w.call().CreateRule(rule, lab.Operation{}))
	check("open to all", true, true, true)

	change := func(change func(*lab.Rule)) {
		t.Helper()
		w.must(w.call().UpdateRule(rule.Ref, lab.Operation{}, func(r *lab.Rule) error { change(r); return nil }))
	}
	change(func(r *lab.Rule) { r.Sources = []netip.Prefix{netip.MustParsePrefix("203.0.113.0/24")} })
	check("open to others", false, false, false)
	change(func(r *lab.Rule) { r.Sources = []netip.Prefix{netip.PrefixFrom(outside(a.Public), 32)} })
	check("open to this computer at its public address", true, false, false)
	change(func(r *lab.Rule) { r.Sources, r.SourceTags = nil, []string{"client"} })
	check("open to instances with a tag", false, false, true)
	change(func(r *lab.Rule) { r.SourceTags, r.Disabled = nil, true })
	check("disabled", false, false, false)
	change(func(r *lab.Rule) { r.Disabled = false })

	deny := w.rule("deny", 8080)
	deny.Allow, deny.Priority = false, 900
	w.must(w.call().CreateRule(deny, lab.Operation{}))
	check("denied first", false, false, false)
	w.must(w.call().DeleteRule(deny.Ref, lab.Operation{}))
	check("denied no more", true, true, true)
	w.must(w.call().DeleteRule(rule.Ref, lab.Operation{}))
	check("the rule is gone", false, false, false)
	w.run(onA, "true") // what is established goes on
}

func TestAnotherNetworkIsAnotherWorld(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	a := w.create(w.spec("one"))
	foreign, sub := named("foreign"), named("foreign-sub")
	w.must(w.call().CreateNetwork(lab.Network{Record: lab.Record{Ref: foreign}}, lab.Operation{}))
	w.must(w.call().CreateSubnet(lab.Subnet{Record: lab.Record{Ref: sub}, Network: foreign}, lab.Operation{}))
	rule := w.rule("foreign-ssh", 22)
	rule.Network = foreign
	w.must(w.call().CreateRule(rule, lab.Operation{}))
	s := w.spec("two")
	s.Subnet = sub
	b := w.create(s)
	onB := w.login(b.Public, "ops")
	if err := w.reachFrom(onB, a.Private, 22); err == nil {
		t.Error("a host of another network came in")
	}
	w.login(a.Public, "ops")
}

func TestAnAddressChangesAndTheDiskStays(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	before := w.create(w.spec("web"))
	c := w.login(before.Public, "ops")
	w.run(c, "echo kept >here")
	w.must(w.call().StopInstance(before.Ref, false, lab.Operation{}))
	if off := w.get("web"); off.State != lab.Stopped || off.Public.IsValid() {
		t.Errorf("off: %+v", off)
	}
	if err := reach(before.Public, 22); err == nil {
		t.Error("a host that is off answers")
	}
	w.must(w.call().StartInstance(before.Ref, lab.Operation{}))
	after := w.get("web")
	if after.Public == before.Public || after.Private != before.Private {
		t.Errorf("before %s %s, after %s %s", before.Public, before.Private, after.Public, after.Private)
	}
	c = w.login(after.Public, "ops")
	if got := w.run(c, "cat here"); got != "kept" {
		t.Errorf("the disk has %q", got)
	}
	if err := reach(before.Public, 22); err == nil {
		t.Error("the former address still leads to it")
	}
	// A host that turns itself off is off.
	_, _ = try(c, "sudo systemctl poweroff")
	w.eventually("it is off", func() bool { return w.get("web").State == lab.Stopped })
	w.must(w.call().StartInstance(before.Ref, lab.Operation{}))
	// One that reboots stays where it is, and behind its rules.
	last := w.get("web")
	c = w.login(last.Public, "ops")
	boot := w.run(c, "sudo touch /run/gone && echo up")
	_, _ = try(c, "sudo systemctl reboot")
	_ = c.Wait()
	c = w.login(last.Public, "ops")
	if boot != "up" || w.run(c, "test -e /run/gone || echo anew") != "anew" || w.get("web").Public != last.Public {
		t.Error("it has not rebooted in its place")
	}
}

func TestHostsThatDoNotComeUp(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.lab.Fail(lab.Fault{Subject: "", Boot: lab.NeverBoots})
	dead := w.create(w.spec("dead"))
	w.lab.Fail(lab.Fault{Boot: lab.NoSSH})
	mute := w.create(w.spec("mute"))
	if dead.State != lab.Running || mute.State != lab.Running {
		t.Errorf("they are said to be %s and %s", dead.State, mute.State)
	}
	w.eventually("one boots", func() bool { return strings.Contains(w.lab.Console(mute.ID), "Startup finished") })
	for _, i := range []lab.Instance{dead, mute} {
		if err := reach(i.Public, 22); err == nil {
			t.Errorf("%s answers", i.Name)
		}
	}
	if said := w.lab.Console(dead.ID); said != "" {
		t.Errorf("it boots: %s", said)
	}
	// Started again, they are well.
	for _, i := range []lab.Instance{dead, mute} {
		w.must(w.call().StopInstance(i.Ref, true, lab.Operation{}))
		w.must(w.call().StartInstance(i.Ref, lab.Operation{}))
		w.login(w.get(i.Name).Public, "ops")
	}
}

func TestAHostThatVanishesIsGone(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	i := w.create(w.spec("web"))
	w.login(i.Public, "ops")
	if err := w.lab.Vanish(t.Context(), i.Ref); err != nil {
		t.Fatal(err)
	}
	if err := reach(i.Public, 22); err == nil {
		t.Error("it answers still")
	}
	if left := w.lab.Leftovers(); len(left) > 0 {
		t.Errorf("left: %+v", left)
	}
}

// outside is this computer's address as hosts see it that are called at their public address.
func outside(public netip.Addr) netip.Addr {
	return netip.PrefixFrom(public, 24).Masked().Addr().Next()
}
