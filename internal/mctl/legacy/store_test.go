package legacy

import (
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"

	"mctl/internal/fault"
	"mctl/internal/mctl/legacy/sample"
	"mctl/internal/pki"
	controllerv1 "mctl/proto/mctl/controller/v1"
)

// flags are the schemas of our own drivers, as far as they matter here.
func flags() map[string][]*controllerv1.DriverFlag {
	value := func(names ...string) (all []*controllerv1.DriverFlag) {
		for _, name := range names {
			all = append(all, &controllerv1.DriverFlag{Name: name, Kind: controllerv1.DriverFlag_KIND_VALUE})
		}
		return all
	}
	return map[string][]*controllerv1.DriverFlag{
		"generic": append(value("generic-ip-address", "generic-ssh-user", "generic-ssh-port", "generic-engine-port"),
			&controllerv1.DriverFlag{Name: "generic-ssh-key", Kind: controllerv1.DriverFlag_KIND_FILE}),
		"google": append(value("google-project", "google-zone", "google-username", "google-use-existing", "google-open-port", "google-disk-size"),
			&controllerv1.DriverFlag{Name: "google-auth-encoded-json", Kind: controllerv1.DriverFlag_KIND_SECRET}),
		"none": value("url"),
	}
}

func reader(dir string) *Reader {
	return &Reader{
		Dir: dir, Now: time.Now(), Flags: flags(),
		Credential: func(string) (*controllerv1.DriverOption, string, error) { return nil, "", nil },
	}
}

func read(t *testing.T, r *Reader) map[string]*Machine {
	t.Helper()
	plan, err := r.Read()
	if err != nil {
		t.Fatal(err)
	}
	machines := map[string]*Machine{}
	for _, m := range plan.Machines {
		machines[m.Name] = m
	}
	return machines
}

