package machine

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"strings"

	"mctl/internal/controller/driver"
	"mctl/internal/fault"
	"mctl/internal/pki"
)

// Import is what a machine brought along from docker-machine.
type Import struct {
	Source            string // identifies what it was read from
	Config            Secret // the driver's object of config.json, byte for byte
	StorePath         string // where the store was whose paths are in it
	ServerCertificate []byte // PEM, leaf first; what the engine is served with while its authority's key is lost
	ServerKey         Secret // PEM
}

// Arrival is a machine of docker-machine's that shall be one of ours.
type Arrival struct {
	Name         string
	Spec         Spec
	SSH          driver.SSH // an empty address where nobody logs in
	Key          Secret     // private key to log in with; nil where there is none
	Address      string     // for clients, as it was known last
	Authority    []byte     // certificate, PEM; nil for the default one
	AuthorityKey Secret     // PEM; nil where it is lost
	Agentless    string     // why it can have no agent
	Import       Import
}

// thirdParty begins the name of a driver that may be missing.
const thirdParty = "plugin:"

// Import takes note of a machine that docker-machine made. Nobody is asked: its host is taken over when it answers. known says that it
// was imported from the same source before, which is success. fault.Exists when the name is another machine's, fault.Invalid for
// what can't be used.
func (s *Service) Import(ctx context.Context, requestID string, a Arrival) (m *Machine, known bool, err error) {
	if m, err = s.arrives(ctx, &a); m != nil && len(a.AuthorityKey) > 0 { // which may have been lost before
		_, err = s.config.Authorities.ImportEngine(ctx, a.Authority, a.AuthorityKey)
	}
	if m != nil || err != nil {
		return m, m != nil, err
	}
	now := s.config.Now()
	s.mu.Lock()
	s.lastImport = now
	s.mu.Unlock()
	m = &Machine{
		UID: s.importedUID(a), Name: a.Name, Generation: 1, Created: now, Spec: a.Spec, SSHKey: a.Key, Import: &a.Import,
		Status: Status{Phase: Importing, PhaseTime: now, Authority: DefaultAuthority, SSH: a.SSH, Agentless: a.Agentless, Power: driver.Unknown},
	}
	m.Spec.Power = PowerOn
	if a.Address != "" {
		m.Status.Addresses = []string{a.Address}
	}
	if len(a.Authority) > 0 {
		if m.Status.Authority, err = s.config.Authorities.ImportEngine(ctx, a.Authority, a.AuthorityKey); err != nil {
			return nil, false, err
		}
	}
	m.requests = m.requests.With(requestID, "import", now)
	value, err := s.codec.encode(m)
	if err != nil {
		return nil, false, err
	}
	m.Revision, err = s.config.Store.Create(ctx, prefix+m.Name, value)
	if fault.Is(err, fault.Exists) {
		before, err := s.imported(ctx, a)
		return before, before != nil, err
	}
	if err != nil {
		return nil, false, err
	}
	s.learn(m)
	return m, false, nil
}

// CheckImport finds out what Import would say, and stores nothing. It returns the machine that was imported from the same source before; nil for none.
func (s *Service) CheckImport(ctx context.Context, a Arrival) (*Machine, error) {
	m, err := s.arrives(ctx, &a)
	if m != nil || err != nil || len(a.Authority) == 0 {
		return m, err
	}
	return nil, s.config.Authorities.CheckEngine(a.Authority, a.AuthorityKey)
}

// arrives checks what is imported and fills in defaults. It returns the machine that was imported from the same source before.
func (s *Service) arrives(ctx context.Context, a *Arrival) (*Machine, error) {
	if err := checkName(a.Name); err != nil {
		return nil, err
	}
	if m, err := s.imported(ctx, *a); m != nil || err != nil {
		return m, err
	}
	return nil, s.checkArrival(a)
}

// importedUID is the same for what was imported from the same source before, was forgotten without a word to its host, and is imported once
// more: the agent that is there is its own then.
func (s *Service) importedUID(a Arrival) string {
	sum := sha256.Sum256([]byte("import\x00" + s.config.ControllerID + "\x00" + a.Name + "\x00" + a.Import.Source))
	return hex.EncodeToString(sum[:8])
}

