//go:build linux

package nspawn

import (
	"context"
	"fmt"
	"strconv"
	"strings"
)

// units keeps hosts where systemd is process 1: each as a transient service.
type units struct{}

// service is what the unit runs; systemd starts it again when the host reboots.
const service = `umask 022
mount -t overlay mctl -o lowerdir=base,upperdir=upper,workdir=work root && exec "$MCTL_NSPAWN" "$@"`

func unitName(h *host) string { return h.id + ".service" }

func (k units) start(ctx context.Context, h *host, b boot) error {
	if err := k.end(ctx, h); err != nil { // of a time before
		return err
	}
	nspawn, err := find("systemd-nspawn")
	if err != nil {
		return err
	}
	unshare, err := find("unshare")
	if err != nil {
		return err
	}
	arguments := []string{
		"--quiet", "--collect", "--unit=" + unitName(h), "--slice=machine.slice", "--service-type=notify", "--description=mctl host",
		"--working-directory=" + h.dir, "--setenv=MCTL_NSPAWN=" + nspawn,
	}
	for _, property := range append(b.properties(),
		"NotifyAccess=all", "Delegate=yes", "KillMode=mixed", "TasksMax=infinity", "TimeoutStartSec="+strconv.Itoa(int(launchLimit.Seconds())),
		"StandardInput=null", "StandardOutput=null", "RestartForceExitStatus="+rebooted, "SuccessExitStatus="+rebooted,
	) {
		arguments = append(arguments, "--property="+property)
	}
	arguments = append(arguments, "--", unshare)
	for _, argument := range append(namespaced(service), b.arguments...) {
		// systemd puts variables in place of a dollar, which the script and paths mean literally.
		arguments = append(arguments, strings.ReplaceAll(argument, "$", "$$"))
	}
	_, err = run(ctx, "systemd-run", arguments...)
	return err
}

// properties are the limits, as systemd has them.
func (l limits) properties() []string {
	var properties []string
	if l.memory > 0 {
		properties = append(properties, fmt.Sprintf("MemoryMax=%d", l.memory), "MemorySwapMax=0")
	}
	if l.cpus > 0 {
		properties = append(properties, fmt.Sprintf("CPUQuota=%.0f%%", l.cpus*100))
	}
	return properties
}

func (k units) main(ctx context.Context, h *host) (*process, error) {
	output, err := run(ctx, "systemctl", "show", "--property=MainPID", "--value", unitName(h))
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
func (k units) end(ctx context.Context, h *host) error {
	output, err := run(ctx, "systemctl", "show", "--property=LoadState", "--value", unitName(h))
	if err != nil || strings.TrimSpace(output) == "not-found" {
		return err
	}
	// Stopping would give the host time to shut down; who wants that has waited for it before.
	_, _ = run(ctx, "systemctl", "kill", "--signal=KILL", unitName(h))
	_, err = run(ctx, "systemctl", "stop", unitName(h))
	_, _ = run(ctx, "systemctl", "reset-failed", unitName(h)) // a failed one stays loaded until then
	return err
}
