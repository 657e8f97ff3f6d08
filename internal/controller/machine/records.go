package machine

import (
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	"mctl/internal/controller/driver"
	"mctl/internal/controller/request"
	"mctl/internal/controller/store"
	"mctl/internal/fault"
	"mctl/internal/host"
	recordv1 "mctl/proto/mctl/record/v1"
)

// prefix is where machine records are kept, by name, so that a name is there once.
const prefix = "machine/"

// Sealer encrypts what must not be read from the store; key is the record's.
type Sealer interface {
	Seal(key string, plaintext []byte) ([]byte, error)
	Open(key string, sealed []byte) ([]byte, error)
}

// codec turns records into machines and back.
type codec struct{ sealer Sealer }

// encode returns the stored form, with every secret sealed.
func (c codec) encode(m *Machine) ([]byte, error) {
	key := prefix + m.Name
	sealedKey, err := c.seal(key, m.SSHKey)
	if err != nil {
		return nil, err
	}
	ticket, err := c.seal(key, m.BootTicket)
	if err != nil {
		return nil, err
	}
	brought, err := c.encodeImport(key, m.Import)
	if err != nil {
		return nil, err
	}
	state, err := c.seal(key, m.Status.ProviderState)
	if err != nil {
		return nil, err
	}
	spec := encodeSpec(m.Spec)
	for name, option := range m.Spec.Options {
		content, err := c.seal(key, option.Content)
		if err != nil {
			return nil, err
		}
		spec.DriverOptions = append(spec.DriverOptions, &recordv1.DriverOption{
			Name: name, Values: option.Values, SealedContent: content, HasContent: option.Content != nil,
		})
	}
	status := encodeStatus(m.Status)
	status.SealedProviderState = state
	record := &recordv1.Machine{
		Uid: m.UID, Name: m.Name, Generation: m.Generation, CreateTime: timestamppb.New(m.Created),
		Spec: spec, Status: status, SealedSshKey: sealedKey, SealedBootTicket: ticket, Requests: m.requests.Encode(), Labels: m.Labels,
		Import: brought,
	}
	return proto.Marshal(record)
}

// decode reads a stored record. Secrets stay sealed unless open is set: readers need none, and opening costs time.
func (c codec) decode(item store.Item, open bool) (*Machine, error) {
	var record recordv1.Machine
	if err := proto.Unmarshal(item.Value, &record); err != nil {
		return nil, fault.E("machine.decode", fault.Internal, item.Key, err)
	}
	m := &Machine{
		UID: record.GetUid(), Name: record.GetName(), Generation: record.GetGeneration(),
		Created: record.GetCreateTime().AsTime(), Revision: item.Revision, Size: len(item.Value), Labels: record.GetLabels(),
		Spec: decodeSpec(record.GetSpec()), Status: decodeStatus(record.GetStatus()),
	}
	if f := m.Status.Failure; f != nil && f.Generation < m.Generation {
		m.Status.Failure = nil
	}
	m.requests = request.Decode(record.GetRequests())
	m.Spec.Options = make(driver.Options, len(record.GetSpec().GetDriverOptions()))
	for _, o := range record.GetSpec().GetDriverOptions() {
		option := driver.Option{Values: o.GetValues()}
		if o.GetHasContent() {
			option.Content = []byte{}
			if open {
				content, err := c.sealer.Open(item.Key, o.GetSealedContent())
				if err != nil {
					return nil, err
				}
				option.Content = content
			}
		}
		m.Spec.Options[o.GetName()] = option
	}
	m.Import = decodeImport(record.GetImport())
	if !open {
		return m, nil
	}
	err := c.openImport(item.Key, record.GetImport(), m.Import)
	if err != nil {
		return nil, err
	}
	if m.SSHKey, err = c.open(item.Key, record.GetSealedSshKey()); err != nil {
		return nil, err
	}
	if m.BootTicket, err = c.open(item.Key, record.GetSealedBootTicket()); err != nil {
		return nil, err
	}
	m.Status.ProviderState, err = c.open(item.Key, record.GetStatus().GetSealedProviderState())
	return m, err
}

