package cli

import (
	"time"

	"github.com/spf13/pflag"
)

// AddDrain adds the flag that says how long a swarm's member that goes may take to hand over its tasks.
func AddDrain(flags *pflag.FlagSet, limit *time.Duration) {
	flags.DurationVar(limit, "drain-timeout", time.Minute, "How long a swarm's member may take to hand over its tasks; 0 does not wait for it")
}

// CheckDrain refuses a time that can't be.
func CheckDrain(limit time.Duration) error {
	if limit < 0 || limit > 24*time.Hour {
		return Usagef("invalid value %q for flag -drain-timeout", limit).WithHint("give a time such as 90s or 5m, 24h at most; 0 does not wait")
	}
	return nil
}
