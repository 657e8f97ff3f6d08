//go:build unix

package refusal

import (
	"encoding/json"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
)

// newKey makes a key pair by ssh-keygen and returns the private file.
func newKey(t *testing.T, args ...string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "key")
	if output, err := exec.Command("ssh-keygen", append([]string{"-q", "-f", path, "-N"}, args...)...).CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, output)
	}
	return path
}

// closedPort is one that nobody listens on.
func closedPort(t *testing.T) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	return strconv.Itoa(listener.Addr().(*net.TCPAddr).Port)
}

// webServer answers whoever comes as a web server does, and returns its port.
func webServer(t *testing.T) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { listener.Close() })
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			_, _ = conn.Read(make([]byte, 1000))
			_, _ = conn.Write([]byte("HTTP/1.1 400 Bad Request\r\n\r\n"))
			conn.Close()
		}
	}()
	return strconv.Itoa(listener.Addr().(*net.TCPAddr).Port)
}

func TestACreateThatIsRefusedLeavesNothing(t *testing.T) {
	u := newUser(t)
	dir := t.TempDir()
	key := newKey(t, "")
	content, err := os.ReadFile(key)
	if err != nil {
		t.Fatal(err)
	}
	pipe := filepath.Join(dir, "pipe")
	if err := syscall.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	// adopt is a create that gets as far as the connection, unless the further arguments are wrong.
	adopt := func(args ...string) []string {
		return append([]string{"create", "--driver", "generic", "--generic-ip-address", "127.0.0.1", "--generic-ssh-port", closedPort(t), "--generic-ssh-key", key}, args...)
	}
	withKey := func(path string) []string { return adopt("--generic-ssh-key", path, "web") }
	const badName = "Invalid hostname specified. Allowed hostname chars are: 0-9a-zA-Z . -"
	const badFlags = "Error setting machine configuration from flags provided: "
	const badCheck = "Error with pre-create check: "
	for name, c := range map[string]struct {
		args []string
		code int
		says string
	}{
		"name with an underscore":    {adopt("bad_name"), 1, badName},
		"empty name":                 {adopt(""), 1, badName},
		"name of a file":             {adopt("../web"), 1, badName},
		"name for a shell":           {adopt("$(touch pwned)"), 1, badName},
		"name for a terminal":        {adopt("\x1b[31mred"), 1, badName},
		"name with an empty part":    {adopt("a..b"), 1, badName},
		"name with a last dash":      {adopt("a-"), 1, badName},
		"long name":                  {adopt(strings.Repeat("x", 64)), 1, badName},
		"name too long for a folder": {adopt(strings.Repeat("x", 300)), 1, badName},
		"name like a flag":           {adopt("--", "-x"), 1, badName},
		"no name":                    {adopt(), 1, "No machine name specified"},
		"two names":                  {adopt("web", "db"), 1, "Found extra arguments [db]"},

		"unknown driver":                {[]string{"create", "--driver", "nowhere", "web"}, 2, `Driver "nowhere" not found`},
		"driver for a terminal":         {[]string{"create", "--driver", "no\x1b[31mwhere", "web"}, 2, `not found`},
		"unknown flag":                  {adopt("--generic-nothing", "x", "web"), 2, "flag provided but not defined: -generic-nothing"},
		"another driver's flag":         {adopt("--nspawn-memory", "512", "web"), 2, "flag provided but not defined: -nspawn-memory"},
		"flag for a terminal":           {adopt("--\x1b[31m", "web"), 2, "flag provided but not defined"},
		"flag without its value":        {adopt("web", "--generic-ssh-user"), 2, "flag needs an argument: -generic-ssh-user"},
		"missing required flag":         {[]string{"create", "--driver", "generic", "--generic-ssh-key", key, "web"}, 2, badFlags + "--generic-ip-address is required"},
		"missing required flag, no key": {[]string{"create", "--driver", "generic", "web"}, 2, badFlags + "--generic-ip-address is required"},
		"swarm of nobody":               {adopt("--swarm", "web"), 2, "--swarm needs --swarm-master or --swarm-discovery"},
		"discovery without a swarm":     {adopt("--swarm-discovery", "mctl://x", "web"), 2, "--swarm-discovery needs --swarm"},
		"discovery by a token":          {adopt("--swarm", "--swarm-discovery", "token://x", "web"), 2, "discovery by token:// went with the legacy Swarm; in swarm mode a member asks a manager"},
		"discovery by consul":           {adopt("--swarm-master", "--swarm-discovery", "consul://10.0.0.1/x", "web"), 2, "discovery by consul:// went with the legacy Swarm"},
		"discovery that is no URL":      {adopt("--swarm", "--swarm-discovery", "m1", "web"), 2, "Error parsing swarm discovery: Swarm Discovery URL was in the wrong format: m1"},
		"discovery of an unknown one":   {adopt("--swarm", "--swarm-discovery", "mctl://nobody", "web"), 3, "there is no machine \"nobody\" whose swarm could be joined"},
		"discovery of what is no name":  {adopt("--swarm", "--swarm-discovery", "mctl://m1\n\x1b[2J", "web"), 2, `the discovery URL "mctl://m1\n\x1b[2J" names no machine`},
		"another strategy":              {adopt("--swarm-master", "--swarm-strategy", "binpack", "web"), 2, "the strategy \"binpack\" went with the legacy Swarm; swarm mode spreads tasks"},
		"swarm at a port that is none":  {adopt("--swarm-master", "--swarm-host", "tcp://0.0.0.0:x", "web"), 2, "\"tcp://0.0.0.0:x\" is no place to serve a swarm at"},
		"swarm at one address":          {adopt("--swarm-master", "--swarm-host", "tcp://10.0.0.1:3376", "web"), 2, "names one address"},
		"swarm at the engine's port":    {adopt("--swarm-master", "--swarm-host", "tcp://0.0.0.0:2376", "web"), 2, "port 2376 can't be both the engine's and the swarm's"},
		"swarm at any address":          {adopt("--swarm-master", "--swarm-addr", "0.0.0.0", "web"), 2, "is no address that members of a swarm could find a machine at"},
		"swarm at port zero":            {adopt("--swarm-master", "--swarm-addr", "10.0.0.1:0", "web"), 2, "is no address that members of a swarm could find a machine at"},
		"swarm at no address":           {adopt("--swarm-master", "--swarm-addr", "$(id)", "web"), 2, "is no address that members of a swarm could find a machine at"},
		"port that is no number":        {adopt("--generic-ssh-port", "x", "web"), 2, `invalid value "x" for flag -generic-ssh-port`},
		"port beyond all":               {adopt("--generic-engine-port", "99999", "web"), 2, badFlags + `--generic-engine-port: bad port "99999"`},
		"engine at the port of SSH":     {adopt("--generic-ssh-port", "2376", "web"), 2, badFlags + "--generic-engine-port: the engine can't have the port of SSH"},
		"address for a shell":           {adopt("--generic-ip-address", "$(touch pwned)", "web"), 2, badFlags + `--generic-ip-address: bad address "$(touch pwned)"`},
		"address like a flag":           {adopt("--generic-ip-address", "-oProxyCommand=id", "web"), 2, badFlags + `--generic-ip-address: bad address "-oProxyCommand=id"`},
		"address for a terminal":        {adopt("--generic-ip-address", "\u009b31m", "web"), 2, badFlags + `the value "\u009b31m" has a control character`},
		"user for a shell":              {adopt("--generic-ssh-user", "`id`", "web"), 2, badFlags + "--generic-ssh-user: bad user name"},
		"user on two lines":             {adopt("--generic-ssh-user", "a\nb", "web"), 2, badFlags + `the value "a\nb" has a control character`},
		"wait that is no time":          {adopt("--wait-ssh", "soon", "web"), 2, `invalid value "soon" for flag -wait-ssh`},
		"wait in the past":              {adopt("--wait-ssh", "-5s", "web"), 2, `invalid value "-5s" for flag -wait-ssh`},
		"unknown source of Docker":      {adopt("--engine-install", "moon", "web"), 2, `invalid value "moon" for flag -engine-install`},
		"script without its address":    {adopt("--engine-install", "script", "web"), 2, "--engine-install script needs --engine-install-url"},
		"script that is a file":         {adopt("--engine-install-url", "file:///etc/passwd", "web"), 2, badFlags + "the address of the install script is not http://"},
		"label without a value":         {adopt("--engine-label", "x", "web"), 2, `invalid value "x" for flag -engine-label: it should be key=value`},
		"label without a key":           {adopt("--engine-label", "=x", "web"), 2, badFlags + `engine label "=x" is not key=value`},
		"label for a terminal":          {adopt("--engine-label", "a=\x1b]0;x\x07", "web"), 2, badFlags + "the value"},
		"label that is no text":         {adopt("--engine-label", "a=\xff", "web"), 2, badFlags + "a name or value is no valid UTF-8 text"},
		"environment that is none":      {adopt("--engine-env", "1A=b", "web"), 2, badFlags + "an engine environment variable is not NAME=value"},
		"environment on two lines":      {adopt("--engine-env", "A=b\nExecStartPre=/bin/id", "web"), 2, badFlags + "the value"},
		"option for a shell":            {adopt("--engine-opt", "$(touch pwned)", "web"), 2, badFlags + `"$(touch pwned)" is no engine option`},
		"option with dashes":            {adopt("--engine-opt", "--icc=false", "web"), 2, badFlags + `"--icc=false" is no engine option`},
		"storage driver for a shell":    {adopt("--engine-storage-driver", "a;id", "web"), 2, badFlags + `"a;id" is no storage driver`},
		"mirror that is no address":     {adopt("--engine-registry-mirror", "mirror", "web"), 2, badFlags + "a registry mirror is not http://"},
		"registry that is none":         {adopt("--engine-insecure-registry", "a b", "web"), 2, badFlags + `"a b" is no registry`},
		"SAN for a shell":               {adopt("--tls-san", "$(touch pwned)", "web"), 2, badFlags + `"$(touch pwned)" can't be a certificate's name`},
		"SAN that is no ASCII":          {adopt("--tls-san", "bücher.example", "web"), 2, badFlags + `"bücher.example" can't be a certificate's name`},
		"SAN with a port":               {adopt("--tls-san", "web:2376", "web"), 2, badFlags + `"web:2376" can't be a certificate's name`},

		"key file missing":              {withKey(filepath.Join(dir, "nothing")), 3, badCheck + `"the file of --generic-ssh-key does not exist`},
		"key file too open":             {withKey(write(t, filepath.Join(dir, "open"), string(content), 0o644)), 3, "permissions 0644 for '" + dir + "/open' are too open"},
		"key with a passphrase":         {withKey(newKey(t, "a passphrase", "-t", "ed25519")), 3, "has a passphrase"},
		"key with a passphrase, in PEM": {withKey(newKey(t, "a passphrase", "-t", "rsa", "-b", "2048", "-m", "PEM")), 3, "has a passphrase"},
		"key cut short":                 {withKey(write(t, filepath.Join(dir, "short"), string(content[:len(content)/2])+"\n-----END OPENSSH PRIVATE KEY-----\n", 0o600)), 3, "holds no private key that can be read"},
		"key file empty":                {withKey(write(t, filepath.Join(dir, "empty"), "", 0o600)), 3, "the SSH key file is empty"},
		"key file is a directory":       {withKey(dir), 3, "is not readable"},
		"key file is a pipe":            {withKey(pipe), 3, "is not readable"},
		"key file without an end":       {withKey("/dev/zero"), 3, "is not readable"},
		"public key":                    {withKey(key + ".pub"), 3, "the SSH key is a public key"},
		"key of PuTTY":                  {withKey(write(t, filepath.Join(dir, "ppk"), "PuTTY-User-Key-File-3: ssh-ed25519\n", 0o600)), 3, "the SSH key is in PuTTY's format"},
		"no key at all":                 {withKey(write(t, filepath.Join(dir, "text"), "hello\n", 0o600)), 3, "neither in OpenSSH's format nor in PEM"},
		"key file for a terminal":       {withKey(write(t, filepath.Join(dir, "\x1b[31mred\n"), string(content), 0o644)), 3, "are too open"},
		"no key and no ssh-agent":       {[]string{"create", "--driver", "generic", "--generic-ip-address", "127.0.0.1", "web"}, 3, "no SSH key is named and no ssh-agent is running"},

		"nobody listens":        {adopt("web"), 3, "connection refused"},
		"name that is nobody's": {adopt("--generic-ip-address", "nowhere.invalid", "web"), 3, "can't reach nowhere.invalid"},
		"a web server":          {adopt("--generic-ssh-port", webServer(t), "web"), 3, "it closed the connection"},
		"nothing of it is run":  {adopt("--engine-label", "a=$(touch pwned)", "--engine-env", "A=`touch pwned`", "web"), 3, "connection refused"},
	} {
		t.Run(name, func(t *testing.T) {
			inner := *u
			inner.t = t
			r := inner.refused(c.code, c.says, c.args...)
			// docker-machine's lines, and the help for who called it wrongly.
			for line := range strings.Lines(r.stdout) {
				if !strings.HasPrefix(r.stdout, "Incorrect Usage.\n") && !strings.HasPrefix(r.stdout, "Usage: ") && line != "Running pre-create checks...\n" {
					t.Errorf("on standard output: %q", r.stdout)
				}
			}
			inner.untouched()
		})
	}
	if _, err := os.Stat(filepath.Join(filepath.Dir(u.state), "pwned")); err == nil {
		t.Error("something that stood in an argument was run")
	}
}

