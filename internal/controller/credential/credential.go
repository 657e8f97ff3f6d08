// Package credential keeps clouds' credentials under names, sealed, so that a team can make machines without having the
// clouds' keys.
package credential

import (
	"context"
	"fmt"
	"regexp"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	"mctl/internal/controller/store"
	"mctl/internal/fault"
	recordv1 "mctl/proto/mctl/record/v1"
)

// prefix is where credentials are kept, by name.
const prefix = "credential/"

var namePattern = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$`)

// Credential is what is told of one. Its content is told to drivers alone, by Content.
type Credential struct {
	Name, Driver     string
	Created, Updated time.Time
}

// Sealer encrypts what must not be read from the store; key is the record's.
type Sealer interface {
	Seal(key string, plaintext []byte) ([]byte, error)
	Open(key string, sealed []byte) ([]byte, error)
}

// Config is what credentials stand on.
type Config struct {
	Store  store.Store
	Sealer Sealer
	Now    func() time.Time
}

// Service keeps credentials. Its methods are safe for use at the same time.
type Service struct{ config Config }

// New makes the service.
func New(config Config) *Service { return &Service{config} }

// Put stores a credential for a driver. One that is there is fault.Exists, unless replace is set and the driver the same; a
// bad name and an empty content are fault.Invalid. The same request id again returns the first result.
func (s *Service) Put(ctx context.Context, requestID, name, driver string, content []byte, replace bool) (Credential, error) {
	const op = "credential.Put"
	switch {
	case !namePattern.MatchString(name):
		return Credential{}, fault.E(op, fault.Invalid, name, fmt.Errorf("%q cannot name a credential", name)).
			WithHint("use letters, digits, dots, dashes and underscores, 63 at most").WithReason(fault.ReasonUsage)
	case len(content) == 0:
		return Credential{}, fault.New(op, fault.Invalid, name, "the credential is empty").WithReason(fault.ReasonUsage)
	}
	sealed, err := s.config.Sealer.Seal(prefix+name, content)
	if err != nil {
		return Credential{}, err
	}
	for {
		found, at, err := s.load(ctx, name)
		switch {
		case fault.Is(err, fault.NotFound):
			found = &recordv1.Credential{Name: name, Driver: driver, CreateTime: timestamppb.New(s.config.Now())}
		case err != nil:
			return Credential{}, err
		case requestID != "" && found.GetRequestId() == requestID:
			return told(found), nil
		case !replace:
			return Credential{}, fault.E(op, fault.Exists, name, fmt.Errorf("credential %q already exists", name)).
				WithHint("--replace puts another in its place")
		case found.GetDriver() != driver:
			return Credential{}, fault.E(op, fault.Exists, name, fmt.Errorf("credential %q is for the driver %s", name, found.GetDriver())).
				WithHint("take another name")
		}
		found.SealedContent, found.RequestId, found.UpdateTime = sealed, requestID, timestamppb.New(s.config.Now())
		switch err = s.save(ctx, found, at); {
		case err == nil:
			return told(found), nil
		case !fault.Is(err, fault.Conflict) && !fault.Is(err, fault.Exists) && !fault.Is(err, fault.NotFound):
			return Credential{}, err
		}
	}
}

// List returns all, by name.
func (s *Service) List(ctx context.Context) ([]Credential, error) {
	items, _, err := s.config.Store.List(ctx, prefix)
	if err != nil {
		return nil, err
	}
	all := make([]Credential, len(items))
	for i, item := range items {
		var record recordv1.Credential
		if err := proto.Unmarshal(item.Value, &record); err != nil {
			return nil, fault.E("credential.List", fault.Internal, item.Key, err)
		}
		all[i] = told(&record)
	}
	return all, nil
}

// Content returns what a driver shall show to its cloud. An unknown name, and one of another driver, are
// fault.Precondition.
func (s *Service) Content(ctx context.Context, name, driver string) ([]byte, error) {
	const op = "credential.Content"
	found, _, err := s.load(ctx, name)
	switch {
	case fault.Is(err, fault.NotFound):
		return nil, fault.E(op, fault.Precondition, name, fmt.Errorf("credential %q does not exist", name)).
			WithHint("`mctl credential ls` lists those that there are, `mctl credential add " + name + "` adds it")
	case err != nil:
		return nil, err
	case found.GetDriver() != driver:
		return nil, fault.E(op, fault.Precondition, name, fmt.Errorf("credential %q is for the driver %s", name, found.GetDriver())).
			WithHint("`mctl credential ls` lists those that there are")
	}
	return s.config.Sealer.Open(prefix+name, found.GetSealedContent())
}

// Delete forgets a credential; fault.NotFound when there is none.
func (s *Service) Delete(ctx context.Context, name string) error {
	_, err := s.config.Store.Delete(ctx, prefix+name, 0)
	if fault.Is(err, fault.NotFound) {
		return notFound(name)
	}
	return err
}

func (s *Service) load(ctx context.Context, name string) (*recordv1.Credential, store.Revision, error) {
	item, err := s.config.Store.Get(ctx, prefix+name)
	if fault.Is(err, fault.NotFound) {
		return nil, 0, notFound(name)
	}
	if err != nil {
		return nil, 0, err
	}
	var record recordv1.Credential
	if err := proto.Unmarshal(item.Value, &record); err != nil {
		return nil, 0, fault.E("credential.load", fault.Internal, item.Key, err)
	}
	return &record, item.Revision, nil
}

// save stores a record that was read at a revision; zero for one that was not there.
func (s *Service) save(ctx context.Context, record *recordv1.Credential, at store.Revision) error {
	value, err := proto.Marshal(record)
	if err != nil {
		return err
	}
	if at == 0 {
		_, err = s.config.Store.Create(ctx, prefix+record.GetName(), value)
	} else {
		_, err = s.config.Store.Update(ctx, prefix+record.GetName(), value, at)
	}
	return err
}

func told(r *recordv1.Credential) Credential {
	return Credential{Name: r.GetName(), Driver: r.GetDriver(), Created: r.GetCreateTime().AsTime(), Updated: r.GetUpdateTime().AsTime()}
}

func notFound(name string) error {
	return fault.E("credential.load", fault.NotFound, name, fmt.Errorf("credential %q does not exist", name)).
		WithHint("`mctl credential ls` lists those that there are")
}
