package machine

import "slices"

// Phase is where in its life a machine is. A failure parks a machine without losing its phase.
type Phase string

// The phases. docs/machine-lifecycle.md says what each may repeat.
const (
	Pending    Phase = "pending"
	Creating   Phase = "creating"
	Booting    Phase = "booting"
	Joining    Phase = "joining"
	Installing Phase = "installing"
	Running    Phase = "running"
	Stopping   Phase = "stopping"
	Stopped    Phase = "stopped"
	Starting   Phase = "starting"
	Deleting   Phase = "deleting"
	Importing  Phase = "importing"
)

// moves is the one table of allowed moves. Every phase may also move to Deleting, and none leaves it.
var moves = map[Phase][]Phase{
	Pending:    {Creating},
	Creating:   {Booting},
	Booting:    {Joining, Running, Stopping},
	Joining:    {Installing, Booting, Stopping},
	Installing: {Running, Booting, Stopping},
	Running:    {Installing, Booting, Stopping, Starting},
	Stopping:   {Stopped, Running, Starting},
	Stopped:    {Starting},
	Starting:   {Installing, Booting, Stopping},
	Deleting:   {},
	Importing:  {Joining, Running, Stopping, Starting},
}

// CanMove reports whether a machine may move from one phase to another.
func CanMove(from, to Phase) bool {
	if to == Deleting {
		return from != Deleting
	}
	return slices.Contains(moves[from], to)
}
