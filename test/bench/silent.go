package main

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// silent is what one host costs an ls that swallows every packet: ls with it, divided by ls while it answered.
func (b *bench) silent() error {
	all, err := counts()
	if err != nil {
		return err
	}
	machines := min(all[len(all)-1], peersMost)
	root, stop := b.state("silent")
	defer stop()
	if err := b.populate(root, 0, machines); err != nil {
		return err
	}
	address, key, remove, err := b.bareHost("silent")
	if err != nil {
		return err
	}
	defer remove()
	if _, err := b.run(root, "create", "--driver", "generic", "--generic-ip-address", address, "--generic-ssh-key", key, "silent"); err != nil {
		return err
	}
	answering, err := b.millis(root, "ls")
	if err != nil {
		return err
	}
	// In the background, since the answer could not come back.
	if _, err := b.run(root, "ssh", "silent", "nohup sh -c 'sleep 1; iptables -I INPUT -j DROP; iptables -I OUTPUT -j DROP' >/dev/null 2>&1 &"); err != nil {
		return err
	}
	if err := b.unreachable(net.JoinHostPort(address, "22")); err != nil {
		return err
	}
	swallowing, err := b.millis(root, "ls")
	if err != nil {
		return err
	}
	what := fmt.Sprintf("ls, %d records and a host that swallows packets", machines)
	before := median(answering)
	ours := row("mctl "+what, "ms", "", swallowing...)
	row("mctl "+what+" ÷ while it answered", "×", "1", ours/before)
	if _, err := b.run(root, "rm", "-y", "--forget", "silent"); err != nil {
		return err
	}
	b.silentByPeers(machines, what, ours)
	return nil
}

// unreachable waits until nothing answers at an address any more.
func (b *bench) unreachable(address string) error {
	look := time.NewTicker(200 * time.Millisecond)
	defer look.Stop()
	for range 100 {
		conn, err := net.DialTimeout("tcp", address, time.Second)
		if err != nil {
			return nil
		}
		conn.Close()
		select {
		case <-b.ctx.Done():
			return b.ctx.Err()
		case <-look.C:
		}
	}
	return fmt.Errorf("%s still answers", address)
}

// silentByPeers has each peer list as many machines, of which one's address swallows what is sent to it.
func (b *bench) silentByPeers(machines int, what string, ours float64) {
	port, release, err := swallow()
	if err != nil {
		absent("peers, "+what, err.Error())
		return
	}
	defer release()
	for _, p := range peers() {
		what := p.name + " ÷ mctl, " + what
		binary := os.Getenv(p.variable)
		if binary == "" {
			absent(what, p.variable+" names no program")
			continue
		}
		store, err := b.peerStore(p, binary, machines)
		if err == nil {
			err = redirect(filepath.Join(store, "machines", "machine1", "config.json"), port)
		}
		if err != nil {
			absent(what, p.name+" failed: "+lastLine(err))
			continue
		}
		start := time.Now()
		if output, err := exec.CommandContext(b.ctx, binary, "--storage-path", store, "ls").CombinedOutput(); err != nil {
			absent(what, p.name+" failed: "+lastLine(fmt.Errorf("%w %s", err, output)))
			continue
		}
		row(what, "×", "> 1", float64(time.Since(start).Milliseconds())/ours)
	}
}

// redirect has a record of a peer point to another port of this computer.
func redirect(path string, port int) error {
	record, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	changed := strings.ReplaceAll(string(record), "tcp://127.0.0.1:1\"", "tcp://127.0.0.1:"+strconv.Itoa(port)+"\"")
	if changed == string(record) {
		return fmt.Errorf("no address in %s", path)
	}
	return os.WriteFile(path, []byte(changed), 0o600)
}

// swallow opens a port of this computer that answers nobody: nothing takes its connections, and its queue is full, so that the
// kernel drops what comes.
func swallow() (port int, release func(), err error) {
	fd, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		return 0, nil, err
	}
	var filling []net.Conn
	release = func() {
		for _, conn := range filling {
			conn.Close()
		}
		_ = syscall.Close(fd)
	}
	err = syscall.Bind(fd, &syscall.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}})
	if err == nil {
		err = syscall.Listen(fd, 0)
	}
	var bound syscall.Sockaddr
	if err == nil {
		bound, err = syscall.Getsockname(fd)
	}
	here, ok := bound.(*syscall.SockaddrInet4)
	if err != nil || !ok {
		release()
		return 0, nil, fmt.Errorf("no port that swallows: %w", err)
	}
	for range 10 {
		conn, err := net.DialTimeout("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(here.Port)), 300*time.Millisecond)
		if err != nil {
			return here.Port, release, nil //nolint:nilerr // that is what it is for
		}
		filling = append(filling, conn)
	}
	release()
	return 0, nil, fmt.Errorf("port %d answers everybody", here.Port)
}
