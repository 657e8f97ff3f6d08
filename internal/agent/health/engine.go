package health

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"mctl/internal/host"
)

const socketPath = "/var/run/docker.sock"

var errNotActive = errors.New("docker.service is not active")

// Events reports what happens to the engine and to its containers, until the context ends, whose error it returns. One call
// at a time; a later call goes on after the last container event of the one before. emit is called by one goroutine at a
// time and should not block.
func (w *Watcher) Events(ctx context.Context, emit func(host.Event)) error {
	ticker := time.NewTicker(w.config.Recheck)
	defer ticker.Stop()
	out := &sink{emit: emit}
	for {
		if p := w.find(); p != nil {
			w.attend(ctx, p, out)
			p.close()
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		w.set(false, 0, "docker is not running", out)
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-ticker.C:
		}
	}
}

// attend follows one life of dockerd.
func (w *Watcher) attend(ctx context.Context, p *process, out *sink) {
	life, end := context.WithCancel(ctx)
	defer end()
	var group errgroup.Group
	group.Go(func() error {
		defer end()
		p.wait(life, w.config.Recheck)
		return nil
	})
	group.Go(func() error { w.repeat(life, p, func() error { return w.pings(life, p, out) }); return nil })
	group.Go(func() error { w.repeat(life, p, func() error { return w.follow(life, p, out) }); return nil })
	_ = group.Wait() // its members report nothing
}

// repeat does something anew after it failed, as long as the process lives.
func (w *Watcher) repeat(ctx context.Context, p *process, once func() error) {
	ticker := time.NewTicker(w.config.Recheck)
	defer ticker.Stop()
	for ctx.Err() == nil {
		if err := once(); err != nil && ctx.Err() == nil {
			w.config.Logger.Debug("engine", "pid", p.pid, "error", err)
		}
		select {
		case <-ctx.Done():
		case <-ticker.C:
		}
	}
}

// dial opens a connection unless that could wake a stopped engine: a dockerd that is stopping takes no more connections,
// but systemd, which holds the socket, would start it again for one that waits.
func (w *Watcher) dial(ctx context.Context, p *process) (net.Conn, error) {
	if !p.alive() || !w.config.Active(ctx) || !p.alive() {
		return nil, errNotActive
	}
	return new(net.Dialer).DialContext(ctx, "unix", filepath.Join(w.config.Root, socketPath))
}

// pings asks over one connection again and again. An answer that is late means that dockerd hangs; it is still waited for,
// on the same connection, so that none piles up.
func (w *Watcher) pings(ctx context.Context, p *process, out *sink) error {
	conn, err := w.dial(ctx, p)
	if err != nil {
		return err
	}
	defer conn.Close()
	stop := context.AfterFunc(ctx, func() { conn.Close() })
	defer stop()
	reader := bufio.NewReaderSize(conn, 4096)
	ticker := time.NewTicker(w.config.Ping)
	defer ticker.Stop()
	for {
		took, version, err := ping(conn, reader, w.config.Frozen, func() { w.set(false, 0, "docker does not answer", out) })
		if err != nil {
			return err
		}
		w.set(true, took, "docker is running", out)
		w.learn(version)
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-ticker.C:
		}
	}
}

// ping asks once and waits for the answer, however long that takes; late is called when it takes longer than the limit. The
// answer's header tells the engine's version, as "Docker/29.0.1 (linux)".
func ping(conn net.Conn, reader *bufio.Reader, limit time.Duration, late func()) (took time.Duration, version string, err error) {
	began := time.Now()
	if _, err := io.WriteString(conn, "GET /_ping HTTP/1.1\r\nHost: docker\r\n\r\n"); err != nil {
		return 0, "", err
	}
	if err := conn.SetReadDeadline(began.Add(limit)); err != nil {
		return 0, "", err
	}
	_, err = reader.Peek(1)
	if errors.Is(err, os.ErrDeadlineExceeded) {
		late()
		if err := conn.SetReadDeadline(time.Time{}); err != nil {
			return 0, "", err
		}
	} else if err != nil {
		return 0, "", err
	}
	response, err := http.ReadResponse(reader, nil)
	if err != nil {
		return 0, "", err
	}
	defer response.Body.Close()
	if _, err := io.Copy(io.Discard, io.LimitReader(response.Body, 4096)); err != nil {
		return 0, "", err
	}
	if response.StatusCode != http.StatusOK {
		return 0, "", fmt.Errorf("ping: %s", response.Status)
	}
	product, _, _ := strings.Cut(response.Header.Get("Server"), " ")
	version, _ = strings.CutPrefix(product, "Docker/")
	return time.Since(began), version, nil
}

// learn tells a version that is another one than before.
func (w *Watcher) learn(version string) {
	w.mu.Lock()
	known := version == "" || version == w.engine.version
	if !known {
		w.engine.version = version
	}
	w.mu.Unlock()
	if !known && w.config.Version != nil {
		w.config.Version(version)
	}
}

// set notes how the engine is, and reports a change. The first finding is no change.
func (w *Watcher) set(up bool, took time.Duration, message string, out *sink) {
	w.mu.Lock()
	before := w.engine
	w.know(up, took)
	w.mu.Unlock()
	if !before.known || before.up == up {
		return
	}
	kind := host.EventEngineDown
	if up {
		kind = host.EventEngineUp
	}
	out.send(host.Event{Type: kind, Time: w.config.Now(), Message: message})
}

// know notes how the engine is. The lock is held.
func (w *Watcher) know(up bool, took time.Duration) {
	if !w.engine.known {
		close(w.found)
	}
	w.engine = engineState{known: true, up: up, ping: took, version: w.engine.version}
}
