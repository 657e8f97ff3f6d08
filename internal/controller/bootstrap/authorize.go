package bootstrap

import (
	"context"
	"fmt"
	"strings"

	"mctl/internal/controller/bootstrap/login"
	"mctl/internal/fault"
)

// authorize has the user on the host let more keys in. Those that are let in already stay as they are.
func (i *Installer) authorize(ctx context.Context, c *login.Connection, target Target) error {
	if len(target.Authorize) == 0 {
		return nil
	}
	var lines strings.Builder
	for _, line := range target.Authorize {
		lines.WriteString(strings.TrimSpace(line) + "\n")
	}
	out, err := c.Run(ctx, i.limits.Probe, authorizeCommand, strings.NewReader(lines.String()), nil)
	if err == nil && out.Status != 0 {
		err = fault.E("bootstrap.authorize", fault.Precondition, target.Machine,
			fmt.Errorf("your SSH key could not be added for user %q on %s: %s", login.Clean(target.SSH.User), c.Address, out.Complaint())).
			WithHint("the user must be able to write ~/.ssh/authorized_keys on the host")
	}
	return err
}