func TestAnOutputThatIsNeitherTextNorJSONIsRefused(t *testing.T) {
	u := newUser(t)
	for _, args := range [][]string{{"--output", "xml", "ls"}, {"create", "--driver", "generic", "--output", "xml", "web"}} {
		if r := u.run(args...); r.code != 2 || !strings.Contains(r.stderr, `--output is text or json, not "xml"`) || r.stdout != "" {
			t.Error(r)
		} else {
			complaint(t, r)
		}
	}
}

func TestANameThatIsTakenIsRefusedAndWhatHasItStaysAsItIs(t *testing.T) {
	u := newUser(t)
	u.must("create", "--driver", "fake", "web")
	before, kept := u.must("--output", "json", "inspect", "web"), files(t, filepath.Join(u.state, "machines"))
	for _, driver := range [][]string{{"--driver", "fake"}, {"--driver", "generic", "--generic-ip-address", "127.0.0.1", "--generic-ssh-key", newKey(t, "")}} {
		args := append(append([]string{"create"}, driver...), "web")
		r := u.refused(1, `Docker machine "web" already exists`, args...)
		if first, _, _ := strings.Cut(r.stderr, "\n"); first != `Docker machine "web" already exists` {
			t.Errorf("docker-machine's users look for another line: %s", r)
		}
	}
	if after := u.must("--output", "json", "inspect", "web"); after != before {
		t.Errorf("it was\n%s\nand is\n%s", before, after)
	}
	now := files(t, filepath.Join(u.state, "machines"))
	for path, content := range kept {
		if now[path] != content {
			t.Errorf("%s was changed", path)
		}
	}
	if len(now) != len(kept) {
		t.Errorf("there were %d files, there are %d", len(kept), len(now))
	}
	foreign := filepath.Join(u.state, "machines", "old")
	if err := os.Mkdir(foreign, 0o700); err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(foreign, "config.json"), `{"DriverName":"virtualbox"}`, 0o600)
	u.refused(1, `Docker machine "old" already exists`, "create", "--driver", "fake", "old")
	if left := files(t, foreign); len(left) != 1 {
		t.Errorf("another program's folder holds %v", left)
	}
}