// imported returns the machine that was imported from the same source before; nil where the name is free.
func (s *Service) imported(ctx context.Context, a Arrival) (*Machine, error) {
	m, err := s.Get(ctx, a.Name)
	switch {
	case fault.Is(err, fault.NotFound):
		return nil, nil
	case err != nil:
		return nil, err
	case m.Import == nil || m.Import.Source != a.Import.Source:
		return nil, exists("machine.Import", a.Name)
	}
	return m, nil
}

// checkArrival checks what our own drivers can check, and fills in their defaults. A third party's may be missing.
func (s *Service) checkArrival(a *Arrival) error {
	const op = "machine.Import"
	if err := checkLink(a.Spec.Link); err != nil {
		return err
	}
	if err := checkPair(a); err != nil {
		return err
	}
	if strings.HasPrefix(a.Spec.Driver, thirdParty) {
		if a.Key != nil {
			if _, err := driver.ParseKey(a.Key); err != nil {
				return err
			}
		}
		if len(a.Spec.Options) > 0 || len(a.Import.Config) == 0 {
			return fault.New(op, fault.Invalid, a.Name, "a third party's driver takes its JSON and no options").WithReason(fault.ReasonUsage)
		}
		return nil
	}
	d, err := s.config.Drivers.Driver(a.Spec.Driver)
	if err != nil {
		return err
	}
	if a.Spec.Options, err = driver.Resolve(a.Spec.Driver, d.Flags(), a.Spec.Options); err != nil {
		return err
	}
	if err := checkCredential(d, a.Spec); err != nil {
		return err
	}
	if err := d.Validate(a.Spec.Options); err != nil {
		return reasoned(op, a.Name, fault.ReasonUsage, err)
	}
	return nil
}

// checkPair refuses a certificate of the engine that is none or another key's, and takes from the text what is one: it is kept in clear.
func checkPair(a *Arrival) error {
	const op = "machine.Import"
	if len(a.Import.ServerCertificate) == 0 {
		return nil
	}
	chain, err := pki.DecodeCertificates(a.Import.ServerCertificate)
	if err != nil {
		return fault.E(op, fault.Invalid, a.Name, fmt.Errorf("the engine's certificate can't be used: %w", err))
	}
	key, err := pki.DecodeKey(a.Import.ServerKey)
	if err != nil || !pki.Matches(key, chain[0]) {
		return fault.New(op, fault.Invalid, a.Name, "the key of the engine's certificate is none, or another one's")
	}
	a.Import.ServerCertificate = pki.EncodeCertificates(chain...)
	return nil
}

// ValidName reports whether a machine can be called that.
func ValidName(name string) bool { return len(name) <= maxName && namePattern.MatchString(name) }

// checkName refuses what can't name a host, in docker-machine's words.
func checkName(name string) error {
	if ValidName(name) {
		return nil
	}
	return fault.New("machine.checkName", fault.Invalid, name,
		"Error creating machine: Invalid hostname specified. Allowed hostname chars are: 0-9a-zA-Z . -").
		WithHint("use at most 63 of them; the name and each part between dots begin and end with a letter or digit")
}

// agentless reports whether a machine's host has no agent and gets none: power and address are all that there is.
func (m *Machine) agentless() bool { return m.Status.SSH.Address == "" || m.Status.Agentless != "" }

// keepsPair reports whether the engine is served with the certificate that it had, since nobody can issue another that its clients trust.
func (s *Service) keepsPair(ctx context.Context, m *Machine) (bool, error) {
	if m.Import == nil || len(m.Import.ServerKey) == 0 || m.Status.Authority == DefaultAuthority {
		return false, nil
	}
	issues, err := s.config.Authorities.Issues(ctx, m.Status.Authority, 0) // another store may have brought the key
	return !issues, err
}

// leaveAuthority moves a machine whose authority can issue nothing any more to the default one, where somebody asks for new certificates.
func (s *Service) leaveAuthority(ctx context.Context, m *Machine) error {
	if m.Import == nil || m.Spec.Regenerate == 0 || m.Status.Authority == DefaultAuthority {
		return nil
	}
	issues, err := s.config.Authorities.Issues(ctx, m.Status.Authority, expiryNotice)
	if err == nil && !issues {
		m.Status.Authority = DefaultAuthority
	}
	return err
}

func hostGone(op string, m *Machine) error {
	return fault.E(op, fault.NotFound, m.Name, fmt.Errorf("the host of %q is gone at its provider", m.Name)).
		WithHint(fmt.Sprintf("`mctl rm %s` removes what is left", m.Name))
}
