package google

import (
	"fmt"
	"net/http"
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

func TestRulesOfAnothersProjectAreLookedForThere(t *testing.T) {
	s := newStub(t)
	var asked []string
	s.answer = func(w http.ResponseWriter, r *http.Request, p string) bool {
		if p == "global/firewalls" {
			asked = append(asked, r.URL.Path)
			reply(w, http.StatusOK, object{})
			return true
		}
		return false
	}
	for _, options := range [][]string{nil, {"google-network", "projects/host/global/networks/n"}, {"google-subnetwork", "projects/host/regions/us-east1/subnetworks/n"}} {
		if _, err := New(quick(t)).List(t.Context(), machineOn(t, s, "", options...)); err != nil {
			t.Error(err)
		}
	}
	if want := []string{"/compute/v1/projects/proj/global/firewalls", "/compute/v1/projects/host/global/firewalls", "/compute/v1/projects/host/global/firewalls"}; !slices.Equal(asked, want) {
		t.Errorf("asked for rules at %q", asked)
	}
}

func TestASubnetworkOfAnotherRegionIsRefusedBeforeAnythingIsMade(t *testing.T) {
	s := newStub(t)
	m := machineOn(t, s, "web", "google-subnetwork", "regions/us-east1/subnetworks/sub")
	for name, act := range map[string]func() error{
		"Preflight": func() error { return New(quick(t)).Preflight(t.Context(), m) },
		"Create":    func() error { _, err := New(quick(t)).Create(t.Context(), m); return err },
	} {
		if err := act(); !fault.Is(err, fault.Precondition) || !strings.Contains(err.Error(), "is in regions/us-east1, and zone us-central1-a in regions/us-central1") || fault.HintOf(err) == "" {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := New(quick(t)).Delete(t.Context(), m); err != nil || len(s.list()) > 0 {
		t.Errorf("%v, there are %v", err, s.list())
	}
}