func newStore(t *testing.T) *sample.Store {
	t.Helper()
	s, err := sample.New(t.TempDir(), "/home/user/.docker/machine")
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// hash is a whole tree: names, modes, times and contents.
func hash(t *testing.T, dir string) string {
	t.Helper()
	sum := sha256.New()
	err := filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := entry.Info()
		if err != nil {
			return err
		}
		sum.Write([]byte(path + info.Mode().String() + info.ModTime().String()))
		if !info.Mode().IsRegular() {
			return nil
		}
		text, err := os.ReadFile(path)
		sum.Write(text)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return hex.EncodeToString(sum.Sum(nil))
}

func TestEveryDefectOfAStoreOfAThousandMachinesIsFoundAndTheRestIsWhole(t *testing.T) {
	s := newStore(t)
	planted, err := s.Plant()
	if err != nil {
		t.Fatal(err)
	}
	if len(planted) < 20 {
		t.Fatalf("only %d defects", len(planted))
	}
	if err := s.Fill("host", 1000-len(planted)); err != nil {
		t.Fatal(err)
	}
	before, began := hash(t, s.Dir), time.Now()
	machines := read(t, reader(s.Dir))
	t.Logf("%d machines read in %s", len(machines), time.Since(began))
	if len(machines) != 1000 {
		t.Errorf("%d machines", len(machines))
	}
	if hash(t, s.Dir) != before {
		t.Error("the store was changed")
	}
	for _, d := range planted {
		m := machines[d.Machine]
		if m == nil {
			t.Errorf("%s is missing", d.Machine)
			continue
		}
		delete(machines, d.Machine)
		said := m.Notes
		if m.Problem != nil {
			said = append(said, *m.Problem)
		}
		if (m.Problem != nil) != d.Fatal || (m.Request == nil) != d.Fatal || len(said) != 1 || !strings.Contains(said[0].Message, d.Says) {
			t.Errorf("%s: problem %v, notes %q, want %q", d.Machine, m.Problem, m.Notes, d.Says)
		}
	}
	for _, m := range machines {
		if m.Problem != nil || len(m.Notes) > 0 {
			t.Errorf("%s has no defect: %v %q", m.Name, m.Problem, m.Notes)
			continue
		}
		checkWhole(t, s, m)
	}
}

// checkWhole holds what is sent to the controller against the files that it came from.
func checkWhole(t *testing.T, s *sample.Store, m *Machine) {
	t.Helper()
	r := m.Request
	signer, err := ssh.ParsePrivateKey(r.GetSshKey())
	if err != nil {
		t.Errorf("%s: SSH key: %v", m.Name, err)
		return
	}
	onDisk, err := os.ReadFile(filepath.Join(s.Folder(m.Name), "id_rsa")) // the path in config.json is where the store was
	if err != nil {
		t.Fatal(err)
	}
	if other, err := ssh.ParsePrivateKey(onDisk); err != nil || string(other.PublicKey().Marshal()) != string(signer.PublicKey().Marshal()) {
		t.Errorf("%s: another machine's SSH key: %v", m.Name, err)
	}
	ca, err := pki.DecodeCertificates(r.GetAuthorityCertificate())
	if err != nil || !ca[0].Equal(s.CA.Leaf) {
		t.Errorf("%s: another CA: %v", m.Name, err)
		return
	}
	key, err := pki.DecodeKey(r.GetAuthorityKey())
	if err != nil || !pki.Matches(key, ca[0]) {
		t.Errorf("%s: the CA's key: %v", m.Name, err)
	}
	if r.GetServerKey() != nil || m.Client.Key != nil {
		t.Errorf("%s: the server's key travels although the CA can issue new ones", m.Name)
	}
	given := map[string]string{}
	for _, o := range r.GetSpec().GetDriverOptions() {
		given[o.GetName()] = strings.Join(o.GetValues(), ",") + string(o.GetContent())
	}
	if given["generic-ip-address"] != m.Address || given["generic-ssh-user"] != "root" || given["generic-ssh-port"] != "9" || given["generic-engine-port"] != "2376" || given["generic-ssh-key"] != string(onDisk) {
		t.Errorf("%s: options %v", m.Name, r.GetSpec().GetDriverOptions())
	}
	if r.GetSsh().GetAddress() != m.Address || r.GetSsh().GetPort() != 9 || m.Becomes != "generic" || !strings.HasPrefix(m.Authority, "imported-") {
		t.Errorf("%s: %v, becomes %s under %s", m.Name, r.GetSsh(), m.Becomes, m.Authority)
	}
}

func TestWhereTheKeyOfTheCAIsLostTheServersPairTravels(t *testing.T) {
	s := newStore(t)
	if err := s.Add(sample.Machine{Name: "web", Address: "192.0.2.1"}); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(filepath.Join(s.Dir, "certs", "ca-key.pem")); err != nil {
		t.Fatal(err)
	}
	m := read(t, reader(s.Dir))["web"]
	leaf, err := pki.DecodeCertificates(m.Request.GetServerCertificate())
	if err != nil {
		t.Fatal(err)
	}
	key, err := pki.DecodeKey(m.Request.GetServerKey())
	if err != nil || !pki.Matches(key, leaf[0]) || m.Request.GetAuthorityKey() != nil || len(m.Request.GetAuthorityCertificate()) == 0 {
		t.Errorf("the pair is %v, %v", leaf[0].Subject, err)
	}
	client, err := pki.DecodeCertificates(m.Client.Certificate)
	if err != nil {
		t.Fatal(err)
	}
	_, err = client[0].Verify(x509.VerifyOptions{Roots: pki.Pool(s.CA.Leaf), KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}})
	if key, keyErr := pki.DecodeKey(m.Client.Key); err != nil || keyErr != nil || !pki.Matches(key, client[0]) {
		t.Errorf("the client's certificate: %v, %v", err, keyErr)
	}
	if len(m.Notes) != 1 || !strings.Contains(m.Notes[0].Message, leaf[0].NotAfter.UTC().Format(time.DateOnly)) || m.Notes[0].Hint == "" {
		t.Errorf("%q", m.Notes)
	}
	if err := os.Remove(filepath.Join(s.Folder("web"), "server-key.pem")); err != nil {
		t.Fatal(err)
	}
	m = read(t, reader(s.Dir))["web"]
	if m.Authority != "mctl" || m.Request.GetAuthorityCertificate() != nil || len(m.Notes) != 2 {
		t.Errorf("with neither: under %s, %q", m.Authority, m.Notes)
	}
}

