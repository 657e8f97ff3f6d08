package main

import (
	"fmt"
	"os"
	"strconv"
	"time"
)

// sizes are those of the binaries, in MB.
func (b *bench) sizes() error {
	for _, binary := range []struct{ name, reach string }{{"agent-linux-amd64", "≤ 20 MB"}, {"mctl", "≤ 15 MB"}} {
		info, err := os.Stat("bin/" + binary.name)
		if err != nil {
			return err
		}
		row("size of "+binary.name, "MB", binary.reach, float64(info.Size())/1e6)
	}
	return nil
}

// adopt is from the start of create, with an empty state directory and no controller, to the end of docker ps over TLS.
func (b *bench) adopt() error {
	address, key, remove, err := b.bareHost("bare")
	if err != nil {
		return err
	}
	defer remove()
	var seconds []float64
	for i := range runs {
		state, stop := b.state(fmt.Sprint("adopt", i))
		start := time.Now()
		_, err := b.run(state, "create", "--driver", "generic", "--generic-ip-address", address, "--generic-ssh-key", key, "adopted")
		if err == nil {
			var environment []string
			if environment, err = b.dockerEnv(state, "adopted"); err == nil {
				err = b.docker(environment, "ps")
			}
		}
		seconds = append(seconds, time.Since(start).Seconds())
		if err == nil {
			_, err = b.run(state, "rm", "-y", "adopted")
		}
		stop()
		if err != nil {
			return err
		}
	}
	return b.adoptByPeers(row("adopt a Debian 12 host with Docker", "s", "≤ 2.5 s", seconds...))
}

// create is one host from nothing to served, with the base image cached.
func (b *bench) create() error {
	state, stop := b.state("create")
	defer stop()
	var seconds []float64
	for i := range runs {
		name := fmt.Sprint("host", i)
		took, err := b.timed(state, "create", "--driver", "nspawn", name)
		if err != nil {
			return err
		}
		seconds = append(seconds, took)
		if _, err := b.run(state, "rm", "-y", name); err != nil {
			return err
		}
	}
	row("create on nspawn, base image cached, distribution's Docker", "s", "≤ 12 s", seconds...)
	return nil
}

// list is over a thousand real records in mixed phases.
func (b *bench) list() error {
	const machines = 1000
	state, stop := b.state("list")
	defer stop()
	for i := range machines {
		args := []string{"create", "--driver", "fake", "--no-wait", "machine" + strconv.Itoa(i)}
		if i%10 == 0 {
			args = append(args, "--fake-fail", "create=denied")
		}
		if _, err := b.run(state, args...); err != nil {
			return err
		}
	}
	for i := 5; i < machines; i += 10 {
		if _, err := b.run(state, "stop", "machine"+strconv.Itoa(i)); err != nil {
			return err
		}
	}
	for _, command := range []struct {
		args  []string
		what  string
		reach string
	}{
		{[]string{"ls"}, "ls, 1,000 records", "≤ 25 ms"},
		{[]string{"status", "machine1"}, "status NAME, 1,000 records", "≤ 10 ms"},
	} {
		var millis []float64
		for range 4 * runs {
			took, err := b.timed(state, command.args...)
			if err != nil {
				return err
			}
			millis = append(millis, took*1000)
		}
		ours := row("mctl "+command.what, "ms", command.reach, millis...)
		b.listByPeers(machines, command.args, command.what, ours)
	}
	return nil
}
