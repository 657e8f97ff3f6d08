package machine

import (
	"context"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	"mctl/internal/controller/request"
	"mctl/internal/controller/store"
	"mctl/internal/fault"
	recordv1 "mctl/proto/mctl/record/v1"
)

// gonePrefix is where it is kept which writes a machine that was removed had seen, by name: without it a removal that comes
// once more would remove whatever machine has the name by then.
const gonePrefix = "gone/"

// sweepPause is between two looks for those that are too old.
const sweepPause = time.Hour

// bury keeps what must outlive a record that is about to be deleted. It may be repeated.
func (s *Service) bury(ctx context.Context, m *Machine) error {
	if err := s.sweepGone(ctx); err != nil || len(m.requests) == 0 {
		return err
	}
	before, at, err := s.gone(ctx, m.Name)
	if err != nil {
		return err
	}
	now := s.config.Now()
	value, err := proto.Marshal(&recordv1.Gone{
		Uid: m.UID, Time: timestamppb.New(now), Requests: request.Decode(before.GetRequests()).And(m.requests, now).Encode(),
	})
	if err != nil {
		return err
	}
	if at == 0 {
		_, err = s.config.Store.Create(ctx, gonePrefix+m.Name, value)
	} else {
		_, err = s.config.Store.Update(ctx, gonePrefix+m.Name, value, at)
	}
	return err
}

// gone reads what is kept of machines that had a name; an empty record and revision zero where nothing is.
func (s *Service) gone(ctx context.Context, name string) (*recordv1.Gone, store.Revision, error) {
	record := new(recordv1.Gone)
	item, err := s.config.Store.Get(ctx, gonePrefix+name)
	if fault.Is(err, fault.NotFound) {
		return record, 0, nil
	}
	if err != nil {
		return nil, 0, err
	}
	if err := proto.Unmarshal(item.Value, record); err != nil {
		return nil, 0, fault.E("machine.gone", fault.Internal, item.Key, err)
	}
	return record, item.Revision, nil
}

// doneBefore returns the uid of a machine that was removed since and for which a request was carried out; empty for none.
func (s *Service) doneBefore(ctx context.Context, name, requestID, method string) (uid string, err error) {
	if requestID == "" {
		return "", nil
	}
	record, _, err := s.gone(ctx, name)
	if err != nil {
		return "", err
	}
	if known, err := request.Decode(record.GetRequests()).Knows(requestID, method); !known {
		return "", err
	}
	return record.GetUid(), nil
}

// sweepGone removes what is kept for longer than requests are remembered.
func (s *Service) sweepGone(ctx context.Context) error {
	now := s.config.Now()
	s.mu.Lock()
	due := now.Sub(s.swept) >= sweepPause
	if due {
		s.swept = now
	}
	s.mu.Unlock()
	if !due {
		return nil
	}
	items, _, err := s.config.Store.List(ctx, gonePrefix)
	for _, item := range items {
		var record recordv1.Gone
		if err := proto.Unmarshal(item.Value, &record); err != nil {
			return fault.E("machine.sweepGone", fault.Internal, item.Key, err)
		}
		if now.Sub(record.GetTime().AsTime()) <= request.Life {
			continue
		}
		if _, err := s.config.Store.Delete(ctx, item.Key, item.Revision); err != nil && !fault.Is(err, fault.Conflict) && !fault.Is(err, fault.NotFound) {
			return err
		}
	}
	return err
}