func TestThirdPartiesDriversKeepTheirJSONByteForByte(t *testing.T) {
	s := newStore(t)
	fields := map[string]any{"AccessKey": "AKIA", "SecretKey": "s3cret", "InstanceId": "i-1", "Odd": map[string]any{"b": 1.50, "a": []int{3}}}
	if err := s.Add(sample.Machine{Name: "cloud", Driver: "amazonec2", Address: "192.0.2.7", Fields: fields}); err != nil {
		t.Fatal(err)
	}
	m := read(t, reader(s.Dir))["cloud"]
	text, err := os.ReadFile(filepath.Join(s.Folder("cloud"), "config.json"))
	if err != nil {
		t.Fatal(err)
	}
	if config := string(m.Request.GetDriverConfig()); !strings.Contains(string(text), `"Driver": `+config+`,`) {
		t.Errorf("sent %s", config)
	}
	if m.Becomes != "plugin:amazonec2" || m.Request.GetStorePath() != s.Written || m.Request.GetSsh().GetAddress() != "192.0.2.7" || len(m.Request.GetSpec().GetDriverOptions()) > 0 {
		t.Errorf("%s at %v, store %s", m.Becomes, m.Request.GetSsh(), m.Request.GetStorePath())
	}
	r := reader(s.Dir)
	r.PluginBinary = "/opt/docker-machine"
	if m := read(t, r)["cloud"]; m.Request.GetSpec().GetDriver() != "plugin:amazonec2@/opt/docker-machine" {
		t.Errorf("with a program: %s", m.Request.GetSpec().GetDriver())
	}
}

func TestAGoogleMachineGoesOnWithItsInstance(t *testing.T) {
	s := newStore(t)
	google := sample.Machine{Name: "g", Driver: "google", Address: "192.0.2.8", Fields: map[string]any{
		"Project": "p", "Zone": "us-east1-b", "SSHUser": "docker-user", "OpenPorts": []string{"80", "443"}, "DiskSize": 20, "UseExisting": false,
	}}
	if err := s.Add(google); err != nil {
		t.Fatal(err)
	}
	if m := read(t, reader(s.Dir))["g"]; m.Problem == nil || !strings.Contains(m.Problem.Message, "no credential") || m.Problem.Hint == "" {
		t.Errorf("without a credential: %v", m.Problem)
	}
	r := reader(s.Dir)
	r.Credential = func(string) (*controllerv1.DriverOption, string, error) {
		return &controllerv1.DriverOption{Name: "google-application-credentials", Content: []byte("{}")}, "", nil
	}
	m := read(t, r)["g"]
	given := map[string]string{}
	for _, o := range m.Request.GetSpec().GetDriverOptions() {
		given[o.GetName()] = strings.Join(o.GetValues(), ",") + string(o.GetContent())
	}
	want := map[string]string{
		"google-project": "p", "google-zone": "us-east1-b", "google-username": "docker-user", "google-open-port": "80,443",
		"google-disk-size": "20", "google-use-existing": "true", "google-application-credentials": "{}",
	}
	for name, value := range want {
		if given[name] != value {
			t.Errorf("--%s is %q, want %q", name, given[name], value)
		}
	}
	if len(given) != len(want) || m.Becomes != "google" {
		t.Errorf("%v", given)
	}
	r.Credential = func(string) (*controllerv1.DriverOption, string, error) { return nil, "prod", nil }
	if m := read(t, r)["g"]; m.Request.GetSpec().GetCredential() != "prod" {
		t.Errorf("a stored credential: %v", m.Request.GetSpec())
	}
	google.Name = "renamed"
	google.Fields["MachineName"] = "other"
	if err := s.Add(google); err != nil {
		t.Fatal(err)
	}
	if m := read(t, r)["renamed"]; m.Problem == nil || !strings.Contains(m.Problem.Message, `"other"`) {
		t.Errorf("renamed: %v", m.Problem)
	}
}

