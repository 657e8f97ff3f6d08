//go:build linux

package container

import (
	"context"
	"fmt"
	"math"
	"path/filepath"
	"strconv"
	"strings"

	"mctl/internal/controller/driver/nspawn/system"
)

// units keeps hosts where systemd is process 1: each as a transient service.
type units struct{}

// service is what the unit runs; systemd starts it again when the host reboots.
const service = `umask 022
mount -t overlay mctl -o lowerdir=base,upperdir=upper,workdir=work root && exec "$MCTL_NSPAWN" "$@"
`

func unitName(c Container) string { return c.ID + ".service" }

func (k units) start(ctx context.Context, c Container, b Boot) error {
	if err := k.end(ctx, c); err != nil { // of a time before
		return err
	}
	nspawn, err := system.Find("systemd-nspawn")
	if err != nil {
		return err
	}
	unshare, err := system.Find("unshare")
	if err != nil {
		return err
	}
	launch, err := c.launch(service, b)
	if err != nil {
		return err
	}
	if _, err = system.Run(ctx, "systemd-run", append(b.unit(c, nspawn), literal(append([]string{unshare}, launch...))...)...); err != nil {
		return err
	}
	return k.limited(ctx, c, b)
}

// limited makes sure that the limits bite: systemd says nothing where a controller is missing, or is not its own. A host
// that could take everything is ended again.
func (k units) limited(ctx context.Context, c Container, b Boot) error {
	if len(b.limits()) == 0 {
		return nil
	}
	output, err := system.Run(ctx, "systemctl", "show", "--property=ControlGroup", "--value", unitName(c))
	if err != nil {
		return err
	}
	trees, err := hierarchies()
	if err != nil {
		return err
	}
	var dirs []string
	for _, tree := range trees {
		dirs = append(dirs, filepath.Join(tree.path, strings.TrimSpace(output)))
	}
	for _, l := range b.limits() {
		if !l.optional && !l.bites(dirs) {
			if err := k.end(ctx, c); err != nil {
				return err
			}
			return l.impossible()
		}
	}
	return nil
}

// unit is how systemd shall run the host: with a cgroup that is the host's to manage, and limits.
func (b Boot) unit(c Container, nspawn string) []string {
	arguments := []string{
		"--quiet", "--collect", "--unit=" + unitName(c), "--slice=machine.slice", "--service-type=notify",
		"--description=mctl host " + c.Hostname, "--working-directory=" + c.Dir, "--setenv=MCTL_NSPAWN=" + nspawn,
	}
	properties := []string{
		"NotifyAccess=all", "Delegate=yes", "KillMode=mixed", "TasksMax=infinity",
		"TimeoutStartSec=" + strconv.Itoa(int(launchLimit.Seconds())), "StandardInput=null", "StandardOutput=null",
		"StandardError=truncate:" + c.path("nspawn.log"), "RestartForceExitStatus=" + rebooted, "SuccessExitStatus=" + rebooted,
	}
	if b.Memory > 0 {
		properties = append(properties, fmt.Sprintf("MemoryMax=%d", b.Memory), "MemorySwapMax=0")
	}
	if b.CPUs > 0 {
		// As few digits as can be: older ones take whole percents alone.
		properties = append(properties, "CPUQuota="+strconv.FormatFloat(math.Round(b.CPUs*10000)/100, 'f', -1, 64)+"%")
	}
	for _, property := range properties {
		arguments = append(arguments, "--property="+property)
	}
	return append(arguments, "--")
}

// literal keeps systemd from putting variables in place of dollars.
func literal(arguments []string) []string {
	for i, argument := range arguments {
		arguments[i] = strings.ReplaceAll(argument, "$", "$$")
	}
	return arguments
}

func (k units) main(ctx context.Context, c Container) (*process, error) {
	output, err := system.Run(ctx, "systemctl", "show", "--property=MainPID", "--value", unitName(c))
	if err != nil {
		return nil, err
	}
	pid, err := strconv.Atoi(strings.TrimSpace(output))
	if err != nil || pid == 0 {
		return nil, err
	}
	return hold(pid)
}

// end stops the unit with everything in it. One that is not loaded is success.
func (k units) end(ctx context.Context, c Container) error {
	output, err := system.Run(ctx, "systemctl", "show", "--property=LoadState", "--value", unitName(c))
	if err != nil || strings.TrimSpace(output) == "not-found" {
		return err
	}
	// Stopping alone would give the host time to shut down; who wants that has waited for it before.
	_, _ = system.Run(ctx, "systemctl", "kill", "--signal=KILL", unitName(c))
	if _, err = system.Run(ctx, "systemctl", "stop", unitName(c)); err != nil && unloaded(ctx, c) {
		return nil
	}
	_, _ = system.Run(ctx, "systemctl", "reset-failed", unitName(c)) // a failed one stays loaded until then
	return err
}

// unloaded reports whether the unit has vanished by itself meanwhile, as transient ones do.
func unloaded(ctx context.Context, c Container) bool {
	output, err := system.Run(ctx, "systemctl", "show", "--property=LoadState", "--value", unitName(c))
	return err == nil && strings.TrimSpace(output) == "not-found"
}
