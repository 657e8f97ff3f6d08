//go:build !linux

package bolt

import "errors"

func holder(int) string { return "held by another process" }

func fillTheDisk(*Store, string) error { return errors.New("not on this system") }
