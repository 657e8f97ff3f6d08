package cloud

import (
	"context"
	"crypto/rand"
	"fmt"
	"path"
	"strings"
	"time"

	"google.golang.org/api/compute/v1"

	"mctl/internal/fault"
)

// done is the status of an operation that has ended, well or not.
const done = "DONE"

// Ended reports whether an operation has ended, well or not.
func Ended(op *compute.Operation) bool { return op.Status == done }

// Act sends a change under a request id, so that a repetition is recognised, and waits until its operation has ended well. An
// operation that failed returns what it failed with.
func (c *Client) Act(ctx context.Context, requestID string, send func(ctx context.Context, requestID string) (*compute.Operation, error)) error {
	op, err := c.Begin(ctx, requestID, send)
	if err != nil {
		return err
	}
	return c.Await(ctx, op)
}

// Begin sends a change and returns its operation, under way. An empty request id stands for a new one.
func (c *Client) Begin(ctx context.Context, requestID string, send func(ctx context.Context, requestID string) (*compute.Operation, error)) (*compute.Operation, error) {
	if requestID == "" {
		requestID = randomID()
	}
	op, err := write(ctx, c, func(ctx context.Context) (*compute.Operation, error) { return send(ctx, requestID) })
	if err == nil && op.Name == "" {
		return nil, c.strange()
	}
	return op, err
}

// Await waits until an operation has ended and returns what it failed with.
func (c *Client) Await(ctx context.Context, op *compute.Operation) error {
	ended, err := c.End(ctx, op)
	if err != nil {
		return err
	}
	return Failure(ended)
}

// End waits until an operation has ended, however often the API's own wait returns early, and returns it as it is then. One that has
// not ended within the limit is fault.Unavailable.
func (c *Client) End(ctx context.Context, op *compute.Operation) (*compute.Operation, error) {
	limited, cancel := context.WithTimeout(ctx, c.Limits.OperationLimit)
	defer cancel()
	for early := c.Limits.Pause / 4; op.Status != done; early = min(2*early, 5*time.Second) {
		asked := time.Now()
		now, err := c.wait(limited, op)
		switch {
		case limited.Err() != nil && ctx.Err() == nil:
			return nil, fault.E("cloud.End", fault.Unavailable, op.Name, fmt.Errorf("Google's operation %s has not ended after %s", plain(op.Name), c.Limits.OperationLimit)).
				WithHint("the project's activity log in Google's console says more")
		case err != nil:
			return nil, err
		}
		if op = now; op.Status == done {
			break
		}
		// A wait that returns at once must not make us ask without end.
		if took := time.Since(asked); took < early {
			if err := Pause(limited, early-took); err != nil && ctx.Err() != nil {
				return nil, ended(err)
			}
		}
	}
	return op, nil
}

func (c *Client) wait(ctx context.Context, op *compute.Operation) (*compute.Operation, error) {
	now, err := call(ctx, c, waitLimit, func(ctx context.Context) (*compute.Operation, error) {
		switch {
		case op.Zone != "":
			return c.ZoneOperations.Wait(c.projectOf(op), path.Base(op.Zone), op.Name).Context(ctx).Do()
		case op.Region != "":
			return c.RegionOperations.Wait(c.projectOf(op), path.Base(op.Region), op.Name).Context(ctx).Do()
		}
		return c.GlobalOperations.Wait(c.projectOf(op), op.Name).Context(ctx).Do()
	})
	if err == nil && now.Name == "" {
		return nil, c.strange()
	}
	return now, err
}

// projectOf is where an operation runs: a network's host project may be another one.
func (c *Client) projectOf(op *compute.Operation) string {
	if found := Parse(op.SelfLink).Project; found != "" {
		return found
	}
	return c.Project
}

// AwaitPending waits for operations of a project that have not ended and are about what is meant. scope is "zones/…", "regions/…" or
// "global". How they end does not matter; one that does not is fault.Unavailable.
func (c *Client) AwaitPending(ctx context.Context, project, scope string, meant func(target Name) bool) error {
	kind, where, _ := strings.Cut(scope, "/")
	const pending = `status != "DONE"`
	list := func(ctx context.Context, page string) (*compute.OperationList, error) {
		switch kind {
		case "zones":
			return c.ZoneOperations.List(project, where).Filter(pending).PageToken(page).Context(ctx).Do()
		case "regions":
			return c.RegionOperations.List(project, where).Filter(pending).PageToken(page).Context(ctx).Do()
		}
		return c.GlobalOperations.List(project).Filter(pending).PageToken(page).Context(ctx).Do()
	}
	all, err := pages(ctx, c, func(ctx context.Context, page string) ([]*compute.Operation, string, error) {
		found, err := list(ctx, page)
		if err != nil {
			return nil, "", err
		}
		return found.Items, found.NextPageToken, nil
	})
	if err != nil {
		return err
	}
	for _, op := range all {
		if !meant(Parse(op.TargetLink)) {
			continue
		}
		if err := c.Await(ctx, op); fault.Is(err, fault.Unavailable) {
			return err
		}
	}
	return nil
}

// Operation returns one of a zone's.
func (c *Client) Operation(ctx context.Context, zone, name string) (*compute.Operation, error) {
	return Read(ctx, c, func(ctx context.Context) (*compute.Operation, error) {
		return c.ZoneOperations.Get(c.Project, zone, name).Context(ctx).Do()
	})
}

// randomID is a UUID.
func randomID() string {
	id := make([]byte, 16)
	_, _ = rand.Read(id) // documented never to fail
	return UUID(id)
}

// UUID writes 16 bytes or more as a UUID of version 4, which is the one that the API takes.
func UUID(id []byte) string {
	b := [16]byte(id)
	b[6], b[8] = b[6]&0x0f|0x40, b[8]&0x3f|0x80
	return fmt.Sprintf("%x-%x-%x-%x-%x", b[:4], b[4:6], b[6:8], b[8:10], b[10:])
}