func TestTheNoneDriversAddressIsAURL(t *testing.T) {
	s := newStore(t)
	if err := s.Add(sample.Machine{Name: "n", Driver: "none", Address: "192.0.2.9:2376", Fields: map[string]any{"URL": "tcp://192.0.2.9:2376"}}); err != nil {
		t.Fatal(err)
	}
	m := read(t, reader(s.Dir))["n"]
	if o := m.Request.GetSpec().GetDriverOptions(); len(o) != 1 || o[0].GetValues()[0] != "tcp://192.0.2.9:2376" || m.Request.GetSsh() != nil || len(m.Notes) > 0 {
		t.Errorf("%v, %q", m.Request, m.Notes)
	}
}

func TestFoldersOfOursAndHiddenOnesAreNotTheStores(t *testing.T) {
	s := newStore(t)
	for _, name := range []string{"theirs", "ours"} {
		if err := s.Add(sample.Machine{Name: name, Address: "192.0.2.1"}); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Mkdir(s.Folder(".hidden"), 0o700); err != nil {
		t.Fatal(err)
	}
	r := reader(s.Dir)
	r.Ours = func(name string) bool { return name == "ours" }
	if got := read(t, r); len(got) != 1 || got["theirs"] == nil {
		t.Errorf("%v", got)
	}
}

func TestWhatIsNoStoreIsRefusedWithAHint(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "file")
	machines := filepath.Join(dir, "store", "machines")
	if err := errors.Join(os.WriteFile(file, nil, 0o600), os.MkdirAll(machines, 0o700)); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{dir, file, filepath.Join(dir, "nowhere"), machines} {
		_, err := reader(path).Read()
		if !fault.Is(err, fault.Precondition) || fault.HintOf(err) == "" || !strings.Contains(err.Error(), "no store") {
			t.Errorf("%s: %v, hint %q", path, err, fault.HintOf(err))
		}
	}
	if _, err := reader(filepath.Dir(machines)).Read(); err != nil {
		t.Errorf("an empty store: %v", err)
	}
}

func TestOldVersionsOfConfigJSONAreRead(t *testing.T) {
	s := newStore(t)
	if err := s.Add(sample.Machine{Name: "old", Address: "192.0.2.1"}); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(s.Folder("old"), "config.json")
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	old := strings.NewReplacer(`"ConfigVersion": 3`, `"ConfigVersion": 1`, `"CaPrivateKeyPath"`, `"PrivateKeyPath"`).Replace(string(text))
	if err := os.WriteFile(path, []byte(old), 0o600); err != nil {
		t.Fatal(err)
	}
	if m := read(t, reader(s.Dir))["old"]; m.Problem != nil || len(m.Notes) > 0 || len(m.Request.GetAuthorityKey()) == 0 {
		t.Errorf("%v %q", m.Problem, m.Notes)
	}
}

