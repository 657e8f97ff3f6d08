package footprint

import (
	"bytes"
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"mctl/internal/fault"
	"mctl/internal/host"
)

// parting is a host that mctl was put on, and what it is asked for when it goes to docker-machine.
func parting(t *testing.T) (*world, *[]host.HandOver) {
	t.Helper()
	h := newHost(t)
	_, err := h.install(nil)
	must(t, err)
	journal := OpenJournal(h.root)
	for _, path := range []string{"/etc/docker/server.pem", "/etc/docker/daemon.json"} {
		must(t, journal.File(path))
		h.put(path, "ours", 0o644)
		must(t, journal.Written(path))
	}
	h.config.Withdraw = func(context.Context) error { t.Error("it was asked to withdraw"); return nil }
	var asked []host.HandOver
	h.config.Offer = func(_ context.Context, o host.HandOver) (host.Offer, error) {
		return host.Offer{Request: []byte("request"), Engine: o.Engine}, nil
	}
	h.config.HandOver = func(_ context.Context, o host.HandOver) ([]string, error) {
		asked = append(asked, o)
		return []string{"/etc/docker/server.pem"}, nil
	}
	return h, &asked
}

func document(t *testing.T) *bytes.Reader {
	t.Helper()
	text, err := json.Marshal(host.HandOver{Port: 2376, Provider: "generic", Certificate: []byte("certificate")})
	must(t, err)
	return bytes.NewReader(text)
}

// asked returns what an offer is answered with.
func (h *world) offer() host.Offer {
	h.t.Helper()
	var output bytes.Buffer
	must(h.t, Offer(h.t.Context(), document(h.t), &output, h.config))
	var answer struct{ Offer host.Offer }
	must(h.t, json.NewDecoder(&output).Decode(&answer))
	return answer.Offer
}

func TestAHandOverLeavesWhatIsDockerMachinesAndNothingOfOurs(t *testing.T) {
	h, asked := parting(t)
	if offer := h.offer(); offer.Begun || string(offer.Request) != "request" {
		t.Errorf("the offer: %+v", offer)
	}
	must(t, HandOver(t.Context(), document(t), &bytes.Buffer{}, h.config))
	if len(*asked) != 1 || string((*asked)[0].Certificate) != "certificate" {
		t.Errorf("asked %+v", *asked)
	}
	if h.read("/etc/docker/server.pem") != "ours" || h.read("/etc/hostname") != "web\n" || h.hostname != "web" || exists(h.config.at("/etc/docker/daemon.json")) {
		t.Errorf("left: %q", h.snapshot())
	}
	if left := slices.DeleteFunc(h.snapshot(), func(s string) bool { return !strings.Contains(s, "mctl") }); len(left) > 0 {
		t.Errorf("left: %q", left)
	}
	if offer := h.offer(); !offer.Begun {
		t.Error("a host where nothing of ours is offers itself once more")
	}
	must(t, HandOver(t.Context(), document(t), &bytes.Buffer{}, h.config))
}

func TestAHandOverThatWasCutOffIsEndedByWhoeverComes(t *testing.T) {
	for _, call := range []string{"systemctl stop", "systemctl kill", "systemctl --no-reload disable mctl-agent.service", "systemctl daemon-reload"} {
		h, asked := parting(t)
		h.failing[call] = "no"
		_ = HandOver(t.Context(), document(t), &bytes.Buffer{}, h.config)
		delete(h.failing, call)
		if exists(h.config.at(StateDir)) && !h.offer().Begun {
			t.Errorf("%s: it does not know that it has begun", call)
		}
		h.uninstall(false) // as an agent does that the host booted
		if len(*asked) != 1 || h.read("/etc/docker/server.pem") != "ours" || exists(h.config.at(StateDir)) || exists(h.config.at(Binary)) {
			t.Errorf("%s: asked %d times; left %q", call, len(*asked), h.snapshot())
		}
	}
}

func TestAHostStaysWhereDockerDoesNotTakeIt(t *testing.T) {
	h, _ := parting(t)
	h.config.HandOver = func(context.Context, host.HandOver) ([]string, error) {
		return nil, fault.New("", fault.Precondition, "", "docker does not start")
	}
	h.asked()
	err := HandOver(t.Context(), document(t), &bytes.Buffer{}, h.config)
	if !fault.Is(err, fault.Precondition) || !strings.Contains(err.Error(), "does not start") {
		t.Errorf("%v", err)
	}
	if calls := h.asked(); calls[len(calls)-1] != "systemctl enable --now mctl-agent.service mctl-front.socket" {
		t.Errorf("asked %q", calls)
	}
	if exists(h.config.at(filepath.Join(StateDir, LeavingFile))) || !exists(h.config.at(Binary)) || h.offer().Begun {
		t.Error("it goes all the same when its agent starts")
	}
}

