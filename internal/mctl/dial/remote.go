package dial

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"time"

	"mctl/internal/fault"
	"mctl/internal/mctl/profile"
)

// remoteLimit bounds the way to a controller far away: TCP and TLS.
const remoteLimit = 15 * time.Second

// Remote connects to the controller of a profile, whose certificate is renewed when it is due.
func Remote(ctx context.Context, profiles profile.Store, p profile.Profile, now func() time.Time) (*Client, error) {
	if err := profiles.Renew(ctx, p, now); err != nil {
		return nil, err
	}
	config, err := profiles.ClientConfig(p, now)
	if err != nil {
		return nil, err
	}
	connect := func(ctx context.Context) (net.Conn, error) { return dialTLS(ctx, p.Endpoint, config) }
	conn, err := connect(ctx)
	if err != nil {
		return nil, err
	}
	return newClient(conn, connect, true, fmt.Sprintf("the controller of context %q at %s", p.Name, p.Endpoint))
}

func dialTLS(ctx context.Context, endpoint string, config *tls.Config) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, remoteLimit)
	defer cancel()
	d := tls.Dialer{NetDialer: &net.Dialer{}, Config: config}
	conn, err := d.DialContext(ctx, "tcp", endpoint)
	if err != nil {
		return nil, fault.E("dial.Remote", fault.Unavailable, endpoint, fmt.Errorf("the controller at %s can't be reached: %w", endpoint, err)).
			WithHint("check the endpoint with `mctl context show`, and whether the controller runs")
	}
	return conn, nil
}