func (c codec) seal(key string, plaintext []byte) ([]byte, error) {
	if len(plaintext) == 0 {
		return nil, nil
	}
	return c.sealer.Seal(key, plaintext)
}

func (c codec) open(key string, sealed []byte) ([]byte, error) {
	if len(sealed) == 0 {
		return nil, nil
	}
	return c.sealer.Open(key, sealed)
}

func encodeSpec(s Spec) *recordv1.MachineSpec {
	return &recordv1.MachineSpec{
		Driver: s.Driver,
		Engine: &recordv1.EngineSpec{
			Install: string(s.Engine.Install), InstallUrl: s.Engine.InstallURL, StorageDriver: s.Engine.StorageDriver,
			Labels: s.Engine.Labels, Env: s.Engine.Env, InsecureRegistries: s.Engine.InsecureRegistries,
			RegistryMirrors: s.Engine.RegistryMirrors, Options: s.Engine.Options, Port: uint32(s.Port),
			AdoptRestart: string(s.Engine.AdoptRestart),
		},
		Power: string(s.Power), Force: s.Force,
		Restart: s.Restart, Provision: s.Provision, Upgrade: s.Upgrade, RegenerateCerts: s.Regenerate, Retry: s.Retry,
		TlsSans: s.TLSSANs, SshAuthorizedKeys: s.AuthorizedKeys,
		WaitSsh: durationpb.New(s.Waits.SSH), WaitInstall: durationpb.New(s.Waits.Install), WaitAgent: durationpb.New(s.Waits.Agent),
		Deleted: s.Deleted, DeleteForce: s.DeleteForce, DeletePersist: s.DeletePersist, DeleteAbandon: s.DeleteAbandon, DeleteRelease: s.DeleteRelease, PurgeEngine: s.PurgeEngine, Rollback: s.Rollback, Credential: s.Credential,
		Link: string(s.Link), WaitBoot: durationpb.New(s.Waits.Boot), Swarm: encodeSwarm(s.Swarm), DrainTimeout: durationpb.New(s.Drain),
	}
}

func decodeSpec(r *recordv1.MachineSpec) Spec {
	e := r.GetEngine()
	return Spec{
		Driver: r.GetDriver(),
		Engine: host.Engine{
			Install: host.Install(e.GetInstall()), InstallURL: e.GetInstallUrl(), StorageDriver: e.GetStorageDriver(),
			Labels: e.GetLabels(), Env: e.GetEnv(), InsecureRegistries: e.GetInsecureRegistries(),
			RegistryMirrors: e.GetRegistryMirrors(), Options: e.GetOptions(),
			AdoptRestart: host.AdoptRestart(e.GetAdoptRestart()),
		},
		Port: uint16(e.GetPort()), Power: Power(r.GetPower()), Force: r.GetForce(),
		Restart: r.GetRestart(), Provision: r.GetProvision(), Upgrade: r.GetUpgrade(), Regenerate: r.GetRegenerateCerts(), Retry: r.GetRetry(),
		TLSSANs: r.GetTlsSans(), AuthorizedKeys: r.GetSshAuthorizedKeys(),
		Waits: Waits{
			SSH: r.GetWaitSsh().AsDuration(), Install: r.GetWaitInstall().AsDuration(), Agent: r.GetWaitAgent().AsDuration(), Boot: r.GetWaitBoot().AsDuration(),
		},
		Deleted: r.GetDeleted(), DeleteForce: r.GetDeleteForce(), DeletePersist: r.GetDeletePersist(), DeleteAbandon: r.GetDeleteAbandon(), DeleteRelease: r.GetDeleteRelease(), PurgeEngine: r.GetPurgeEngine(), Rollback: r.GetRollback(), Credential: r.GetCredential(),
		Link: host.Link(r.GetLink()), Swarm: decodeSwarm(r.GetSwarm()), Drain: r.GetDrainTimeout().AsDuration(),
	}
}