func TestAHandOverThatSaysNothingIsRefused(t *testing.T) {
	for _, text := range []string{"", "{", "{}", `{"Port":2376}`, `{"Port":2376,"Provider":"x","Engine":{"Labels":["a\nb"]}}`} {
		h, asked := parting(t)
		before := h.snapshot()
		if err := HandOver(t.Context(), strings.NewReader(text), &bytes.Buffer{}, h.config); !fault.Is(err, fault.Invalid) {
			t.Errorf("%q: %v", text, err)
		}
		if len(*asked) > 0 || !slices.Equal(h.snapshot(), before) {
			t.Errorf("%q changed something", text)
		}
	}
}

func TestAHandOverThatWasGivenUpMeanwhileIsNotTakenForAnUninstall(t *testing.T) {
	h, asked := parting(t)
	before := h.snapshot()
	text, err := json.Marshal(host.HandOver{Port: 2376, Provider: "generic"})
	must(t, err)
	if err := HandOver(t.Context(), bytes.NewReader(text), &bytes.Buffer{}, h.config); !fault.Is(err, fault.Unavailable) {
		t.Errorf("%v", err)
	}
	if len(*asked) > 0 || !slices.Equal(h.snapshot(), before) {
		t.Errorf("something changed: %q", h.snapshot())
	}
	h.failing["systemctl stop"] = "no"
	_ = HandOver(t.Context(), document(t), &bytes.Buffer{}, h.config)
	delete(h.failing, "systemctl stop")
	must(t, HandOver(t.Context(), bytes.NewReader(text), &bytes.Buffer{}, h.config)) // goes on with the certificate of the first
	if len(*asked) != 1 || string((*asked)[0].Certificate) != "certificate" || exists(h.config.at(Binary)) {
		t.Errorf("asked %+v", *asked)
	}
}

func TestWhoeverEndsAHandOverAfterAPowerCutKnowsWhatOneIs(t *testing.T) {
	h, asked := parting(t)
	h.put("/var/lib/mctl/agent.new", "another build", 0o755)
	h.config.Self = h.config.at(StateDir + "/agent.new")
	h.failing["systemctl stop"] = "no"
	_ = HandOver(t.Context(), document(t), &bytes.Buffer{}, h.config)
	if got := h.read(Binary); got != "another build" {
		t.Errorf("the agent that the host boots with is %q", got)
	}
	delete(h.failing, "systemctl stop")
	must(t, HandOver(t.Context(), document(t), &bytes.Buffer{}, h.config))
	if len(*asked) != 1 || exists(h.config.at(StateDir)) || exists(h.config.at(Binary)) {
		t.Errorf("asked %d times; left %q", len(*asked), h.snapshot())
	}
}

func TestAnAgentThatTakesTheNoteBackBeforeItStopsEndsNoHandOver(t *testing.T) {
	h, _ := parting(t)
	h.config.Runner = stopping{h}
	h.config.HandOver = func(context.Context, host.HandOver) ([]string, error) {
		if l := h.config.leaving(); l.HandOver == nil || !l.Told { // what stands there if the host is switched off now
			t.Errorf("noted: %+v", l)
		}
		return nil, nil
	}
	must(t, HandOver(t.Context(), document(t), &bytes.Buffer{}, h.config))
}

func TestAHandOverDoesNotWaitForEverForAnotherRemoval(t *testing.T) {
	h, asked := parting(t)
	other, err := h.config.orDefaults()
	must(t, err)
	unlock, err := other.alone(t.Context())
	must(t, err)
	defer unlock()
	h.config.Patience = time.Millisecond
	before := h.snapshot()
	if err := HandOver(t.Context(), document(t), &bytes.Buffer{}, h.config); !fault.Is(err, fault.Unavailable) || len(*asked) > 0 || !slices.Equal(h.snapshot(), before) {
		t.Errorf("%v, asked %d times", err, len(*asked))
	}
}

// stopping is a host whose agent is told to stay, just before it is stopped.
type stopping struct{ *world }

func (s stopping) Run(ctx context.Context, args ...string) (string, error) {
	if strings.Join(args[:2], " ") == "systemctl stop" {
		must(s.t, os.Remove(s.config.at(filepath.Join(StateDir, LeavingFile))))
	}
	return s.world.Run(ctx, args...)
}