// alter changes a file of the store as text.
func alter(t *testing.T, path string, change func(string) string) {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(change(string(text))), 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestAHostileConfigJSONChoosesNoProgramAndIsToldInASentence(t *testing.T) {
	s := newStore(t)
	swap := func(from, to string) func(string) string {
		return func(text string) string { return strings.Replace(text, from, to, 1) }
	}
	whole := func(text string) func(string) string { return func(string) string { return text } }
	for name, c := range map[string]struct {
		change func(string) string
		says   string
	}{
		"a file":           {swap(`"DriverName": "generic"`, `"DriverName": "cloudy@/tmp/evil"`), "names a driver that can be none"},
		"a path":           {swap(`"DriverName": "generic"`, `"DriverName": "../../tmp/evil"`), "names a driver that can be none"},
		"our prefix":       {swap(`"DriverName": "generic"`, `"DriverName": "plugin:generic"`), "names a driver that can be none"},
		"a long driver":    {swap(`"DriverName": "generic"`, `"DriverName": "`+strings.Repeat("d", 100_000)+`"`), "names a driver that can be none"},
		"a terminal's":     {swap(`"IPAddress": "192.0.2.7"`, `"IPAddress": "192.0.2.7\u001b[2J"`), "has an address that is none"},
		"a long address":   {swap(`"IPAddress": "192.0.2.7"`, `"IPAddress": "`+strings.Repeat("1", 100_000)+`"`), "has an address that is none"},
		"no whole port":    {swap(`"SSHPort": 22`, `"SSHPort": 22.5`), "SSHPort is of the wrong kind"},
		"a huge port":      {swap(`"SSHPort": 22`, `"SSHPort": 1e400`), "SSHPort is of the wrong kind"},
		"digits":           {swap(`"SSHPort": 22`, `"SSHPort": `+strings.Repeat("9", 300_000)), "SSHPort is of the wrong kind"},
		"a huge version":   {swap(`"ConfigVersion": 3`, `"ConfigVersion": `+strings.Repeat("9", 300_000)), "has a version that is none"},
		"below zero":       {swap(`"ConfigVersion": 3`, `"ConfigVersion": -1`), "has a version that is none"},
		"nesting":          {whole(strings.Repeat("[", 1_000_000)), "is no JSON"},
		"a list":           {whole(`[]`), "has a version that is none"},
		"no object":        {whole(`{"ConfigVersion": 3, "DriverName": "cloudy", "Driver": null}`), "has no driver's object"},
		"two mebibytes":    {whole(strings.Repeat(" ", 2<<20)), "larger than a mebibyte"},
		"wrong everywhere": {whole(`{"ConfigVersion": 3, "DriverName": "cloudy", "Driver": {}, "HostOptions": 1}`), "HostOptions is of the wrong kind"},
	} {
		t.Run(name, func(t *testing.T) {
			if err := s.Add(sample.Machine{Name: "web", Address: "192.0.2.7"}); err != nil {
				t.Fatal(err)
			}
			alter(t, filepath.Join(s.Folder("web"), "config.json"), c.change)
			m := read(t, reader(s.Dir))["web"]
			if m.Problem == nil || m.Request != nil || m.Becomes != "" {
				t.Fatalf("it becomes %q: %v", m.Becomes, m.Problem)
			}
			if said := m.Problem.Message; !strings.Contains(said, c.says) || len(said) > maxSentence || len(m.Address) > maxAddress || strings.ContainsAny(said+m.Address+m.Driver, "\x1b\n") {
				t.Errorf("it says %.600q, at %.40q", said, m.Address)
			}
		})
	}
}

func TestWhatAStoreHasInItsPathsIsToldInOneLineOfBoundedLength(t *testing.T) {
	s := newStore(t)
	for name, path := range map[string]string{"lines": "/nowhere/\x1b[31m\nkey", "long": "/nowhere/" + strings.Repeat("k", 200_000)} {
		if err := s.Add(sample.Machine{Name: name, Address: "192.0.2.7", Fields: map[string]any{"SSHKeyPath": path}}); err != nil {
			t.Fatal(err)
		}
		if err := os.Remove(filepath.Join(s.Folder(name), "id_rsa")); err != nil {
			t.Fatal(err)
		}
	}
	for name, m := range read(t, reader(s.Dir)) {
		if len(m.Notes) != 1 || m.Request == nil {
			t.Fatalf("%s: %v %v", name, m.Problem, m.Notes)
		}
		for _, text := range []string{m.Notes[0].Message, m.Request.GetAgentless()} {
			if !strings.Contains(text, "its SSH key /nowhere/") || len(text) > maxSentence+len("...") || strings.ContainsAny(text, "\x1b\n") {
				t.Errorf("%s: %.600q", name, text)
			}
		}
	}
}

func TestWhatIsNoFileIsNeitherReadNorWaitedFor(t *testing.T) {
	s := newStore(t)
	elsewhere := newStore(t)
	if err := elsewhere.Add(sample.Machine{Name: "there", Address: "192.0.2.8"}); err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(filepath.Dir(s.Folder("link")), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(elsewhere.Folder("there"), s.Folder("link")); err != nil {
		t.Fatal(err)
	}
	for name, file := range map[string]string{"config": "config.json", "key": "id_rsa", "authority": "ca.pem", "server": "server.pem"} {
		if err := s.Add(sample.Machine{Name: name, Address: "192.0.2.7"}); err != nil {
			t.Fatal(err)
		}
		path := filepath.Join(s.Folder(name), file)
		if err := errors.Join(os.Remove(path), syscall.Mkfifo(path, 0o600)); err != nil {
			t.Fatal(err)
		}
	}
	for name, file := range map[string]string{"sparse-config": "config.json", "sparse-key": "id_rsa", "sparse-authority": "ca.pem"} {
		if err := s.Add(sample.Machine{Name: name, Address: "192.0.2.7"}); err != nil {
			t.Fatal(err)
		}
		if err := os.Truncate(filepath.Join(s.Folder(name), file), 2<<30); err != nil {
			t.Fatal(err)
		}
	}
	machines := read(t, reader(s.Dir))
	for name, says := range map[string]string{
		"link": "its folder is a link", "config": "not a regular file", "key": "not a regular file", "authority": "not a regular file", "server": "not a regular file",
		"sparse-config": "larger than a mebibyte", "sparse-key": "larger than a mebibyte", "sparse-authority": "larger than a mebibyte",
	} {
		m := machines[name]
		if m == nil {
			t.Errorf("%s is not told of", name)
			continue
		}
		said := fmt.Sprint(m.Problem, m.Notes)
		if fatal := strings.HasSuffix(name, "config") || name == "link"; !strings.Contains(said, says) || fatal != (m.Request == nil) {
			t.Errorf("%s: %s", name, said)
		}
	}
}

func TestWithTheServersCertificateNoKeyTravelsThatStandsBesideItInTheFile(t *testing.T) {
	s := newStore(t)
	if err := s.Add(sample.Machine{Name: "web", Address: "192.0.2.7"}); err != nil {
		t.Fatal(err)
	}
	key, err := os.ReadFile(filepath.Join(s.Folder("web"), "server-key.pem"))
	if err != nil {
		t.Fatal(err)
	}
	alter(t, filepath.Join(s.Folder("web"), "server.pem"), func(text string) string { return text + string(key) })
	alter(t, filepath.Join(s.Dir, "certs", "ca-key.pem"), func(string) string { return "" })
	m := read(t, reader(s.Dir))["web"]
	if text := string(m.Request.GetServerCertificate()); !strings.Contains(text, "CERTIFICATE") || strings.Contains(text, "PRIVATE KEY") {
		t.Errorf("%v: %s", m.Notes, text)
	}
}

func TestAStoreThatWasNamedByARelativePathIsFound(t *testing.T) {
	for _, written := range []string{".", "rel"} { // as docker-machine -s writes it
		s, err := sample.New(t.TempDir(), written)
		if err != nil {
			t.Fatal(err)
		}
		if err := s.Add(sample.Machine{Name: "web", Address: "127.9.0.7"}); err != nil {
			t.Fatal(err)
		}
		if err := s.Add(sample.Machine{Name: "lent", Address: "192.0.2.8", Fields: map[string]any{"SSHKeyPath": ""}}); err != nil {
			t.Fatal(err)
		}
		machines := read(t, reader(s.Dir))
		checkWhole(t, s, machines["web"])
		if lent := machines["lent"]; len(lent.Notes) > 0 || len(lent.Request.GetSshKey()) == 0 || !strings.HasPrefix(lent.Authority, "imported-") {
			t.Errorf("%s: %v", written, lent.Notes)
		}
	}
}

func TestAKeyOfTheCAThatHasAPassphraseIsToldAsOne(t *testing.T) {
	s := newStore(t)
	if err := s.Add(sample.Machine{Name: "web", Address: "192.0.2.7"}); err != nil {
		t.Fatal(err)
	}
	for _, kind := range []string{"-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n", "-----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\nDEK-Info: AES-128-CBC,00\n\nAAAA\n-----END RSA PRIVATE KEY-----\n"} {
		alter(t, filepath.Join(s.Dir, "certs", "ca-key.pem"), func(string) string { return kind })
		m := read(t, reader(s.Dir))["web"]
		if len(m.Notes) != 1 || !strings.Contains(m.Notes[0].Message, "the key of its CA has a passphrase") || len(m.Request.GetServerKey()) == 0 {
			t.Errorf("%v", m.Notes)
		}
	}
}
