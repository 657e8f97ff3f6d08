package swarm

import (
	"context"
	"encoding/json"
	"fmt"
	"net/url"
	"slices"
	"strconv"

	"mctl/internal/fault"
	"mctl/internal/host"
)

// Node is a member as the swarm's managers see it.
type Node struct {
	ID        string
	Name      string // the host's
	Manager   bool
	Reachable bool // a manager that takes part
	Active    bool // it takes tasks
	Down      bool
}

// Change is what shall become of a node. Empty fields leave it as it is.
type Change struct {
	Availability string // Active or Drain
	Manager      string // Promote or Demote
}

// What a Change can say.
const (
	Active  = "active"
	Drain   = "drain"
	Promote = "manager"
	Demote  = "worker"
)

// Nodes lists a swarm's members. via is a machine that is a manager of it.
func (c *Client) Nodes(ctx context.Context, via string) ([]Node, error) {
	var all []node
	if err := c.call(ctx, via, "GET", "/nodes", nil, nil, &all); err != nil {
		return nil, err
	}
	nodes := make([]Node, 0, len(all))
	for _, n := range all {
		nodes = append(nodes, Node{
			ID: n.ID, Name: host.Line(n.Description.Hostname), Manager: n.ManagerStatus != nil || n.Spec["Role"] == Promote,
			Reachable: n.ManagerStatus != nil && n.ManagerStatus.Reachability == "reachable",
			Active:    n.Spec["Availability"] == Active, Down: n.Status.State == "down",
		})
	}
	return nodes, nil
}

func (c *Client) node(ctx context.Context, via, id string) (node, error) {
	var n node
	return n, c.call(ctx, via, "GET", "/nodes/"+url.PathEscape(id), nil, nil, &n)
}

// Update changes a member by way of a manager. One that is so already is let be. NotFound when there is none of that id.
func (c *Client) Update(ctx context.Context, via, id string, change Change) error {
	n, err := c.node(ctx, via, id)
	if err != nil {
		return err
	}
	changed := false
	for field, value := range map[string]string{"Availability": change.Availability, "Role": change.Manager} {
		if value != "" && n.Spec[field] != value {
			n.Spec[field], changed = value, true
		}
	}
	if !changed {
		return nil
	}
	query := url.Values{"version": {strconv.FormatUint(n.Version.Index, 10)}}
	return c.call(ctx, via, "POST", "/nodes/"+url.PathEscape(id)+"/update", query, n.Spec, nil)
}

// Tasks counts the tasks that a member has been given and that have not ended.
func (c *Client) Tasks(ctx context.Context, via, id string) (int, error) {
	filter, err := json.Marshal(map[string][]string{"node": {id}})
	if err != nil {
		return 0, fmt.Errorf("tasks of %q: %w", id, err)
	}
	var tasks []struct{ Status struct{ State string } }
	if err := c.call(ctx, via, "GET", "/tasks", url.Values{"filters": {string(filter)}}, nil, &tasks); err != nil {
		return 0, err
	}
	live, n := []string{"assigned", "accepted", "preparing", "ready", "starting", "running"}, 0
	for _, t := range tasks {
		if slices.Contains(live, t.Status.State) {
			n++
		}
	}
	return n, nil
}

// Remove has a swarm forget a member that has left, or is gone. One that it does not know is success.
func (c *Client) Remove(ctx context.Context, via, id string) error {
	err := c.call(ctx, via, "DELETE", "/nodes/"+url.PathEscape(id), url.Values{"force": {"1"}}, nil, nil)
	if fault.Is(err, fault.NotFound) {
		return nil
	}
	return err
}
