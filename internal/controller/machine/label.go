package machine

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"time"

	"mctl/internal/controller/driver"
	"mctl/internal/controller/store"
	"mctl/internal/fault"
)

// MaxLabels is how many labels a machine may have.
const MaxLabels = 64

// labelLimit bounds what a provider may take to label a host.
const labelLimit = 30 * time.Second

// labelTries is how often labels are written anew that somebody else changed meanwhile.
const labelTries = 10

// Label adds labels to the machine, and to its host where the driver can; each key replaces its own. The host comes first, so
// that nothing is noted that its provider refuses, and again when the record has changed meanwhile, so that of two who write
// the same key both places have the same value. After a crash between, a repetition mends it. It is no wish: nothing waits for
// it, and no generation is raised. fault.Precondition while the host is made or removed.
func (s *Service) Label(ctx context.Context, requestID, name string, at store.Revision, labels map[string]string) (*Machine, error) {
	for try := 1; ; try++ {
		m, err := s.label(ctx, requestID, name, at, labels)
		if at != 0 || try == labelTries || !fault.Is(err, fault.Conflict) {
			return m, err
		}
	}
}

// label is one try. fault.Conflict when the record has another revision than at, or was changed before the labels were noted.
func (s *Service) label(ctx context.Context, requestID, name string, at store.Revision, labels map[string]string) (*Machine, error) {
	const op, method = "machine.Label", "label"
	m, err := s.load(ctx, name, true)
	if err != nil {
		return nil, err
	}
	switch known, err := m.requests.Knows(requestID, method); {
	case known || err != nil:
		return m, err
	case m.Spec.Deleted:
		return nil, fault.E(op, fault.Precondition, name, fmt.Errorf("%q is being removed", name))
	case m.Status.Phase == Pending || m.Status.Phase == Creating:
		return nil, fault.E(op, fault.Precondition, name, fmt.Errorf("the host of %q is not made yet", name)).
			WithHint("`mctl wait " + name + "` waits for it")
	case at != 0 && m.Revision != at:
		return nil, conflict(name)
	}
	all, err := m.withLabels(labels)
	if err != nil {
		return nil, err
	}
	if err := s.labelHost(ctx, m, labels); err != nil {
		return nil, err
	}
	return s.write(ctx, name, m.Revision, func(now *Machine) (bool, error) {
		if requestID == "" && maps.Equal(all, now.Labels) {
			return false, nil
		}
		now.Labels, now.requests = all, now.requests.With(requestID, method, s.config.Now())
		return true, nil
	})
}

// withLabels are the machine's labels with more of them.
func (m *Machine) withLabels(more map[string]string) (map[string]string, error) {
	all := map[string]string{}
	maps.Copy(all, m.Labels)
	maps.Copy(all, more)
	if len(all) > MaxLabels {
		return nil, fault.E("machine.Label", fault.Invalid, m.Name, fmt.Errorf("%q would have %d labels, and %d are the limit", m.Name, len(all), MaxLabels)).
			WithHint("give fewer; what is there can be replaced")
	}
	return all, nil
}

func (s *Service) labelHost(ctx context.Context, m *Machine, labels map[string]string) error {
	d, err := s.driver(m)
	if err != nil {
		return err
	}
	labeler, ok := d.(driver.Labeler)
	if !ok {
		return nil
	}
	told, err := s.driverMachine(ctx, m)
	if err != nil {
		return err
	}
	limited, cancel := context.WithTimeout(ctx, labelLimit)
	defer cancel()
	err = labeler.Label(limited, told, labels)
	if errors.Is(err, context.DeadlineExceeded) && ctx.Err() == nil {
		return fault.E("machine.Label", fault.Unavailable, m.Name, fmt.Errorf("the provider did not label the host of %q within %s", m.Name, labelLimit)).
			WithHint("try again; what is labelled stays so")
	}
	return err
}
