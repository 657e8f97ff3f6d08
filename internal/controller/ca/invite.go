package ca

import (
	"context"
	"fmt"
	"time"

	"google.golang.org/protobuf/proto"

	"mctl/internal/controller/request"
	"mctl/internal/fault"
	"mctl/internal/pki"
	recordv1 "mctl/proto/mctl/record/v1"
)

// Invite is IssueTicket for a call that may come once more: the same request id gives the same ticket and end, as long as it
// can be used; afterwards fault.NotFound, and never another one. The secret is stored for this no more than elsewhere: it
// follows from the request and the seal key.
func (c *CA) Invite(ctx context.Context, requestID, subject string) (pki.Ticket, time.Time, error) {
	const op, method = "ca.Invite", "invite"
	authority := pki.SPKIDigest(c.control.current)
	if requestID == "" {
		ticket, err := pki.NewTicket(authority)
		if err != nil {
			return pki.Ticket{}, time.Time{}, err
		}
		end, err := c.issue(ctx, ticket, subject, 0)
		return ticket, end, err
	}
	seed := []byte(subject + "\x00" + requestID)
	ticket := pki.TicketOf(authority, [16]byte(c.config.Sealer.MAC("invitation id", seed)), [32]byte(c.config.Sealer.MAC("invitation secret", seed)))
	identity, _, err := c.identity(ctx, subject)
	if err != nil && !fault.Is(err, fault.NotFound) {
		return pki.Ticket{}, time.Time{}, err
	}
	known, err := request.Decode(identity.GetRequests()).Knows(requestID, method)
	if err != nil {
		return pki.Ticket{}, time.Time{}, err
	}
	end, err := c.usable(ctx, ticket)
	switch {
	case fault.Is(err, fault.NotFound) && known:
		return pki.Ticket{}, time.Time{}, fault.E(op, fault.NotFound, subject, fmt.Errorf("the invitation of %s was used or has expired", subject)).
			WithHint("make another one")
	case fault.Is(err, fault.NotFound):
		end, err = c.issue(ctx, ticket, subject, 0)
	}
	if err != nil || known {
		return ticket, end, err
	}
	// A crash before this only has the ticket found there the next time: nobody was told of it.
	return ticket, end, c.update(ctx, subject, func(identity *recordv1.Identity) {
		identity.Requests = request.Decode(identity.GetRequests()).With(requestID, method, c.config.Now()).Encode()
	})
}

// usable returns the end of a ticket that is there and can still be used, else fault.NotFound.
func (c *CA) usable(ctx context.Context, ticket pki.Ticket) (time.Time, error) {
	item, err := c.config.Store.Get(ctx, ticketPrefix+ticket.ID)
	if err != nil {
		return time.Time{}, err
	}
	var record recordv1.Ticket
	if err := proto.Unmarshal(item.Value, &record); err != nil {
		return time.Time{}, fault.E("ca.usable", fault.Internal, item.Key, err)
	}
	end := record.GetExpireTime().AsTime()
	if len(record.GetUsedBy()) > 0 || record.GetWrongTries() >= maxWrongTries || c.config.Now().After(end) {
		return end, fault.New("ca.usable", fault.NotFound, "", "the ticket can't be used any more")
	}
	return end, nil
}
