package plugin

import (
	"encoding/gob"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/rpc"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"
)

// The stub is a plugin of our own: the other side of docker-machine's protocol, written from its description. The test's own
// program is the stub when it is started as one, and its name says how it misbehaves before it has told anything.

type (
	stubFlag   interface{ String() string }
	stubString struct{ Name, Usage, EnvVar, Value string }
	stubInt    struct {
		Name, Usage, EnvVar string
		Value               int
	}
	stubSlice struct {
		Name, Usage, EnvVar string
		Value               []string
	}
	stubBool struct{ Name, Usage, EnvVar string }
	stubRPC  struct{ Values map[string]any }
	// StubOptions is exported for net/rpc.
	StubOptions interface{ String(key string) string }
)

func (f *stubString) String() string { return f.Name }
func (f *stubInt) String() string    { return f.Name }
func (f *stubSlice) String() string  { return f.Name }
func (f *stubBool) String() string   { return f.Name }

func (f *stubRPC) String(key string) string { text, _ := f.Values[key].(string); return text }

// stubConfig is what the stub remembers of a host, and what travels as its JSON.
type stubConfig struct {
	IPAddress, MachineName, SSHUser string
	SSHPort                         int
	SSHKeyPath, StorePath           string
	SwarmMaster                     bool
	SwarmHost, SwarmDiscovery       string
	InstanceID                      string
	World, Token, KeyFile           string
	Delay                           int
	Tags                            []string
	Fast                            bool
	Odd                             json.Number `json:",omitempty"`
}

// stub serves the protocol. Its hosts are files in a directory, its world, where the test finds them and its orders.
type stub struct {
	mu       sync.Mutex
	config   stubConfig
	creating bool
	beat     chan struct{}
}

// host is a host's file.
type stubHost struct{ State, Address string }

func (s *stub) in(parts ...string) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return filepath.Join(append([]string{s.config.World}, parts...)...)
}

func (s *stub) get() stubConfig {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.config
}

func (s *stub) set(change func(*stubConfig)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	change(&s.config)
}

