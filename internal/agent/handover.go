package agent

import (
	"context"
	"fmt"
	"path/filepath"

	"github.com/hashicorp/go-hclog"

	"mctl/internal/agent/engine"
	"mctl/internal/agent/footprint"
	"mctl/internal/agent/front"
	"mctl/internal/fault"
	"mctl/internal/host"
	"mctl/internal/pki"
)

// Parting is how a host's dockerd is left to docker-machine.
type Parting struct{ Logger hclog.Logger }

// Offer says whether this host's dockerd can be left to docker-machine, with the front's own key, which stays where it was made.
// Nothing is changed. Precondition says why not.
func (p Parting) Offer(ctx context.Context, h host.HandOver) (host.Offer, error) {
	const op = "agent.Parting"
	material, err := front.ReadMaterial(front.DefaultDir)
	if err != nil {
		return host.Offer{}, fault.E(op, fault.Precondition, "", fmt.Errorf("docker is not served by mctl yet: %w", err)).
			WithHint("run `mctl provision` first")
	}
	wanted, err := p.engine().Offer(ctx, h)
	if err != nil {
		return host.Offer{}, err
	}
	request, err := pki.NewRequest(material.Key)
	if err != nil {
		return host.Offer{}, fault.E(op, fault.Internal, "", err)
	}
	return host.Offer{Request: request, Engine: wanted}, nil
}

// HandOver leaves this host's dockerd to docker-machine, with the certificate in h, and returns the files that are docker-machine's
// then. The front must have ended. It may be repeated.
func (p Parting) HandOver(ctx context.Context, h host.HandOver) (theirs []string, err error) {
	journal := footprint.OpenJournal("")
	material, err := front.ReadMaterial(front.DefaultDir)
	if err != nil {
		return nil, err
	}
	key, err := pki.EncodeKey(material.Key)
	if err != nil {
		return nil, fault.E("agent.Parting", fault.Internal, "", err)
	}
	if err := front.WriteMaterial(front.DefaultDir, key, h.Certificate, h.ClientCA); err != nil {
		return nil, err
	}
	if err := front.Export(front.DefaultDir, front.DockerDir, journal); err != nil {
		return nil, err
	}
	theirs = engine.HandOverFiles()
	for _, name := range front.Exported() {
		theirs = append(theirs, filepath.Join(front.DockerDir, name))
	}
	return theirs, p.engine().HandOver(ctx, h)
}

func (p Parting) engine() *engine.Engine {
	return engine.New(engine.Config{Logger: p.Logger, Footprint: footprint.OpenJournal("")})
}
