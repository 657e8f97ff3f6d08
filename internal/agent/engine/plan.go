package engine

import (
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"mctl/internal/agent/engine/daemon"
	"mctl/internal/agent/engine/dockerd"
	"mctl/internal/agent/engine/tree"
	"mctl/internal/agent/engine/unit"
	"mctl/internal/fault"
)

// demand is what shall be written.
type demand struct {
	options []daemon.Option
	env     []string
	port    uint16 // that dockerd gives up; zero for none
	restart bool   // dockerd must be restarted, whatever has changed
	// machine is docker-machine's drop-in, whose command line dockerd gets; nil leaves that.
	machine *[]byte
	flags   []daemon.Option // those in it
}

// plan is what is to be written, and what dockerd must do then.
type plan struct {
	files        kept
	contribution contribution
	flags        []string
	act          act
	why          []string // the keys and parts that changed
	neutral      *[]byte  // daemon.json in between, where keys are taken back
	yielded      uint16   // the port that dockerd gives up
}

// plan compares the wish with what is there.
func (e *Engine) plan(d demand, m *memory, s dockerd.Service, present kept) (plan, error) {
	held := map[string]bool{}
	for _, flag := range s.Flags {
		held[flag.Flag] = held[flag.Flag] || !slices.Contains(m.Flags, flag.String())
	}
	settings, err := daemon.Translate(d.options, held)
	if err != nil {
		return plan{}, err
	}
	if m.Live {
		settings.Keys[liveRestore] = true
	}
	settings.Flags = slices.DeleteFunc(settings.Flags, func(o daemon.Option) bool { return e.spared(o, s) })
	original, err := e.original(m, s, present)
	if err != nil {
		return plan{}, err
	}
	base, err := dockerd.ParseDocument(s.Document, tree.Bytes(original))
	if err != nil {
		return plan{}, err
	}
	now, err := dockerd.ParseDocument(s.Document, tree.Bytes(present.Document))
	if err != nil {
		return plan{}, err
	}
	p := plan{contribution: contribution{Original: original, Keys: settings.Keys}}
	if p.files.Machine = present.Machine; d.machine != nil {
		p.files.Machine = d.machine
	}
	left, command, yield := base, s.Unit.Command, daemon.NewYield(s.Held, base, d.port)
	if yield.Needed() {
		left, command, p.yielded = yield.Document(base), s.Unit.Only(s.Variables, yield.Arguments), d.port
	}
	merged := left.With(settings.Keys)
	switch {
	case len(daemon.Changed(base, merged)) == 0:
		p.files.Document = original // byte for byte, also when there is none
	default:
		bytes := merged.Bytes()
		p.files.Document = &bytes
	}
	p.contribution.Digest = tree.Digest(p.files.Document)
	for _, flag := range settings.Flags {
		p.flags = append(p.flags, flag.String())
	}
	if dropIn := unit.DropIn(command, command != s.Unit.Command, p.flags, d.env); dropIn != nil {
		p.files.DropIn = &dropIn
	}
	if sets := command != s.Unit.Command || len(p.flags) > 0; sets && s.Later != "" {
		return plan{}, fault.New("engine.plan", fault.Precondition, s.Later, s.Later+" sets dockerd's command line after mctl would").
			WithHint("rename that file on the host so that it comes before " + filepath.Base(dockerd.DropIn))
	}
	p.why = daemon.Changed(now, merged)
	p.decide(now, merged, tree.Digest(p.files.DropIn) != tree.Digest(present.DropIn))
	switch {
	case d.restart && d.port == 0:
		p.act, p.why = restart, append(p.why, "its own listener")
	case d.restart:
		p.act, p.why = restart, append(p.why, fmt.Sprintf("port %d", d.port))
	}
	return p, nil
}

// decide chooses the mildest act that brings the change into effect.
func (p *plan) decide(now, merged daemon.Document, dropIn bool) {
	switch {
	case dropIn:
		p.act = restart
		p.why = append(p.why, "flags or environment of docker.service")
		return
	case len(p.why) == 0:
		return
	case slices.ContainsFunc(p.why, func(key string) bool { return !daemon.Reloadable(key) }):
		p.act = restart
		return
	}
	p.act = reload
	neutral, ok := daemon.Neutral(now, merged)
	if !ok {
		p.act = restart
	} else if len(daemon.Changed(neutral, merged)) > 0 {
		bytes := neutral.Bytes()
		p.neutral = &bytes
	}
}

// spared reports whether a flag that the unit has already is better left alone: it says the same, or it is only our label
// with the driver's name, which is not worth a restart.
func (e *Engine) spared(o daemon.Option, s dockerd.Service) bool {
	if slices.Contains(s.Held, o) {
		return true
	}
	if o.Flag == "label" && strings.HasPrefix(o.Value, "provider=") && slices.ContainsFunc(s.Held, func(f daemon.Option) bool { return f.Flag == "label" }) {
		e.config.Progress("docker.service sets labels as flags, so label " + o.Value + " is left out")
		return true
	}
	return false
}

// original is daemon.json without our part: as it was before us, where nobody changed it since; else what is there now with
// our keys taken out.
func (e *Engine) original(m *memory, s dockerd.Service, present kept) (*[]byte, error) {
	if m.Ours.Digest == "" && m.Ours.Keys == nil {
		return present.Document, nil
	}
	if tree.Digest(present.Document) == m.Ours.Digest {
		return m.Ours.Original, nil
	}
	if present.Document == nil {
		return nil, nil
	}
	now, err := dockerd.ParseDocument(s.Document, *present.Document)
	if err != nil {
		return nil, err
	}
	before, err := dockerd.ParseDocument(s.Document, tree.Bytes(m.Ours.Original))
	if err != nil {
		return nil, err
	}
	cleaned := now.Without(m.Ours.Keys, before)
	if m.Yielded != 0 {
		cleaned = daemon.NewYield(s.Held, before, m.Yielded).Back(cleaned, before)
	}
	if len(daemon.Changed(now, cleaned)) == 0 {
		return present.Document, nil
	}
	if cleaned.Empty() && m.Ours.Original == nil {
		return nil, nil
	}
	bytes := cleaned.Bytes()
	return &bytes, nil
}

func stronger(a, b act) act {
	switch {
	case a == restart || b == restart:
		return restart
	case a == reload || b == reload:
		return reload
	}
	return nothing
}
