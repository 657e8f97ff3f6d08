package driver

import "context"

// Resource is one thing that a driver has made: an instance, a disk, an address, a firewall rule, a key.
type Resource struct {
	Kind     string // the provider's word: instance, disk, address, firewall …
	ID       string // the provider's, unique together with Kind and Location
	Location string // zone or region; empty where there is none
	Machine  string // uid of the machine that it was made for; empty for what several machines share
}

// Lister is a driver that can list everything which carries a controller's id, known to its records or not.
type Lister interface {
	// List returns what it finds, in an order in which it can be removed. Of the machine ControllerID and Options count: where to look, and as whom.
	List(ctx context.Context, m Machine) ([]Resource, error)
}

// Remover is a Lister that can remove what it lists.
type Remover interface {
	// Remove removes one resource. One that is gone is success; one that another controller made is fault.Denied.
	Remove(ctx context.Context, m Machine, r Resource) error
}

// Planner is a driver that can say what Create would make.
type Planner interface {
	// Plan returns a line for each thing, such as "instance web (e2-medium) in us-central1-a". Nothing is made.
	Plan(ctx context.Context, m Machine) ([]string, error)
}

// Labeler is a driver that can label a host that is there.
type Labeler interface {
	// Label adds labels to those that the host has; each key replaces its own. It may be repeated. fault.Invalid for what the
	// provider takes no label of, or what the driver itself needs; fault.NotFound when the host is gone.
	Label(ctx context.Context, m Machine, labels map[string]string) error
}

// Releaser is a driver whose provider has to be told that a host goes on without us.
type Releaser interface {
	// Release takes off whatever says that the host is ours; the host stays, with all that it needs. A host that is gone is success. It
	// may be repeated.
	Release(ctx context.Context, m Machine) error
}

// Abilities names what a driver can do besides its contract, for people.
func Abilities(d Driver) []string {
	var names []string
	for _, ability := range []struct {
		name string
		has  bool
	}{
		{"adopt", is[Adopter](d)}, {"list", is[Lister](d)}, {"remove orphans", is[Remover](d)}, {"plan", is[Planner](d)}, {"restart", is[Restarter](d)}, {"label", is[Labeler](d)}, {"import", is[Importer](d)},
	} {
		if ability.has {
			names = append(names, ability.name)
		}
	}
	return names
}

func is[T any](d Driver) bool { _, ok := d.(T); return ok }
