package controller

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"strconv"
	"syscall"

	"google.golang.org/protobuf/proto"

	"mctl/internal/controller/store"
	"mctl/internal/controller/store/seal"
	"mctl/internal/fault"
	recordv1 "mctl/proto/mctl/record/v1"
)

const settingsKey = "settings"

// readSettings returns what this store's controller chose once, and chooses it the first time.
func readSettings(ctx context.Context, s store.Store) (*recordv1.Settings, error) {
	id := make([]byte, 4)
	_, _ = rand.Read(id) // documented never to fail
	first, err := proto.Marshal(&recordv1.Settings{ControllerId: hex.EncodeToString(id)})
	if err != nil {
		return nil, err
	}
	if _, err := s.Create(ctx, settingsKey, first); err != nil && !fault.Is(err, fault.Exists) {
		return nil, err
	}
	item, err := s.Get(ctx, settingsKey)
	if err != nil {
		return nil, err
	}
	settings := new(recordv1.Settings)
	return settings, proto.Unmarshal(item.Value, settings)
}

// openSealer opens the seal key, and has it made for a store that nothing was ever written to.
func openSealer(ctx context.Context, s store.Store, path, given string) (*seal.Sealer, error) {
	_, revision, err := s.List(ctx, settingsKey)
	if err == nil && revision > 0 {
		err = seal.Missing(path, given)
	}
	if err != nil {
		return nil, err
	}
	return seal.Open(path, given)
}

// listen opens the TCP port for agents and users far away. Where no port is asked for, or port 0, it is the one that was
// chosen once: hosts were told it, so another program on it is an error and no reason to choose anew.
func listen(ctx context.Context, s store.Store, settings *recordv1.Settings, address string) (net.Listener, error) {
	if address == "" {
		address = ":0"
	}
	if host, port, err := net.SplitHostPort(address); err == nil && port == "0" {
		address = net.JoinHostPort(host, strconv.Itoa(int(settings.GetPort())))
	}
	listener, err := new(net.ListenConfig).Listen(ctx, "tcp", address)
	if errors.Is(err, syscall.EADDRINUSE) {
		return nil, fault.E("controller.listen", fault.Precondition, address, fmt.Errorf("port %s is taken by another program", address)).
			WithHint("hosts were told this port; free it, or move with --listen and --advertise")
	}
	if err != nil {
		return nil, fault.E("controller.listen", fault.Precondition, address, fmt.Errorf("listen on %s: %w", address, err))
	}
	if settings.GetPort() != 0 {
		return listener, nil
	}
	settings.Port = uint32(listener.Addr().(*net.TCPAddr).Port)
	if err := keep(ctx, s, settings); err != nil {
		listener.Close()
		return nil, err
	}
	return listener, nil
}

func keep(ctx context.Context, s store.Store, settings *recordv1.Settings) error {
	value, err := proto.Marshal(settings)
	if err != nil {
		return err
	}
	item, err := s.Get(ctx, settingsKey)
	if err != nil {
		return err
	}
	_, err = s.Update(ctx, settingsKey, value, item.Revision)
	return err
}
