// Package nspawn makes hosts on the controller's own computer: systemd-nspawn containers that boot a whole system with
// sshd, have an address of their own, and outlive the controller. docs/drivers/nspawn.md tells how.
package nspawn

import (
	"github.com/hashicorp/go-hclog"
)

// DefaultCacheDir holds what all controllers of a computer share: the base image.
const DefaultCacheDir = "/var/cache/mctl/nspawn"

// Config says where things are.
type Config struct {
	// StateDir holds the hosts of one controller. Its file system must be able to carry overlays.
	StateDir string
	// CacheDir holds the base image; empty for DefaultCacheDir.
	CacheDir string
	// LockFile keeps controllers of one computer from choosing the same network; empty for one in /run.
	LockFile string
	// ControllerID names the controller whose hosts these are. Calls for another are refused.
	ControllerID string
	Logger       hclog.Logger
}

func (c Config) withDefaults() Config {
	if c.CacheDir == "" {
		c.CacheDir = DefaultCacheDir
	}
	if c.LockFile == "" {
		c.LockFile = "/run/mctl-nspawn.lock"
	}
	if c.Logger == nil {
		c.Logger = hclog.NewNullLogger()
	}
	return c
}
