//go:build !linux

// Package host boots the lab's instances as real hosts, which needs Linux.
package host

import (
	"context"
	"errors"

	"github.com/hashicorp/go-hclog"

	"mctl/test/cloud/lab"
)

// New fails: real hosts need Linux.
func New(context.Context, hclog.Logger) (lab.Hosts, error) {
	return nil, errors.New("real hosts need Linux")
}
