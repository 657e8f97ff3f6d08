// Package engine is what connects the docker CLI to a machine's engine: env, config and version.
package engine

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strings"
	"time"

	"mctl/internal/fault"
	"mctl/internal/mctl/cli"
	"mctl/internal/mctl/credential"
	"mctl/internal/mctl/state"
	controllerv1 "mctl/proto/mctl/controller/v1"
)

// checkLimit bounds one try of an engine, as docker-machine did.
const checkLimit = 20 * time.Second

// Reach brings the caller's files for a machine up to date and tries its engine with them; unreached is why that failed.
// Certificates that turn out not to fit, since the machine's authority is another one now, are replaced once.
func Reach(ctx context.Context, env *cli.Env, m *controllerv1.Machine) (folder state.Folder, unreached, err error) {
	for _, anew := range []bool{false, true} {
		if folder, err = env.WriteFiles(ctx, m, anew); err != nil {
			return folder, nil, err
		}
		if unreached = Check(ctx, folder, m.GetStatus().GetUrl()); !badCertificate(unreached) {
			break
		}
	}
	return folder, unreached, nil
}

// badCertificate reports whether one side did not take the other's certificate.
func badCertificate(err error) bool {
	var ours *tls.CertificateVerificationError
	var theirs *net.OpError
	return errors.As(err, &ours) || errors.As(err, &theirs) && theirs.Op == "remote error"
}

// Check dials an engine at url (tcp://HOST:PORT) with the certificates in a machine's folder and asks whether it is well.
func Check(ctx context.Context, folder state.Folder, url string) error {
	address := strings.TrimPrefix(url, "tcp://")
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return errors.New("the machine has no address")
	}
	config, err := credential.ClientTLS(folder)
	if err != nil {
		return err
	}
	config.ServerName = host
	return ping(ctx, "tcp", address, config)
}

// ping asks an engine whether it is well, over TLS or, without a configuration, plainly.
func ping(ctx context.Context, network, address string, config *tls.Config) error {
	ctx, cancel := context.WithTimeout(ctx, checkLimit)
	defer cancel()
	conn, err := connect(ctx, network, address, config)
	if err != nil {
		return err
	}
	defer conn.Close()
	stop := context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Unix(1, 0)) })
	defer stop()
	if _, err := conn.Write([]byte("GET /_ping HTTP/1.0\r\nHost: docker\r\n\r\n")); err != nil {
		return err
	}
	response, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		return fmt.Errorf("the engine does not answer: %w", err)
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return fmt.Errorf("the engine answers %s", response.Status)
	}
	return nil
}

func connect(ctx context.Context, network, address string, config *tls.Config) (net.Conn, error) {
	if config == nil {
		var d net.Dialer
		return d.DialContext(ctx, network, address)
	}
	d := tls.Dialer{Config: config}
	return d.DialContext(ctx, network, address)
}

// ErrNotRunning is docker-machine's word for a host that has no engine to talk to.
var ErrNotRunning = fault.New("engine.URL", fault.Precondition, "", "Host is not running").WithHint("`mctl ls` shows how it is, `mctl start NAME` starts it")

// URL returns tcp://HOST:PORT of the machine's engine, or ErrNotRunning.
func URL(m *controllerv1.Machine) (string, error) {
	switch m.GetStatus().GetState() {
	case "Stopped", "Stopping", "Starting", "Paused", "Saved":
		return "", ErrNotRunning
	}
	if m.GetStatus().GetUrl() == "" {
		return "", ErrNotRunning
	}
	return m.GetStatus().GetUrl(), nil
}
