package bootstrap

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"mctl/internal/controller/bootstrap/login"
	"mctl/internal/controller/bootstrap/survey"
	"mctl/internal/controller/driver"
	"mctl/internal/fault"
	"mctl/internal/host"
)

// provide sees to it that the host has our agent, and returns the command that installs it.
func (i *Installer) provide(ctx context.Context, c *login.Connection, target Target, f survey.Facts, progress driver.Progress) (string, error) {
	agent, err := i.agents.get(f.Arch)
	if err != nil {
		return "", err
	}
	if f.AgentDigest == agent.digest {
		return installPresentCommand, nil
	}
	progress("Copying the agent to the host...")
	return installNewCommand, i.upload(ctx, c, target, agent)
}

// upload copies an agent to the host and compares what arrived.
func (i *Installer) upload(ctx context.Context, c *login.Connection, target Target, agent archive) error {
	arrived := ""
	out, err := c.Run(ctx, i.limits.Upload, uploadCommand, bytes.NewReader(agent.compressed), func(line string) {
		if digest, path, found := strings.Cut(line, " "); found && strings.TrimSpace(path) == newAgent {
			arrived = digest
		}
	})
	const op = "bootstrap.upload"
	switch {
	case err != nil:
		return err
	case strings.Contains(out.Stderr, "No space left"), strings.Contains(out.Stderr, "Disk quota exceeded"):
		return fault.E(op, fault.Precondition, target.Machine, fmt.Errorf("the disk of %s is full", c.Address)).
			WithHint("make room on the host, then run `mctl retry " + target.Machine + "`")
	case out.Status != 0 || arrived == "":
		return fault.E(op, fault.Precondition, target.Machine, fmt.Errorf("the agent could not be written to %s: %s", c.Address, out.Complaint())).
			WithHint("the host must let root write to " + stateDir)
	case arrived != agent.digest:
		return fault.E(op, fault.Unavailable, target.Machine, fmt.Errorf("the agent arrived damaged on %s", c.Address)).
			WithHint("try again; if it stays, check the host's disk and memory")
	}
	return nil
}

// orders is the document that `mctl-agent install` reads.
type orders struct {
	MachineUID string   `json:"machine_uid"`
	Ticket     string   `json:"ticket"`
	Endpoints  []string `json:"endpoints"`
	Hostname   string   `json:"hostname,omitempty"`
	EnginePort uint16   `json:"engine_port"`
	Adopted    bool     `json:"adopted"`
	Probe      bool     `json:"probe,omitempty"`
}

// answer is one line that the agent's install, uninstall, offer and handover print.
type answer struct {
	Progress string `json:"progress"`
	Reached  bool   `json:"reached"`
	Done     bool   `json:"done"`
	Error    string `json:"error"`
	Hint     string `json:"hint"`
	Kind     string `json:"kind"`

	Offer *host.Offer `json:"offer"`
}

// order has the agent install itself. reached is its word whether it reaches us.
func (i *Installer) order(ctx context.Context, c *login.Connection, target Target, command string, payload Payload, endpoints []string, progress driver.Progress) (reached bool, err error) {
	document, err := json.Marshal(orders{
		MachineUID: payload.MachineUID, Ticket: payload.Ticket, Endpoints: endpoints, Hostname: payload.Hostname,
		EnginePort: target.EnginePort, Adopted: target.Adopted, Probe: payload.Probe,
	})
	if err != nil {
		return false, fault.E("bootstrap.order", fault.Internal, target.Machine, err)
	}
	// The host knows the ticket and could say it back.
	silent := func(text string) string {
		if payload.Ticket == "" {
			return login.Clean(text)
		}
		return login.Clean(strings.ReplaceAll(text, payload.Ticket, "(ticket)"))
	}
	end, out, err := i.converse(ctx, c, command, document, silent, progress)
	if err != nil {
		return false, err
	}
	if !end.Done {
		return false, fault.E("bootstrap.order", fault.Precondition, target.Machine,
			fmt.Errorf("the agent on %s did not install itself: %s", c.Address, silent(out.Complaint()))).
			WithHint("see `journalctl` on the host, then try again")
	}
	return end.Reached, nil
}

// uninstall has the agent that is there take everything away, or sends one where only its traces are left.
func (i *Installer) uninstall(ctx context.Context, c *login.Connection, target Target, f survey.Facts, purgeEngine bool, progress driver.Progress) error {
	command := uninstallPresentCommand
	switch {
	case f.AgentDigest != "" && purgeEngine:
		command = purgePresentCommand
	case f.AgentDigest != "":
	case f.Installed:
		agent, err := i.agents.get(f.Arch)
		if err != nil {
			return err
		}
		if err := i.upload(ctx, c, target, agent); err != nil {
			return err
		}
		if command = uninstallNewCommand; purgeEngine {
			command = purgeNewCommand
		}
	case f.StateDir:
		_, err := runScript(ctx, c, i.limits.Probe, tidyScript, nil)
		return err
	default:
		return nil
	}
	end, out, err := i.converse(ctx, c, command, nil, login.Clean, progress)
	if err != nil {
		return err
	}
	if !end.Done && out.Status != 0 {
		return fault.E("bootstrap.uninstall", fault.Precondition, target.Machine,
			fmt.Errorf("the agent on %s could not take itself away: %s", c.Address, out.Complaint())).
			WithHint("see what it says there: mctl-agent uninstall")
	}
	return nil
}

// converse runs the agent, passes its progress on and turns its error into a fault. end is what it said of the outcome.
func (i *Installer) converse(ctx context.Context, c *login.Connection, command string, document []byte, text func(string) string, progress driver.Progress) (end answer, out login.Outcome, err error) {
	var refused error
	out, err = c.Run(ctx, i.limits.Install, command, bytes.NewReader(document), func(line string) {
		var a answer
		if json.Unmarshal([]byte(line), &a) != nil {
			return // a shell's greeting
		}
		switch {
		case a.Error != "":
			refused = fault.E("bootstrap.agent", kind(a.Kind), c.Machine, errors.New(text(a.Error))).WithHint(text(a.Hint))
		case a.Reached:
			end.Reached = true
		case a.Offer != nil:
			end.Offer = a.Offer
		case a.Done:
			end.Done = true
		case a.Progress != "":
			progress(text(a.Progress))
		}
	})
	if err == nil {
		err = refused
	}
	return end, out, err
}

// kind trusts the agent's word as far as it is one of ours.
func kind(word string) fault.Kind {
	switch k := fault.Kind(word); k {
	case fault.Invalid, fault.Denied, fault.Quota, fault.Unavailable, fault.Precondition:
		return k
	}
	return fault.Precondition
}
