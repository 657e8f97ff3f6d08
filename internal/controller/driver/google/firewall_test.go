package google

import (
	"fmt"
	"path"
	"slices"
	"strings"
	"testing"
	"time"

	"mctl/internal/controller/driver"
	"mctl/internal/fault"
)

// firewalls are the names of the rules that were made.
func (s *stub) firewalls() (names []string) {
	for _, p := range s.list() {
		if strings.HasPrefix(p, "global/firewalls/") {
			names = append(names, path.Base(p))
		}
	}
	return names
}

func TestAMachineThatOpensNothingIsOpenedByNoOtherAndKeepsNoRule(t *testing.T) {
	for _, order := range [][]int{{0, 1}, {1, 0}} {
		s := newStub(t)
		d := New(quick(t))
		machines := []driver.Machine{machineOn(t, s, "open"), machineOn(t, s, "shut", "google-source-ranges", "none", "google-tags", "own")}
		for _, m := range machines {
			create(t, d, m)
		}
		if tags := fmt.Sprint(s.get(zone + "instances/shut")["tags"]); tags != "map[items:[own]]" {
			t.Errorf("it has the tags %s, which rules may open", tags)
		}
		for _, i := range order {
			if err := d.Delete(t.Context(), machines[i]); err != nil {
				t.Fatal(err)
			}
		}
		if left := s.list(); len(left) > 0 {
			t.Errorf("removed in the order %v, left %v", order, left)
		}
	}
}

func TestARuleThatNoListShowsYetGoesWithItsMachine(t *testing.T) {
	for name, options := range map[string][]string{"by network": nil, "by subnetwork": {"google-subnetwork", "sub"}} {
		t.Run(name, func(t *testing.T) {
			s := newStub(t)
			m := machineOn(t, s, "web", options...)
			create(t, New(quick(t)), m)
			s.mu.Lock()
			s.unlisted = true
			s.mu.Unlock()
			if err := New(quick(t)).Delete(t.Context(), m); err != nil {
				t.Fatal(err)
			}
			if left := s.list(); len(left) > 0 {
				t.Errorf("left %v", left)
			}
		})
	}
}

func TestARuleOfOurNameThatIsAnothersStays(t *testing.T) {
	s := newStub(t)
	m := machineOn(t, s, "web")
	create(t, New(quick(t)), m)
	ours := s.firewalls()
	s.mu.Lock()
	for _, name := range ours {
		s.objects["global/firewalls/"+name]["description"] = "somebody else's"
	}
	s.unlisted = true
	s.mu.Unlock()
	if err := New(quick(t)).Delete(t.Context(), m); err != nil || !slices.Equal(s.firewalls(), ours) {
		t.Errorf("%v, there are %v", err, s.firewalls())
	}
}

func TestARemovedOrphanRuleIsMadeAnewForTheNextMachine(t *testing.T) {
	s := newStub(t)
	config := quick(t)
	config.Settle = time.Hour
	d := New(config)
	m := machineOn(t, s, "web")
	create(t, d, m)
	place := machineOn(t, s, "")
	for _, name := range s.firewalls() {
		if err := d.Remove(t.Context(), place, driver.Resource{Kind: kindRule, ID: name}); !fault.Is(err, fault.Conflict) || fault.HintOf(err) == "" {
			t.Errorf("a machine was only just made, and its rule was removed: %v", err)
		}
	}
	// Its removal fails before it comes to the rules, and its record goes all the same.
	s.mu.Lock()
	s.deny = []stubFault{{match: func(method, p string) bool { return method == "DELETE" }, status: 403, reason: "forbidden", times: 1}}
	s.mu.Unlock()
	if err := d.Delete(t.Context(), m); !fault.Is(err, fault.Denied) {
		t.Fatal(err)
	}
	for _, name := range s.firewalls() {
		if err := d.Remove(t.Context(), place, driver.Resource{Kind: kindRule, ID: name}); err != nil {
			t.Error(err)
		}
	}
	if left := s.firewalls(); len(left) > 0 {
		t.Errorf("left %v", left)
	}
	create(t, d, machineOn(t, s, "next"))
	if made := s.firewalls(); len(made) != 2 {
		t.Errorf("the next machine has the rules %v, want two", made)
	}
}
