// Package credential keeps clouds' credentials under names, sealed, so that a team can make machines without having the
// clouds' keys.
package credential

import (
	"cmp"
	"context"
	"fmt"
	"regexp"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	"mctl/internal/controller/request"
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
// bad name and an empty content are fault.Invalid. The same request id again changes nothing and returns what is stored.
func (s *Service) Put(ctx context.Context, requestID, name, driver string, content []byte, replace bool) (Credential, error) {
	const op, method = "credential.Put", "put"
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
	return s.write(ctx, requestID, method, name, func(record *recordv1.Credential, now *timestamppb.Timestamp) error {
		switch {
		case !exists(record):
			record.Name, record.Driver, record.CreateTime, record.Deleted = name, driver, now, false
		case !replace:
			return fault.E(op, fault.Exists, name, fmt.Errorf("credential %q already exists", name)).
				WithHint("--replace puts another in its place")
		case record.GetDriver() != driver:
			return fault.E(op, fault.Exists, name, fmt.Errorf("credential %q is for the driver %s", name, record.GetDriver())).
				WithHint("take another name")
		}
		record.SealedContent = sealed
		return nil
	})
}

// Delete forgets a credential that nobody uses; fault.NotFound when there is none, and what unused says otherwise. The same
// request id again is success. Whoever begins to use it meanwhile finds it gone, or is found: it is taken away first, and
// given back when unused fails.
func (s *Service) Delete(ctx context.Context, requestID, name string, unused func(context.Context) error) error {
	const method = "delete"
	taken := false
	_, err := s.write(ctx, requestID, method, name, func(record *recordv1.Credential, _ *timestamppb.Timestamp) error {
		if taken = exists(record); !taken {
			return notFound(name)
		}
		record.Deleted = true
		return nil
	})
	if err != nil || !taken { // done before
		return err
	}
	refused := unused(ctx)
	// Its context may have ended; what was begun is brought to an end.
	_, err = s.write(context.WithoutCancel(ctx), "", method, name, func(record *recordv1.Credential, _ *timestamppb.Timestamp) error {
		if refused == nil {
			record.SealedContent = nil
			return nil
		}
		record.Deleted = false
		record.Requests = request.Decode(record.GetRequests()).Without(requestID).Encode()
		return nil
	})
	return cmp.Or(refused, err)
}

// write changes a record by read, change, write at the revision read, as often as others come between, and says what is
// stored then. A request that was carried out before changes nothing.
func (s *Service) write(ctx context.Context, requestID, method, name string, change func(*recordv1.Credential, *timestamppb.Timestamp) error) (Credential, error) {
	for {
		record, at, err := s.load(ctx, name)
		if err != nil {
			return Credential{}, err
		}
		done := request.Decode(record.GetRequests())
		if known, err := done.Knows(requestID, method); known || err != nil {
			return told(record), err
		}
		now := s.config.Now()
		if err := change(record, timestamppb.New(now)); err != nil {
			return Credential{}, err
		}
		record.UpdateTime = timestamppb.New(now)
		if requestID != "" {
			record.Requests = done.With(requestID, method, now).Encode()
		}
		err = s.save(ctx, name, record, at)
		if !fault.Is(err, fault.Conflict) && !fault.Is(err, fault.Exists) && !fault.Is(err, fault.NotFound) {
			return told(record), err
		}
	}
}

// List returns all, by name.
func (s *Service) List(ctx context.Context) ([]Credential, error) {
	items, _, err := s.config.Store.List(ctx, prefix)
	if err != nil {
		return nil, err
	}
	all := make([]Credential, 0, len(items))
	for _, item := range items {
		var record recordv1.Credential
		if err := proto.Unmarshal(item.Value, &record); err != nil {
			return nil, fault.E("credential.List", fault.Internal, item.Key, err)
		}
		switch {
		case exists(&record):
			all = append(all, told(&record))
		case s.config.Now().Sub(record.GetUpdateTime().AsTime()) > request.Life:
			if _, err := s.config.Store.Delete(ctx, item.Key, item.Revision); err != nil && !fault.Is(err, fault.Conflict) && !fault.Is(err, fault.NotFound) {
				return nil, err
			}
		}
	}
	return all, nil
}

// Content returns what a driver shall show to its cloud. An unknown name, and one of another driver, are
// fault.Precondition.
func (s *Service) Content(ctx context.Context, name, driver string) ([]byte, error) {
	const op = "credential.Content"
	found, _, err := s.load(ctx, name)
	switch {
	case err != nil:
		return nil, err
	case !exists(found):
		return nil, fault.E(op, fault.Precondition, name, fmt.Errorf("credential %q does not exist", name)).
			WithHint("`mctl credential ls` lists those that there are, `mctl credential add " + name + "` adds it")
	case found.GetDriver() != driver:
		return nil, fault.E(op, fault.Precondition, name, fmt.Errorf("credential %q is for the driver %s", name, found.GetDriver())).
			WithHint("`mctl credential ls` lists those that there are")
	}
	return s.config.Sealer.Open(prefix+name, found.GetSealedContent())
}

// load reads a record; an empty one and revision zero where there is none.
func (s *Service) load(ctx context.Context, name string) (*recordv1.Credential, store.Revision, error) {
	record := new(recordv1.Credential)
	item, err := s.config.Store.Get(ctx, prefix+name)
	if fault.Is(err, fault.NotFound) {
		return record, 0, nil
	}
	if err != nil {
		return nil, 0, err
	}
	if err := proto.Unmarshal(item.Value, record); err != nil {
		return nil, 0, fault.E("credential.load", fault.Internal, item.Key, err)
	}
	return record, item.Revision, nil
}

// save stores a record that was read at a revision; zero for one that was not there.
func (s *Service) save(ctx context.Context, name string, record *recordv1.Credential, at store.Revision) error {
	value, err := proto.Marshal(record)
	if err != nil {
		return err
	}
	if at == 0 {
		_, err = s.config.Store.Create(ctx, prefix+name, value)
	} else {
		_, err = s.config.Store.Update(ctx, prefix+name, value, at)
	}
	return err
}

// exists reports whether a record is one, and not the memory of one that was removed.
func exists(r *recordv1.Credential) bool { return r.GetName() != "" && !r.GetDeleted() }

func told(r *recordv1.Credential) Credential {
	return Credential{Name: r.GetName(), Driver: r.GetDriver(), Created: r.GetCreateTime().AsTime(), Updated: r.GetUpdateTime().AsTime()}
}

func notFound(name string) error {
	return fault.E("credential.Delete", fault.NotFound, name, fmt.Errorf("credential %q does not exist", name)).
		WithHint("`mctl credential ls` lists those that there are")
}