// Whatever stands for a name, it is only that.
func TestANameOnTheCommandLineIsNeitherRunNorPainted(t *testing.T) {
	u := newUser(t)
	for _, verb := range [][]string{
		{"status"}, {"url"}, {"ip"}, {"inspect"}, {"env", "--shell", "sh"}, {"config"}, {"start"}, {"stop"}, {"restart"}, {"kill"}, {"provision"}, {"upgrade"}, {"retry"},
		{"wait"}, {"regenerate-certs", "-f"}, {"ssh"}, {"version"}, {"rm", "-y"}, {"mount"}, {"--context"}, {"events", "--since"}, {"ls", "--filter"},
	} {
		for _, name := range []string{"$(touch pwned)'\"", "`touch pwned`;id", "\x1b[31mred\x07\u009b2J", "two\nlines", "../../etc", ""} {
			args := append(append([]string{}, verb...), name)
			if verb[0] == "--context" {
				args = append(args, "ls")
			}
			r := u.run(args...)
			if name == "" && r.code == 0 {
				continue // no name is another question
			}
			painted := strings.NewReplacer("\n", "", "\t", "").Replace(r.stdout + r.stderr)
			if r.code == 0 || strings.ContainsAny(painted, "\x1b\x07\u009b") || r.stderr == "" {
				t.Errorf("%s", r)
			}
			if j := u.run(append([]string{"--output", "json"}, args...)...); !json.Valid([]byte(j.stdout)) || j.code != r.code {
				t.Errorf("%s", j)
			}
		}
	}
	if left := files(t, filepath.Dir(u.state)); left[filepath.Join(filepath.Dir(u.state), "pwned")] != "" {
		t.Error("something was run")
	}
	if _, err := os.Stat(filepath.Join(filepath.Dir(u.state), "pwned")); err == nil {
		t.Error("something was run")
	}
}
