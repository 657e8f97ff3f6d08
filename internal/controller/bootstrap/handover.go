package bootstrap

import (
	"context"
	"encoding/json"
	"fmt"

	"mctl/internal/controller/bootstrap/login"
	"mctl/internal/controller/bootstrap/survey"
	"mctl/internal/controller/driver"
	"mctl/internal/fault"
	"mctl/internal/host"
)

// Greet logs in to a host, once, and does nothing there. Faults say why that is not possible.
func (i *Installer) Greet(ctx context.Context, target Target) error {
	target.Wait = 0
	c, err := i.connect(ctx, target, nothing)
	if err != nil {
		return err
	}
	c.Close()
	return nil
}

// Offer asks a host whether its dockerd can be left to docker-machine as h says, without a certificate yet, and changes nothing but
// an agent of another build. fault.Precondition says why not; the faults of a login. It may be repeated.
func (i *Installer) Offer(ctx context.Context, target Target, h host.HandOver) (host.Offer, error) {
	target.Wait = 0
	c, err := i.connect(ctx, target, nothing)
	if err != nil {
		return host.Offer{}, err
	}
	defer c.Close()
	f, err := i.probe(ctx, c, target)
	if err != nil {
		return host.Offer{}, err
	}
	const op = "bootstrap.Offer"
	switch {
	case target.foreign(f):
		return host.Offer{}, fault.E(op, fault.Precondition, target.Machine, fmt.Errorf("the host at %s belongs to another machine now", c.Address)).
			WithHint("`mctl rm --forget " + target.Machine + "` removes the record alone")
	case !f.Installed:
		return host.Offer{}, fault.E(op, fault.Precondition, target.Machine, fmt.Errorf("mctl's agent is not on %s any more", c.Address)).
			WithHint("`mctl provision " + target.Machine + "` puts it there again")
	}
	offer, _, err := i.offer(ctx, c, target, f, h)
	return offer, err
}

// offer asks the agent on the host, or one of this build where another is there. command is how that one hands over.
func (i *Installer) offer(ctx context.Context, c *login.Connection, target Target, f survey.Facts, h host.HandOver) (offer host.Offer, command string, err error) {
	agent, err := i.agents.get(f.Arch)
	if err != nil {
		return offer, "", err
	}
	ask, command := offerPresentCommand, handOverPresentCommand
	if f.AgentDigest != agent.digest {
		ask, command = offerNewCommand, handOverNewCommand
		if err := i.upload(ctx, c, target, agent); err != nil {
			return offer, "", err
		}
	}
	document, err := json.Marshal(h)
	if err != nil {
		return offer, "", fault.E("bootstrap.offer", fault.Internal, target.Machine, err)
	}
	end, out, err := i.converse(ctx, c, ask, document, login.Clean, nothing)
	if err == nil && (!end.Done || end.Offer == nil) {
		err = fault.E("bootstrap.offer", fault.Unavailable, target.Machine, fmt.Errorf("the agent on %s does not say whether docker can be handed over: %s", c.Address, out.Complaint()))
	}
	if err != nil {
		return offer, "", err
	}
	return *end.Offer, command, nil
}

// HandOver is Remove, and leaves the host's dockerd to docker-machine as h says. sign returns the certificate (PEM, leaf first) for
// the host's signing request (DER). A host where that is done is success. Where dockerd does not take it, fault.Precondition, and the
// host stays as it was. It may be repeated.
func (i *Installer) HandOver(ctx context.Context, target Target, h host.HandOver, sign func(request []byte) ([]byte, error), progress driver.Progress) error {
	return i.leave(ctx, target, progress, func(c *login.Connection, f survey.Facts) error {
		if !f.Installed {
			return i.uninstall(ctx, c, target, f, false, progress) // what is left after it
		}
		offer, command, err := i.offer(ctx, c, target, f, h)
		if err != nil {
			return err
		}
		if offer.Begun { // the host knows how; without a certificate it does not begin again where it gave up meanwhile
			h.Certificate, h.ClientCA = nil, nil
		} else {
			h.Engine = offer.Engine
			if h.Certificate, err = sign(offer.Request); err != nil {
				return err
			}
		}
		document, err := json.Marshal(h)
		if err != nil {
			return fault.E("bootstrap.HandOver", fault.Internal, target.Machine, err)
		}
		end, out, err := i.converse(ctx, c, command, document, login.Clean, progress)
		if err == nil && !end.Done {
			err = fault.E("bootstrap.HandOver", fault.Unavailable, target.Machine, fmt.Errorf("the agent on %s did not come to the end of handing docker over: %s", c.Address, out.Complaint()))
		}
		return err
	})
}
