package footprint

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"mctl/internal/fault"
	"mctl/internal/host"
)

// Offer says whether this host can be left to docker-machine, and with which options dockerd would run then; nothing is changed. It
// reads a host.HandOver as JSON from r and writes to w {"offer": host.Offer}, and the end as Install does. Precondition says why not.
func Offer(ctx context.Context, r io.Reader, w io.Writer, config Config) error {
	return report(w, func(progress) error {
		h, err := readHandOver(r)
		if err != nil {
			return err
		}
		offer := host.Offer{Begun: !exists(config.at(StateDir)) || config.leaving().HandOver != nil}
		if !offer.Begun {
			if offer, err = config.Offer(ctx, h); err != nil {
				return err
			}
		}
		_ = json.NewEncoder(w).Encode(map[string]host.Offer{"offer": offer}) // nobody may listen any more
		return nil
	})
}

// HandOver is Uninstall, and leaves dockerd to docker-machine, as it reads from r (host.HandOver, JSON) and as Offer said. Where
// dockerd does not take that, the host stays as it was. Without a certificate it goes on with one that has begun; Unavailable where none
// has, such as one that was given up meanwhile.
func HandOver(ctx context.Context, r io.Reader, w io.Writer, config Config) error {
	return report(w, func(say progress) error {
		config, err := config.orDefaults()
		if err != nil {
			return err
		}
		h, err := readHandOver(r)
		if err != nil {
			return err
		}
		unlock, err := config.alone(ctx)
		if err != nil {
			return err
		}
		defer func() { unlock() }()
		if exists(config.at(StateDir)) {
			if config.leaving().HandOver == nil && len(h.Certificate) == 0 {
				return fault.New("footprint.HandOver", fault.Unavailable, "", "docker is not being handed over any more, and has to be offered anew")
			}
			// Whoever goes on after a power cut must know what a hand-over is, and an agent of another build may not.
			changed, err := config.installSelf()
			if err != nil {
				return err
			}
			if changed { // so is the file that is locked
				former := unlock
				if unlock, err = config.alone(ctx); err != nil {
					unlock = former
					return err
				}
				defer former()
			}
		}
		return config.remove(ctx, Leaving{Told: true, HandOver: &h}, say)
	})
}

func readHandOver(r io.Reader) (host.HandOver, error) {
	const op = "footprint.readHandOver"
	var h host.HandOver
	text, err := io.ReadAll(io.LimitReader(r, maxOrders))
	if err != nil {
		return h, fault.E(op, fault.Unavailable, "", err)
	}
	// Its environment may hold secrets, so errors do not repeat it.
	if json.Unmarshal(text, &h) != nil || h.Port == 0 || h.Provider == "" {
		return h, fault.New(op, fault.Invalid, "", "what the agent was told is no JSON document, or has no port or provider")
	}
	if err := h.Engine.Check(); err != nil {
		return h, fault.E(op, fault.Invalid, "", err)
	}
	return h, nil
}

// leaveTo hands dockerd over. The host's name stays, too: it is the machine's, as docker-machine has it.
func (c Config) leaveTo(ctx context.Context, how Leaving, units []string, say progress) error {
	say("leaving docker to docker-machine")
	theirs, err := c.HandOver(ctx, *how.HandOver)
	if err != nil {
		if ctx.Err() != nil || fault.Retryable(err) {
			return err
		}
		return errors.Join(err, c.resume(ctx, units))
	}
	if err := OpenJournal(c.Root).Keep(append(theirs, hostnameFile, hostsFile)...); err != nil {
		return err
	}
	how.Handed = true
	return c.note(how)
}

// resume has the host stay after all: units are those that were stopped.
func (c Config) resume(ctx context.Context, units []string) error {
	path := filepath.Join(StateDir, LeavingFile)
	if err := os.Remove(c.at(path)); err != nil {
		return fault.E("footprint.resume", fault.Precondition, path, fmt.Errorf("can't remove %s: %w", path, err))
	}
	var start []string
	for _, name := range units {
		if name != frontUnit { // its sockets start it
			start = append(start, name)
		}
	}
	if len(start) == 0 {
		return nil
	}
	return c.systemctl(ctx, append([]string{"enable", "--now"}, start...)...)
}
