package machine

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"fmt"

	"golang.org/x/crypto/ssh"

	"mctl/internal/controller/driver"
	"mctl/internal/fault"
)

// DefaultAuthority is the engine authority of machines that bring none along.
const DefaultAuthority = "default"

// pending makes what the host needs before it is made.
func (s *Service) pending(ctx context.Context, m *Machine) (outcome, error) {
	if m.SSHKey == nil {
		_, key, err := ed25519.GenerateKey(rand.Reader)
		if err != nil {
			return outcome{}, err
		}
		der, err := x509.MarshalPKCS8PrivateKey(key)
		if err != nil {
			return outcome{}, err
		}
		m.SSHKey = pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})
	}
	if m.Status.Authority == "" {
		m.Status.Authority = DefaultAuthority
	}
	if _, joins := s.booter(m); joins && m.BootTicket == nil {
		if err := s.invite(ctx, m); err != nil {
			return outcome{}, err
		}
	}
	return outcome{next: Creating}, nil
}

// creating has the driver make the host, or find the one that it made before a crash.
func (s *Service) creating(ctx context.Context, m *Machine) (outcome, error) {
	d, err := s.driver(m)
	if err != nil {
		return outcome{}, err
	}
	told, err := s.driverMachine(ctx, m)
	if err != nil {
		return outcome{}, err
	}
	if m.BootTicket != nil {
		if told, err = s.withUserData(m, told); err != nil {
			return outcome{}, err
		}
	}
	instance, err := d.Create(ctx, told)
	m.learnInstance(instance)
	if err != nil {
		return outcome{}, fmt.Errorf("Error in driver during machine creation: %w", err) //nolint:staticcheck // docker-machine's words
	}
	m.Status.BootWritten = m.BootTicket != nil
	return outcome{next: Booting}, nil
}

// driverMachine is what drivers are told of a machine. The content of a stored credential is taken as it is now.
func (s *Service) driverMachine(ctx context.Context, m *Machine) (driver.Machine, error) {
	keys := append([]string(nil), m.Spec.AuthorizedKeys...)
	if m.Import == nil { // else its key is let in already
		if line, err := authorizedKey(m.SSHKey); err == nil {
			keys = append(keys, line)
		}
	}
	var imported *driver.Imported
	if i := m.Import; i != nil {
		imported = &driver.Imported{Config: i.Config, StorePath: i.StorePath, Key: m.SSHKey}
	}
	options, err := s.withCredential(ctx, m.Spec.Driver, m.Spec.Options, m.Spec.Credential)
	return driver.Machine{
		ControllerID: s.config.ControllerID, UID: m.UID, Name: m.Name, Options: options,
		PublicKeys: keys, State: m.Status.ProviderState, Imported: imported, Progress: s.reporter(m), Swarm: m.driverSwarm(),
		Keep: func(state []byte) error {
			m.Status.ProviderState = state
			return s.save(context.WithoutCancel(ctx), m)
		},
	}, err
}

// learnInstance keeps what a driver told. What it leaves out stays as it was.
func (m *Machine) learnInstance(instance driver.Instance) {
	status := &m.Status
	if instance.ID != "" {
		status.ProviderID = instance.ID
	}
	if instance.State != nil {
		status.ProviderState = instance.State
	}
	if instance.Power != "" {
		status.Power = instance.Power
	}
	if instance.Addresses != nil || instance.Power == driver.Stopped {
		status.Addresses = instance.Addresses
	}
	if instance.Port != 0 {
		status.Port = instance.Port
	}
	if instance.SSH.Address != "" {
		pinned := status.SSH.HostKeys
		status.SSH = instance.SSH
		if len(pinned) > 0 {
			status.SSH.HostKeys = pinned
		}
	}
}

// authorizedKey is the public half of a private key, as an authorized_keys line.
func authorizedKey(private []byte) (string, error) {
	signer, err := ssh.ParsePrivateKey(private)
	if err != nil {
		return "", fault.E("machine.authorizedKey", fault.Internal, "", err)
	}
	return string(ssh.MarshalAuthorizedKey(signer.PublicKey())), nil
}
