package host

// Way is the way that an agent's session comes.
type Way string

// The ways there are.
const (
	WayDirect Way = "direct" // the agent dials the controller
	WaySSH    Way = "ssh"    // the agent dials a socket on its host, which the controller's SSH connection forwards
)

// Link is which ways a session may come.
type Link string

// The modes that can be asked for.
const (
	LinkAuto   Link = "auto" // direct where the host reaches the controller, over SSH where it does not
	LinkDirect Link = "direct"
	LinkSSH    Link = "ssh"
)
