package driver

import "context"

// Imported is what docker-machine knew of a host that it made.
type Imported struct {
	Config    []byte // the driver's object of config.json, byte for byte; holds secrets
	StorePath string // where the store was whose paths are in it
	Key       []byte // private key to log in with, OpenSSH or PEM; nil where there is none
}

// Exporter is a driver that keeps docker-machine's object for its hosts.
type Exporter interface {
	// Export returns what docker-machine would know of the host, without any call. fault.Precondition where nothing is known.
	Export(m Machine) (Imported, error)
}

// Powerless is a driver that has no power over its hosts at all.
type Powerless interface {
	// Powerless says so; verb is start, stop, kill or restart.
	Powerless(verb, machine string) error
}

// Importer is a driver that has to take a host over at its provider which another program made. For any other it is enough to
// ask how the host is.
type Importer interface {
	// Import takes the host over as it is, powered on or not, and never makes one. It may be repeated. fault.NotFound when it is gone.
	Import(ctx context.Context, m Machine) (Instance, error)
}