// order carries out what the test left in the world for a method: HOW TIMES. after says whether the method has done its work.
func (s *stub) order(method string, after bool) error {
	if s.get().World == "" {
		return nil
	}
	if !after {
		log, err := os.OpenFile(s.in("calls"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
		if err == nil {
			fmt.Fprintln(log, method)
			log.Close()
		}
	}
	path := s.in("order-" + method)
	text, _ := os.ReadFile(path) // there may be no order
	how, times, _ := strings.Cut(string(text), " ")
	left, _ := strconv.Atoi(times)
	late := how == "lost" || how == "crash-after" || how == "hang-after"
	if left == 0 || late != after {
		return nil
	}
	_ = os.WriteFile(path, fmt.Appendf(nil, "%s %d", how, left-1), 0o600)
	switch how {
	case "throttled":
		return errors.New("429 Too Many Requests")
	case "unavailable", "lost":
		return errors.New("503 Service Unavailable")
	case "timeout":
		return errors.New("request timed out")
	case "full":
		return errors.New("quota exceeded")
	case "hang", "hang-after":
		select {}
	case "crash", "crash-after":
		fmt.Fprintln(os.Stderr, "panic: nil pointer")
		exit(2)
	case "panic":
		return errors.New("Panic in the driver: boom\ngoroutine 1 [running]:\nmain.main()")
	case "token":
		return errors.New("403 for token " + s.get().Token)
	case "flood":
		line := strings.Repeat("x", 1000)
		for {
			if _, err := fmt.Fprintln(os.Stdout, line); err != nil {
				exit(1)
			}
		}
	case "chatter":
		for i := range 2000 {
			fmt.Fprintln(os.Stdout, "line", i, s.get().Token, "\x1b[31m"+strings.Repeat("y", 100_000*(i%400/399)))
		}
	case "shout":
		for range 2000 {
			fmt.Fprintln(os.Stderr, strings.Repeat("z", 1000))
		}
	}
	return nil
}

// nonsense is no address and no user.
const nonsense = "-oProxyCommand=id"

// ordered is how a method shall misbehave.
func (s *stub) ordered(method string) string {
	text, _ := os.ReadFile(s.in("order-" + method)) // there may be no order
	how, _, _ := strings.Cut(string(text), " ")
	return how
}

func (s *stub) load() (stubHost, error) {
	var h stubHost
	id := s.get().InstanceID
	text, err := os.ReadFile(s.in("host-" + id))
	if err != nil || id == "" {
		return h, errors.New("instance not found")
	}
	return h, json.Unmarshal(text, &h)
}

func (s *stub) store(h stubHost) error {
	text, err := json.Marshal(h)
	if err != nil {
		return err
	}
	return os.WriteFile(s.in("host-"+s.get().InstanceID), text, 0o600)
}

// act is a method between the orders that the test gave for it.
func (s *stub) act(method string, do func() error) error {
	if err := s.order(method, false); err != nil {
		return err
	}
	if err := do(); err != nil {
		return err
	}
	return s.order(method, true)
}

// RPCServerDriver is what net/rpc serves.
type RPCServerDriver struct{ *stub }

func (s RPCServerDriver) GetVersion(_ *struct{}, version *int) error {
	*version = 1
	if behaviour() == "version" {
		*version = 2
	}
	return nil
}

func (s RPCServerDriver) SetConfigRaw(data []byte, _ *struct{}) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return json.Unmarshal(data, &s.config)
}

func (s RPCServerDriver) GetConfigRaw(_ *struct{}, data *[]byte) (err error) {
	s.mu.Lock()
	creating := s.creating
	*data, err = json.Marshal(s.config)
	s.mu.Unlock()
	if creating {
		for _, how := range []string{"crash", "hang", "broken", "shrunken"} {
			if _, ordered := os.Stat(s.in("poll-" + how)); ordered != nil {
				continue
			}
			_ = os.Remove(s.in("poll-" + how))
			switch how {
			case "crash":
				exit(2)
			case "hang":
				select {}
			case "broken":
				*data = (*data)[:len(*data)/2]
			case "shrunken":
				*data = []byte(`{"InstanceID":"i-wrong"}`)
			}
		}
	}
	return err
}

func (s RPCServerDriver) GetCreateFlags(_ *struct{}, flags *[]stubFlag) error {
	*flags = []stubFlag{
		&stubString{Name: "stub-world", Usage: "Directory of hosts", EnvVar: "STUB_WORLD,OTHER_WORLD"},
		&stubString{Name: "stub-token", Usage: "Secret", EnvVar: "STUB_TOKEN", Value: "none"},
		&stubString{Name: "stub-key-path", Usage: "File"},
		&stubString{Name: "stub-zone", Usage: "Zone", Value: "z1"},
		&stubInt{Name: "stub-delay", Usage: "Milliseconds", Value: 1},
		&stubSlice{Name: "stub-tag", Value: []string{"a", "b"}, Usage: "Tags"},
		&stubSlice{Name: "stub-none", Usage: "A list with no default"},
		&stubBool{Name: "stub-fast", Usage: "Fast"},
	}
	switch behaviour() {
	case "mute":
		select {}
	case "collide":
		*flags = append(*flags, &stubBool{Name: "plugin-poll", Usage: "ours"})
	case "twice":
		*flags = append(*flags, &stubBool{Name: "stub-fast", Usage: "again"})
	case "strange":
		*flags = append(*flags, &stubBool{Name: "stub fast;id"})
	}
	return nil
}

func (s RPCServerDriver) SetConfigFromFlags(options *StubOptions, _ *struct{}) error {
	values := (*options).(*stubRPC).Values
	for _, name := range []string{
		"driver", "swarm", "swarm-master", "swarm-host", "swarm-discovery", "swarm-image", "swarm-strategy", "swarm-addr", "swarm-experimental",
		"engine-install-url", "engine-storage-driver", "stub-world", "stub-token", "stub-zone", "stub-delay", "stub-tag", "stub-none", "stub-fast",
	} {
		if _, there := values[name]; !there {
			return errors.New("missing " + name)
		}
	}
	s.set(func(c *stubConfig) {
		c.World, c.Token, c.KeyFile = values["stub-world"].(string), values["stub-token"].(string), values["stub-key-path"].(string)
		c.Delay, c.Tags, c.Fast = values["stub-delay"].(int), values["stub-tag"].([]string), values["stub-fast"].(bool)
		c.SSHUser, c.SSHPort = "stubby", 2222
		c.SSHKeyPath = filepath.Join(c.StorePath, "machines", c.MachineName, "id_rsa")
		c.Odd = "18446744073709551615.0"
	})
	if values["stub-zone"].(string) == "nowhere" {
		return errors.New("there is no zone nowhere")
	}
	return s.order("SetConfigFromFlags", false)
}

func (s RPCServerDriver) DriverName(_ *struct{}, text *string) error { *text = "stub"; return nil }
func (s RPCServerDriver) GetMachineName(_ *struct{}, text *string) error {
	*text = s.get().MachineName
	return nil
}

func (s RPCServerDriver) GetIP(_ *struct{}, text *string) error {
	if *text = s.get().IPAddress; *text == "" {
		return errors.New("IP address is not set")
	}
	if s.ordered("GetIP") == "nonsense" {
		*text = nonsense
	}
	return s.order("GetIP", false)
}

func (s RPCServerDriver) GetURL(_ *struct{}, text *string) error {
	*text = "tcp://" + s.get().IPAddress + ":3376"
	return s.order("GetURL", false)
}

func (s RPCServerDriver) GetSSHHostname(in *struct{}, text *string) error { return s.GetIP(in, text) }
func (s RPCServerDriver) GetSSHKeyPath(_ *struct{}, text *string) error {
	*text = s.get().SSHKeyPath
	return nil
}

func (s RPCServerDriver) GetSSHUsername(_ *struct{}, text *string) error {
	if *text = s.get().SSHUser; s.ordered("GetSSHUsername") == "nonsense" {
		*text = nonsense
	}
	return nil
}
func (s RPCServerDriver) GetSSHPort(_ *struct{}, port *int) error {
	*port = s.get().SSHPort
	return nil
}

func (s RPCServerDriver) GetState(_ *struct{}, state *int) error {
	return s.act("GetState", func() error {
		h, err := s.load()
		*state = slices.Index([]string{"", "running", "paused", "saved", "stopped", "stopping", "starting", "error", "timeout", "gone"}, h.State)
		return err
	})
}

func (s RPCServerDriver) PreCreateCheck(_, _ *struct{}) error {
	return s.act("PreCreateCheck", func() error { return nil })
}

func (s RPCServerDriver) Create(_, _ *struct{}) error {
	return s.act("Create", func() error {
		s.mu.Lock()
		s.creating = true
		s.mu.Unlock()
		config := s.get()
		if err := os.WriteFile(config.SSHKeyPath, []byte("key of "+config.MachineName), 0o600); err != nil {
			return err
		}
		if _, err := os.Stat(s.in("late")); err == nil {
			time.Sleep(time.Duration(config.Delay) * time.Millisecond) //nolint:forbidigo // it plays a slow provider
		}
		id := fmt.Sprintf("i-%s-%d", config.MachineName, time.Now().UnixNano())
		state := "running"
		if _, err := os.Stat(s.in("mute-" + config.MachineName)); err == nil {
			state = "starting"
		}
		s.set(func(c *stubConfig) { c.InstanceID = id })
		if err := s.store(stubHost{State: state, Address: s.address()}); err != nil {
			return err
		}
		if err := s.order("Made", false); err != nil {
			return err
		}
		time.Sleep(time.Duration(config.Delay) * time.Millisecond) //nolint:forbidigo // it plays a slow provider
		h, err := s.load()
		s.set(func(c *stubConfig) { c.IPAddress = h.Address })
		return err
	})
}

// address is another one each time.
func (s *stub) address() string {
	n := time.Now().UnixNano()
	return fmt.Sprintf("127.%d.%d.%d", 1+n>>16%200, 1+n>>8%200, 1+n%200)
}

// turn moves the host to a state.
func (s *stub) turn(state string) error {
	h, err := s.load()
	if err != nil {
		return err
	}
	if h.State == state {
		return errors.New("already " + state)
	}
	h.State = state
	if state == "running" {
		h.Address = s.address()
		s.set(func(c *stubConfig) { c.IPAddress = h.Address })
	}
	return s.store(h)
}

func (s RPCServerDriver) Start(_, _ *struct{}) error {
	return s.act("Start", func() error { return s.turn("running") })
}

func (s RPCServerDriver) Stop(_, _ *struct{}) error {
	return s.act("Stop", func() error { return s.turn("stopped") })
}

func (s RPCServerDriver) Kill(_, _ *struct{}) error {
	return s.act("Kill", func() error { return s.turn("stopped") })
}

func (s RPCServerDriver) Restart(_, _ *struct{}) error {
	return s.act("Restart", func() error { return nil })
}

func (s RPCServerDriver) Remove(_, _ *struct{}) error {
	return s.act("Remove", func() error {
		if _, err := s.load(); err != nil {
			return err
		}
		return os.Remove(s.in("host-" + s.get().InstanceID))
	})
}

func (s RPCServerDriver) Heartbeat(_, _ *struct{}) error {
	s.beat <- struct{}{}
	return s.order("Heartbeat", false)
}

func (s RPCServerDriver) Close(_, _ *struct{}) error {
	if err := s.order("Close", false); err != nil {
		return err
	}
	fmt.Fprintln(os.Stderr, "Closing plugin on server side")
	exit(0)
	return nil
}

// exit ends the stub at once; the race detector would have it wait for a second.
func exit(code uintptr) {
	_, _, _ = syscall.RawSyscall(syscall.SYS_EXIT_GROUP, code, 0, 0)
}

// behaviour is what the stub was called by.
func behaviour() string { return strings.TrimPrefix(filepath.Base(os.Args[0]), filePrefix) }

// serveStub is the stub's main.
func serveStub() {
	gob.RegisterName("*rpcdriver.RPCFlags", new(stubRPC))
	gob.RegisterName("*mcnflag.StringFlag", new(stubString))
	gob.RegisterName("*mcnflag.IntFlag", new(stubInt))
	gob.RegisterName("*mcnflag.StringSliceFlag", new(stubSlice))
	gob.RegisterName("*mcnflag.BoolFlag", new(stubBool))
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		exit(1)
	}
	s := &stub{beat: make(chan struct{})}
	switch behaviour() {
	case "quit":
		exit(3)
	case "silent":
		select {}
	case "garbage":
		fmt.Fprintln(os.Stdout, "Usage: something [options]")
		select {}
	case "elsewhere":
		fmt.Fprintln(os.Stdout, "192.0.2.1:80")
		select {}
	case "deaf":
		fmt.Fprintln(os.Stdout, listener.Addr())
		select {}
	case "web":
		fmt.Fprintln(os.Stdout, listener.Addr())
		_ = http.Serve(listener, http.NotFoundHandler())
	case "other":
		_ = rpc.RegisterName("Other", RPCServerDriver{s})
	case "old":
		_ = rpc.RegisterName("RpcServerDriver", RPCServerDriver{s})
	case "endless":
		fmt.Fprint(os.Stdout, strings.Repeat("x", 1<<20))
		select {}
	default:
		_ = rpc.RegisterName("RPCServerDriver", RPCServerDriver{s})
	}
	rpc.HandleHTTP()
	go func() {
		for {
			select {
			case <-s.beat:
			case <-time.After(10 * time.Second):
				exit(1)
			}
		}
	}()
	fmt.Fprintln(os.Stdout, listener.Addr())
	_ = http.Serve(listener, nil)
}
