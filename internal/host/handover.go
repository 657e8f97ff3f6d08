package host

// HandOver is how a host is left to docker-machine: dockerd listens at a port itself, with its flags in docker-machine's drop-in and
// its certificates where that looks for them.
type HandOver struct {
	Port     uint16
	Provider string // docker-machine's name of the driver, which it makes a label
	Engine   Engine // the machine's options; once the host has made an offer, those of the offer
	// Certificate (PEM, leaf first) is for the key of the offer; ClientCA (PEM) are the authorities whose clients are let in.
	Certificate []byte `json:",omitempty"`
	ClientCA    []byte `json:",omitempty"`
}

// Offer is what a host says that can be handed over.
type Offer struct {
	Begun   bool   // it is under way, or done: nothing else is said
	Request []byte // signing request for the key that dockerd shall have (PKCS #10, DER)
	Engine  Engine // what dockerd is to run with: the machine's options, and those that docker.service had of others
}
