package plugin

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"regexp"
	"slices"
	"strconv"

	"mctl/internal/controller/driver"
	"mctl/internal/controller/driver/plugin/memory"
	"mctl/internal/controller/driver/plugin/wire"
	"mctl/internal/fault"
)

// powers are ours for docker-machine's words. An error is no power.
var powers = map[wire.State]driver.Power{
	wire.Running: driver.Running, wire.Paused: driver.Paused, wire.Saved: driver.Saved, wire.Stopped: driver.Stopped,
	wire.Stopping: driver.Stopping, wire.Starting: driver.Starting,
}

// look asks the plugin how and where the host is. Its errors are faults.
func (s *session) look(ctx context.Context, known *memory.Memory) (driver.Instance, error) {
	state, err := s.state(ctx)
	if gone(err) || state == wire.NotFound {
		return driver.Instance{}, notThere("Inspect", s.machine)
	}
	if err != nil {
		return driver.Instance{}, s.trouble("GetState", err)
	}
	power, ok := powers[state]
	if !ok {
		power = driver.Unknown
	}
	instance := driver.Instance{ID: known.ID, Power: power}
	if instance.ID == "" {
		instance.ID = s.machine
	}
	if power != driver.Running && state != wire.None {
		return instance, nil // it has no address, or an old one
	}
	return s.locate(ctx, known, instance)
}

// locate asks where a host is that runs, and for the key to it.
func (s *session) locate(ctx context.Context, known *memory.Memory, instance driver.Instance) (driver.Instance, error) {
	var address, hostname, user, key string
	for method, answer := range map[string]*string{
		"GetIP": &address, "GetSSHHostname": &hostname, "GetSSHUsername": &user, "GetSSHKeyPath": &key,
	} {
		var err error
		if *answer, err = s.text(ctx, method); err != nil {
			return instance, s.trouble(method, err)
		}
	}
	for method, answer := range map[string]string{"GetIP": address, "GetSSHHostname": hostname} {
		if answer != "" && !isAddress(answer) {
			return instance, s.nonsense(method, answer, "address")
		}
	}
	if user != "" && !userName.MatchString(user) {
		return instance, s.nonsense("GetSSHUsername", user, "user's name")
	}
	for _, one := range []string{address, hostname} {
		if one != "" && !slices.Contains(instance.Addresses, one) {
			instance.Addresses = append(instance.Addresses, one)
		}
	}
	// A driver that knows of no engine has no address of one.
	text, err := s.text(ctx, "GetURL")
	var answer wire.DriverError
	if err != nil && !errors.As(err, &answer) {
		return instance, s.trouble("GetURL", err)
	}
	instance.Port = portOf(text)
	if hostname == "" {
		return instance, nil
	}
	port, err := s.port(ctx)
	if err != nil {
		return instance, s.trouble("GetSSHPort", err)
	}
	instance.SSH = driver.SSH{Address: hostname, Port: port, User: user}
	if user == "" {
		instance.SSH.User = "root"
	}
	if key != "" {
		content, err := s.folder.ReadKey(key)
		if err != nil {
			return instance, s.trouble("GetSSHKeyPath", errKey)
		}
		known.Key = content
	}
	return instance, nil
}

// What a host's address and user can be. Others' commands get them as arguments, so none begins as an option does.
var (
	dnsName  = regexp.MustCompile(`^[A-Za-z0-9_][A-Za-z0-9_.-]{0,252}$`)
	userName = regexp.MustCompile(`^[A-Za-z0-9_][A-Za-z0-9_.@\\+-]{0,127}$`)
)

func isAddress(text string) bool {
	ip, err := netip.ParseAddr(text)
	return dnsName.MatchString(text) || err == nil && (ip.Zone() == "" || dnsName.MatchString(ip.Zone()))
}

// nonsense is the fault of an answer that can't be what was asked for.
func (s *session) nonsense(method, answer, what string) error {
	return fault.New("plugin."+method, fault.Precondition, s.machine,
		fmt.Sprintf("the plugin %s answers %s with %q, which is no %s", s.d.plugin.label(), method, s.hidden.tidy(answer), what)).
		WithHint("it has a mistake; ask its maker")
}

func (s *session) port(ctx context.Context) (uint16, error) {
	number := 0
	err := s.within(ctx, min(s.limit, askLimit), "GetSSHPort", func(ctx context.Context) (err error) {
		number, err = s.client.SSHPort(ctx)
		return err
	})
	if number <= 0 || number > 65535 {
		number = 22
	}
	return uint16(number), err
}

// portOf is the port in tcp://ADDRESS:PORT; zero for none.
func portOf(text string) uint16 {
	parsed, err := url.Parse(text)
	if err != nil {
		return 0
	}
	_, port, err := net.SplitHostPort(parsed.Host)
	if err != nil {
		return 0
	}
	number, _ := strconv.ParseUint(port, 10, 16)
	return uint16(number)
}
