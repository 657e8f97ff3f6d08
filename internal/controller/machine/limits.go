package machine

import (
	"math"
	"time"
)

// Limits of what a phase waits for, where the spec sets none.
const (
	defaultWaitSSH     = 5 * time.Minute
	defaultWaitInstall = 10 * time.Minute
	defaultWaitAgent   = 2 * time.Minute
	defaultWaitBoot    = 30 * time.Minute
	// defaultWaitReboot is how long a host that was there before may take to boot: it may be a real computer.
	defaultWaitReboot = 10 * time.Minute
	// patience is how long a provider's passing faults are borne in a phase that has no limit of its own.
	defaultPatience = 3 * time.Minute
	// lookAgain is how often a host that does not report is asked for at its provider.
	lookAgain = 15 * time.Second
	// importPause is how long after the last import hosts are left alone, but for no longer than maxImportPause each.
	importPause    = time.Second
	maxImportPause = 30 * time.Second
	// engineGrace is how long dockerd may take to start after the host did all that was asked; one that a user stopped
	// keeps nobody waiting for longer.
	engineGrace = 15 * time.Second
	// settleTime is how long agents get to come back after the controller started, before they count as lost.
	settleTime = 15 * time.Second
)

func orDefault(d, fallback time.Duration) time.Duration {
	if d > 0 {
		return d
	}
	return fallback
}

// patience is how long faults that may pass are tried again in the present phase.
func (s *Service) patience(m *Machine) time.Duration {
	switch m.Status.Phase {
	case Booting:
		return orDefault(m.Spec.Waits.SSH, defaultWaitSSH)
	case Joining:
		if m.BootTicket != nil { // its host has yet to boot
			return orDefault(m.Spec.Waits.Boot, defaultWaitBoot)
		}
		return orDefault(m.Spec.Waits.Agent, defaultWaitAgent)
	case Starting:
		if s.adopted(m) {
			return orDefault(m.Spec.Waits.Agent, defaultWaitReboot)
		}
		return orDefault(m.Spec.Waits.Agent, defaultWaitAgent)
	case Installing:
		return orDefault(m.Spec.Waits.Install, defaultWaitInstall)
	case Running, Stopped, Importing:
		return math.MaxInt64 // nothing is under way that could come too late
	case Stopping, Deleting:
		if m.Status.Swarm.Node != "" {
			return defaultPatience + max(m.Spec.Drain, 0)
		}
	case Pending, Creating:
	}
	return defaultPatience
}

// overdue reports whether the present phase has used up its time.
func (s *Service) overdue(m *Machine) bool {
	return s.config.Now().Sub(m.Status.PhaseTime) >= s.patience(m)
}

// remaining is what is left of the present phase's patience.
func (s *Service) remaining(m *Machine) time.Duration {
	return m.Status.PhaseTime.Add(s.patience(m)).Sub(s.config.Now())
}
