package machine

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"mctl/internal/controller/driver"
	"mctl/internal/host"
)

// View is what people and the API see of a machine beside its record: the facts that live in memory, and the words that
// sum both up.
type View struct {
	Observed host.Observed
	Known    bool   // the host has had a session with this process
	State    string // docker-machine's word
	Error    string // one sentence, or nothing
	Progress string // what is waited for now, or nothing
	// TunnelError is why the controller's SSH connection for the agent is not up; empty where it is, or need not be.
	TunnelError string
}

// docker-machine's words for the state of a machine.
const (
	stateRunning  = "Running"
	statePaused   = "Paused"
	stateSaved    = "Saved"
	stateStopped  = "Stopped"
	stateStopping = "Stopping"
	stateStarting = "Starting"
	stateError    = "Error"
)

// View merges a record with what is known of its host now. It asks nobody.
func (s *Service) View(m *Machine) View {
	observed, known := s.config.Hosts.Observed(m.UID)
	view := View{Observed: observed, Known: known, State: state(m)}
	if err := s.config.Tunnels.State(m.UID).Err; err != nil {
		view.TunnelError = err.Error()
	}
	settled := m.Status.Phase == Running || m.Status.Phase == Stopped
	if !settled && m.Status.Failure == nil {
		s.mu.Lock()
		view.Progress = s.progress[m.Name]
		s.mu.Unlock()
	}
	view.Error = strings.Join(slices.DeleteFunc(append([]string{s.trouble(m, view)}, s.expiries(m)...), func(t string) bool { return t == "" }), "; ")
	return view
}

func state(m *Machine) string {
	if m.Status.Failure != nil {
		return stateError
	}
	switch m.Status.Phase {
	case Running:
		return powerState(m.Status.Power)
	case Booting, Joining, Installing:
		if m.Status.AppliedDigest != "" { // it was ready before, and runs while it is set up anew
			return stateRunning
		}
	case Stopping, Deleting:
		return stateStopping
	case Stopped:
		return stateStopped
	case Importing:
		if m.Status.Power == driver.Unknown {
			return stateError
		}
		return powerState(m.Status.Power)
	case Pending, Creating, Starting:
	}
	return stateStarting
}

func powerState(power driver.Power) string {
	switch power {
	case driver.Stopped:
		return stateStopped
	case driver.Paused:
		return statePaused
	case driver.Saved:
		return stateSaved
	case driver.Stopping:
		return stateStopping
	case driver.Running, driver.Starting, driver.Unknown:
	}
	return stateRunning
}

// expiryNotice is how long before its end a certificate is spoken of. Agents renew at half of its life, so one that comes so
// near its end waits for somebody.
const expiryNotice = 30 * 24 * time.Hour

// expiries are what the ERRORS column says of certificates that nobody renews: the engine's own, and those of the authorities
// that it and the agent are under. No certificate outlives its authority, so the authority alone is spoken of where both end.
func (s *Service) expiries(m *Machine) []string {
	if m.Status.Phase == Deleting {
		return nil
	}
	control, engine := s.config.Authorities.Ends(m.Status.Authority)
	if m.Status.SSH.Address == "" { // without an agent
		control = time.Time{}
	}
	front := m.Status.Front.CertificateExpiry
	texts := []string{s.expiry("the engine authority "+m.Status.Authority, engine), s.expiry("the control authority", control)}
	if texts[0] == "" || front.Before(engine) {
		own := s.expiry("the engine's certificate", front)
		if own != "" && m.Import != nil && m.Status.Authority != DefaultAuthority {
			own += ", and `mctl regenerate-certs " + m.Name + "` moves it to an authority of mctl's own"
		}
		texts = append([]string{own}, texts...)
	}
	return texts
}

func (s *Service) expiry(what string, until time.Time) string {
	switch left := until.Sub(s.config.Now()); {
	case until.IsZero() || left > expiryNotice:
		return ""
	case left <= 0:
		return what + " expired on " + until.UTC().Format(time.DateOnly)
	}
	return what + " expires on " + until.UTC().Format(time.DateOnly)
}

// trouble is what the ERRORS column says of a machine as it is now.
func (s *Service) trouble(m *Machine, view View) string {
	if f := m.Status.Failure; f != nil {
		return f.Message
	}
	if m.Status.Phase == Deleting { // nobody need be waiting for it any more, so that nothing else tells
		s.mu.Lock()
		defer s.mu.Unlock()
		return s.troubles[m.UID]
	}
	if m.Status.Phase == Importing {
		return s.notTakenOver(m)
	}
	if m.Status.Phase == Running && m.Status.Agentless != "" {
		return "no agent: " + m.Status.Agentless
	}
	if m.Status.Phase != Running || view.State != stateRunning || m.agentless() {
		return ""
	}
	if !view.Observed.Connected {
		since := s.started
		if view.Known {
			since = view.Observed.Since
		} else if s.config.Now().Sub(s.started) < settleTime {
			return ""
		}
		return fmt.Sprintf("agent not connected since %s", since.UTC().Format(time.DateTime+" UTC"))
	}
	if f := view.Observed.Applied.Failure; f != nil {
		return f.Message
	}
	if h := view.Observed.Health; h != nil && !h.EngineUp {
		return "docker is not running"
	}
	if m.Status.Swarm.Drained {
		s.mu.Lock()
		defer s.mu.Unlock()
		return strings.TrimSuffix("takes no tasks of its swarm: "+s.troubles[m.UID], ": ")
	}
	if why := view.Observed.Applied.Engine.AwaitsRestart; why != "" {
		return fmt.Sprintf("%s; `mctl provision %s` restarts it", why, m.Name)
	}
	return ""
}
