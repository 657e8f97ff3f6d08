package wire

import "context"

// State is docker-machine's word for the power of a host.
type State int

// The states. rancher-machine added the last one.
const (
	None State = iota
	Running
	Paused
	Saved
	Stopped
	Stopping
	Starting
	Error
	Timeout
	NotFound
)

// SetConfig merges a JSON object into the driver's own.
func (c *Client) SetConfig(ctx context.Context, config []byte) error {
	return c.call(ctx, "SetConfigRaw", config, nil)
}

// Config returns the driver's JSON object, byte for byte.
func (c *Client) Config(ctx context.Context) ([]byte, error) {
	return ask[[]byte](ctx, c, "GetConfigRaw")
}

// Flags returns the driver's create flags.
func (c *Client) Flags(ctx context.Context) ([]Flag, error) {
	return ask[[]Flag](ctx, c, "GetCreateFlags")
}

// SetFlags gives the driver the value of each flag: string, int, bool or []string, none nil.
func (c *Client) SetFlags(ctx context.Context, values map[string]any) error {
	var argument options = &rpcFlags{Values: values}
	return c.call(ctx, "SetConfigFromFlags", &argument, nil)
}

// State asks for the host's state.
func (c *Client) State(ctx context.Context) (State, error) {
	number, err := ask[int](ctx, c, "GetState")
	return State(number), err
}

// SSHPort asks for the port of sshd.
func (c *Client) SSHPort(ctx context.Context) (int, error) { return ask[int](ctx, c, "GetSSHPort") }

// Text calls a method that answers with a text: DriverName, GetMachineName, GetIP, GetURL, GetSSHHostname, GetSSHKeyPath,
// GetSSHUsername.
func (c *Client) Text(ctx context.Context, method string) (string, error) {
	return ask[string](ctx, c, method)
}

// Do calls a method that answers with nothing: PreCreateCheck, Create, Start, Stop, Restart, Kill, Remove, Heartbeat, Close.
func (c *Client) Do(ctx context.Context, method string) error {
	return c.call(ctx, method, struct{}{}, nil)
}
