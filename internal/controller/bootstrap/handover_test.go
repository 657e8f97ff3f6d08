package bootstrap

import (
	"slices"
	"strings"
	"testing"

	"mctl/internal/fault"
	"mctl/internal/host"
)

const goodOffer = `{"offer":{"Request":"cmVxdWVzdA==","Engine":{"Labels":["of=theirs"]}}}` + "\n" + `{"done":true}`

func asked() host.HandOver { return host.HandOver{Port: 2376, Provider: "generic"} }

// handOver hands the host over, and returns what was signed.
func (w *world) handOver() (signed string, err error) {
	err = w.installer.HandOver(w.t.Context(), w.target, asked(), func(request []byte) ([]byte, error) {
		signed += string(request)
		return []byte("certificate"), nil
	}, w.progress)
	return signed, err
}

func TestAHostIsLeftToDockerMachineAsItOffers(t *testing.T) {
	for name, c := range map[string]struct {
		agent string
		want  []string
	}{
		"an agent of this build": {digest(agentBytes), []string{offerPresentCommand, handOverPresentCommand}},
		"one of another build":   {"another", []string{uploadCommand, offerNewCommand, handOverNewCommand}},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			if _, err := w.install(); err != nil {
				t.Fatal(err)
			}
			w.host.facts["agent"], w.host.offers, w.host.answers = c.agent, goodOffer, []string{`{"progress":"leaving docker"}`, `{"done":true}`}
			if offer, err := w.installer.Offer(t.Context(), w.target, asked()); err != nil || offer.Begun || !slices.Equal(offer.Engine.Labels, []string{"of=theirs"}) {
				t.Fatalf("offer %+v, %v", offer, err)
			}
			before := len(w.asked())
			signed, err := w.handOver()
			if err != nil || signed != "request" {
				t.Fatalf("signed %q, %v", signed, err)
			}
			if got := slices.DeleteFunc(w.asked()[before:], func(s string) bool { return !slices.Contains(c.want, s) }); !slices.Equal(got, c.want) {
				t.Errorf("asked %q", got)
			}
			last := w.host.handOvers[len(w.host.handOvers)-1]
			if string(last.Certificate) != "certificate" || !slices.Equal(last.Engine.Labels, []string{"of=theirs"}) || last.Provider != "generic" || !slices.Contains(w.told, "leaving docker") {
				t.Errorf("handed over %+v, told %q", last, w.told)
			}
			if signed, err := w.handOver(); err != nil || signed != "" {
				t.Errorf("once more: signed %q, %v", signed, err)
			}
		})
	}
}

func TestAHandOverThatHasBegunIsEndedAsItBegan(t *testing.T) {
	w := newWorld(t)
	if _, err := w.install(); err != nil {
		t.Fatal(err)
	}
	w.host.offers, w.host.answers = `{"offer":{"Begun":true}}`+"\n"+`{"done":true}`, []string{`{"done":true}`}
	if signed, err := w.handOver(); err != nil || signed != "" {
		t.Fatalf("signed %q, %v", signed, err)
	}
	// A plain uninstall that waits for one that gives up would leave nothing that serves docker.
	last := w.host.handOvers[len(w.host.handOvers)-1]
	if slices.Contains(w.asked(), uninstallPresentCommand) || !slices.Contains(w.asked(), handOverPresentCommand) || last.Certificate != nil {
		t.Errorf("asked %q, with %+v", w.asked(), last)
	}
}

func TestWhyAHostIsNotHandedOverIsSaid(t *testing.T) {
	for name, c := range map[string]struct {
		prepare func(w *world)
		kind    fault.Kind
		says    string
	}{
		"it refuses": {func(w *world) {
			w.host.offers = `{"error":"docker does not run","kind":"precondition","hint":"start it"}`
		}, fault.Precondition, "docker does not run"},
		"it says nothing":            {func(*world) {}, fault.Unavailable, "does not say"},
		"it is cut off":              {func(w *world) { w.host.offers, w.host.status, w.host.answers = goodOffer, 137, nil }, fault.Unavailable, "did not come to the end"},
		"it is another machine's":    {func(w *world) { w.host.facts["agent_uid"] = "uid-2" }, fault.Precondition, "another machine"},
		"somebody removed the agent": {func(w *world) { w.host.clear() }, fault.Precondition, "not on"},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			if _, err := w.install(); err != nil {
				t.Fatal(err)
			}
			c.prepare(w)
			_, err := w.installer.Offer(t.Context(), w.target, asked())
			if name == "it is cut off" {
				_, err = w.handOver()
			}
			if !fault.Is(err, c.kind) || !strings.Contains(err.Error(), c.says) {
				t.Errorf("%v", err)
			}
		})
	}
	w := newWorld(t)
	if err := w.installer.Greet(t.Context(), w.target); err != nil {
		t.Errorf("a host that lets us in: %v", err)
	}
	w.target.Key = nil
	if err := w.installer.Greet(t.Context(), w.target); !fault.Is(err, fault.Denied) {
		t.Errorf("without a key: %v", err)
	}
}
