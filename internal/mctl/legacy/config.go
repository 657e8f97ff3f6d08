package legacy

import (
	"encoding/json"
	"path/filepath"
)

// newest is the version of config.json that docker-machine wrote last.
const newest = 3

// config is config.json as docker-machine wrote it; what nobody needs is left out.
type config struct {
	ConfigVersion int
	Driver        json.RawMessage
	DriverName    string
	Name          string
	HostOptions   struct {
		EngineOptions engineOptions
		SwarmOptions  struct {
			IsSwarm   bool
			Discovery string
		}
		AuthOptions authOptions
	}
	authOptions // of version 0
}

type engineOptions struct {
	ArbitraryFlags, Env, InsecureRegistry, Labels, RegistryMirror []string
	StorageDriver, InstallURL                                     string
}

type authOptions struct {
	CertDir, CaCertPath, CaPrivateKeyPath, ServerCertPath, ServerKeyPath, ClientKeyPath, ClientCertPath, StorePath string
	PrivateKeyPath                                                                                                 string // CaPrivateKeyPath before version 2
	ServerCertSANs                                                                                                 []string
}

// login is what every driver's object has.
type login struct {
	IPAddress, MachineName, SSHUser, SSHKeyPath, StorePath, URL string
	SSHPort                                                     int
	EnginePort                                                  int
}

// auth is where the certificates are, whatever the version.
func (c *config) auth() authOptions {
	auth := c.HostOptions.AuthOptions
	if c.ConfigVersion < 1 {
		auth = c.authOptions
	}
	if auth.CaPrivateKeyPath == "" {
		auth.CaPrivateKeyPath = auth.PrivateKeyPath
	}
	return auth
}

// place finds files whose paths were written where the store was before.
type place struct {
	store string   // where it is
	olds  []string // where it may have been
}

func newPlace(store string, auth authOptions, l login) place {
	p := place{store: store}
	if l.StorePath != "" {
		p.olds = append(p.olds, filepath.Clean(l.StorePath))
	}
	if auth.StorePath != "" {
		p.olds = append(p.olds, filepath.Dir(filepath.Dir(filepath.Clean(auth.StorePath))))
	}
	if auth.CertDir != "" {
		p.olds = append(p.olds, filepath.Dir(filepath.Clean(auth.CertDir)))
	}
	return p
}

// rebase is where a path of the store is now. One outside of the store stays as it is, and so does none.
func (p place) rebase(path string) string {
	if path == "" {
		return ""
	}
	for _, old := range p.olds {
		if inside, err := filepath.Rel(old, path); err == nil && filepath.IsLocal(inside) && old != "/" {
			return filepath.Join(p.store, inside)
		}
	}
	return path
}

// old is where the store was when the driver's paths were written; empty where it does not say.
func (p place) old() string {
	if len(p.olds) == 0 {
		return ""
	}
	return p.olds[0]
}
