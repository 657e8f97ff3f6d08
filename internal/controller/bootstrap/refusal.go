package bootstrap

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"mctl/internal/controller/bootstrap/login"
	"mctl/internal/controller/bootstrap/survey"
	"mctl/internal/fault"
)

// needKB is the room that agent, state and downloads take, so that a host is not left half done.
const needKB = 300_000

// installable reports whether the agent knows the package manager of a distribution, by an ID or ID_LIKE of os-release.
func installable(id string) bool {
	switch id {
	case "debian", "ubuntu", "rhel", "centos", "rocky", "almalinux", "fedora", "amzn", "ol", "suse", "opensuse", "sles":
		return true
	}
	return false
}

// ReasonNoAgent is the reason of a fault that says that a host has no room for an agent, today or ever.
const ReasonNoAgent = "NO_AGENT"

// refusal says why a host can't be taken for a machine; nil when it can. The order is that of what a person would mend first.
func refusal(f survey.Facts, target Target, machineUID string) error {
	refuse := func(sentence, hint string) error {
		return fault.E("bootstrap.refusal", fault.Precondition, target.Machine, errors.New(sentence)).WithHint(hint)
	}
	at := login.Clean(target.SSH.Address)
	noAgent := func(sentence, hint string) error {
		return fault.E("bootstrap.refusal", fault.Precondition, target.Machine, errors.New(sentence)).WithHint(hint).WithReason(ReasonNoAgent)
	}
	switch {
	case f.Arch == "":
		return noAgent(fmt.Sprintf("%s has the architecture %s, and mctl has agents for amd64 and arm64 alone", at, f.Machine),
			"use a host of one of those")
	case !f.Systemd:
		return noAgent(fmt.Sprintf("%s does not run systemd", at), "use a distribution that boots with systemd")
	case f.AgentUID != "" && f.AgentUID != machineUID:
		return refuse(fmt.Sprintf("%s already serves another machine of mctl (%s)", at, f.AgentUID),
			"remove it where it was created with `mctl rm`, or run `mctl-agent uninstall` on the host")
	case !f.Docker && !target.OwnEngine && !slices.ContainsFunc(f.OSIDs, installable):
		return refuse(fmt.Sprintf("%s runs %s, on which mctl does not know how to install Docker", at, orUnknown(f.OSName)),
			"install Docker there by hand first, or give --engine-install-url")
	case target.Swarm.excludes(f.Swarm):
		return refuse(fmt.Sprintf("%s is a member of another swarm already", at), "`docker swarm leave` on that host first")
	}
	if err := portRefusal(f, target, at, refuse); err != nil {
		return err
	}
	if f.AgentUID == "" && f.FreeKB < needKB {
		return refuse(fmt.Sprintf("%s has no room: %d MB are free on /usr/local or /var/lib, and 300 MB are needed", at, f.FreeKB/1000),
			"make room on the host's disk")
	}
	return nil
}

// excludes reports whether a host that is in a swarm can't get into this one.
func (s *Swarm) excludes(there survey.Swarm) bool {
	return s != nil && there.ID != "" && there.ID != s.ID && (!s.Make || !there.Manager)
}

// portRefusal says who has the engine's port. Our own front may have it, and dockerd itself, which gives it up.
func portRefusal(f survey.Facts, target Target, at string, refuse func(sentence, hint string) error) error {
	taken, ok := f.Listeners[target.EnginePort]
	switch {
	case !ok, taken.Dockerd, slices.Contains(f.FrontPorts, target.EnginePort):
		return nil
	case taken.Program != "":
		return refuse(fmt.Sprintf("port %d on %s is taken by %s", target.EnginePort, at, taken.Program), otherPort)
	}
	return refuse(fmt.Sprintf("port %d on %s is taken by another program", target.EnginePort, at), otherPort)
}

const otherPort = "stop that program, or choose another port for the engine"

// noRoot says why the probe did not even begin.
func noRoot(c *login.Connection, target Target, out login.Outcome) error {
	user, said := login.Clean(target.SSH.User), strings.ToLower(out.Stderr)
	says := func(words ...string) bool {
		return slices.ContainsFunc(words, func(w string) bool { return strings.Contains(said, w) })
	}
	refuse := func(kind fault.Kind, sentence, hint string) error {
		return fault.New("bootstrap.noRoot", kind, target.Machine, sentence).WithHint(hint)
	}
	const orRoot = ", or log in as root"
	switch {
	case says("password is required", "a password"):
		return refuse(fault.Precondition, fmt.Sprintf("sudo on %s wants a password of user %q", c.Address, user),
			"let the user sudo without a password (NOPASSWD)"+orRoot)
	case says("sudo: not found", "‘sudo’: no such file", "'sudo': no such file", "sudo: no such file", "sudo: command not found"):
		return refuse(fault.Precondition, fmt.Sprintf("user %q on %s is not root, and sudo is not installed there", user, c.Address),
			"install sudo"+orRoot)
	case says("not in the sudoers", "may not run sudo", "not allowed to"):
		return refuse(fault.Denied, fmt.Sprintf("user %q may not use sudo on %s", user, c.Address),
			"let the user sudo without a password (NOPASSWD)"+orRoot)
	case says("must have a tty", "a terminal is required"):
		return refuse(fault.Precondition, fmt.Sprintf("sudo on %s wants a terminal", c.Address),
			"take requiretty out of its sudoers"+orRoot)
	}
	return refuse(fault.Precondition, fmt.Sprintf("user %q on %s has no shell to work with: %s", user, c.Address, out.Complaint()),
		"log in with a user that has a POSIX shell")
}

func orUnknown(name string) string {
	if name == "" {
		return "an unknown distribution"
	}
	return name
}
