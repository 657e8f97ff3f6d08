package machine

import (
	"fmt"
	"time"

	"mctl/internal/controller/driver"
	"mctl/internal/fault"
	"mctl/internal/host"
)

// lostLimit is how long an agent that may come both ways has no session until the controller goes to its host over SSH.
const lostLimit = 5 * time.Second

// checkLink refuses a mode that there is not.
func checkLink(link host.Link) error {
	switch link {
	case "", host.LinkAuto, host.LinkDirect, host.LinkSSH:
		return nil
	}
	return fault.New("machine.checkLink", fault.Invalid, string(link), fmt.Sprintf("%q is no link mode", link)).
		WithHint("it is auto, direct or ssh").WithReason(fault.ReasonUsage)
}

// steer starts or ends the SSH connection that a host's agent may come over, and keeps what it told. It is asked at the
// beginning of each step, and again after the time that it returns; zero for when something happens.
func (s *Service) steer(m *Machine) time.Duration {
	observed, known := s.config.Hosts.Observed(m.UID)
	if observed.Connected {
		m.Status.Link = observed.Way
	}
	needed, wait := s.needsTunnel(m, observed, known)
	if !needed {
		s.config.Tunnels.Drop(m.UID)
		return wait
	}
	s.config.Tunnels.Keep(m.UID, m.Name)
	if own := s.config.Tunnels.State(m.UID).Own; own != "" && m.Spec.Link != host.LinkSSH && len(s.config.Advertise) == 0 {
		m.Status.Endpoints = []string{own} // we may have moved since first contact
	}
	return 0
}

// needsTunnel reports whether a host's agent needs the controller to come over SSH: where that is asked for, where the agent came
// that way last, and where it has been lost for some seconds. A session that goes directly needs none.
func (s *Service) needsTunnel(m *Machine, observed host.Observed, known bool) (needed bool, wait time.Duration) {
	switch {
	case m.Spec.Link == host.LinkDirect, m.agentless(), m.Status.HostGone, !m.mayHaveAgent():
		return false, 0
	case m.Spec.Link == host.LinkSSH:
		return true, 0
	case observed.Connected:
		return observed.Way == host.WaySSH, 0
	case m.Status.Link == host.WaySSH:
		return true, 0
	}
	since := s.started
	if known && observed.Since.After(since) {
		since = observed.Since
	}
	if m.Status.PhaseTime.After(since) {
		since = m.Status.PhaseTime
	}
	if wait = lostLimit - s.config.Now().Sub(since); wait > 0 {
		return false, wait
	}
	return true, 0
}

// mayHaveAgent reports whether the host has power, and an agent that is ours.
func (m *Machine) mayHaveAgent() bool {
	switch m.Status.Phase {
	case Joining:
		return m.BootTicket == nil // else its host has yet to fetch it
	case Installing, Starting:
		return true
	case Running:
		return powerState(m.Status.Power) == stateRunning
	case Deleting: // one that is adopted gives itself back
		return m.Status.AppliedDigest != "" && m.Status.Power != driver.Stopped
	case Pending, Creating, Booting, Stopping, Stopped, Importing:
	}
	return false
}
