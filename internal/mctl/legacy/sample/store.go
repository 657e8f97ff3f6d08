// Package sample makes stores as docker-machine leaves them, for tests and measurements: whole ones, and machines with defects.
package sample

import (
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// Life is how long docker-machine's certificates live.
const Life = 1080 * 24 * time.Hour

// Pair is a certificate and its key.
type Pair struct {
	Leaf *x509.Certificate
	Key  *rsa.PrivateKey
}

// Certificate is the PEM of the one, PrivateKey of the other.
func (p Pair) Certificate() []byte { return block("CERTIFICATE", p.Leaf.Raw) }

// PrivateKey is PKCS #1, as docker-machine writes it.
func (p Pair) PrivateKey() []byte {
	return block("RSA PRIVATE KEY", x509.MarshalPKCS1PrivateKey(p.Key))
}

func block(kind string, der []byte) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der})
}

// Store is a store in the making. The keys of engines and hosts repeat, since making them is what takes long. Those of authorities do not: what
// one has signed would be every other's, too.
type Store struct {
	Dir       string // where it is
	Written   string // where it says that it is
	CA        Pair
	Client    Pair
	keys      []*rsa.PrivateKey
	made      int
	notBefore time.Time
}

// New begins a store in a directory, whose files say that it is at written.
func New(dir, written string) (*Store, error) {
	s := &Store{Dir: dir, Written: written, notBefore: time.Now().Add(-5 * time.Minute)}
	for range 6 {
		key, err := rsa.GenerateKey(rand.Reader, 2048)
		if err != nil {
			return nil, err
		}
		s.keys = append(s.keys, key)
	}
	var err error
	if s.CA, err = s.Authority("user", s.notBefore.Add(Life)); err != nil {
		return nil, err
	}
	if s.Client, err = s.Leaf("user.<bootstrap>", s.CA, x509.ExtKeyUsageClientAuth); err != nil {
		return nil, err
	}
	return s, s.write(filepath.Join(dir, "certs"), map[string][]byte{
		"ca.pem": s.CA.Certificate(), "ca-key.pem": s.CA.PrivateKey(), "cert.pem": s.Client.Certificate(), "key.pem": s.Client.PrivateKey(),
	})
}

// key is the next of a few.
func (s *Store) key() *rsa.PrivateKey {
	s.made++
	return s.keys[s.made%len(s.keys)]
}

// Authority makes a CA that ends at a time.
func (s *Store) Authority(organization string, end time.Time) (Pair, error) {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		return Pair{}, err
	}
	template := &x509.Certificate{
		Subject: pkix.Name{Organization: []string{organization}}, NotBefore: s.notBefore, NotAfter: end, IsCA: true, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageKeyEncipherment | x509.KeyUsageKeyAgreement | x509.KeyUsageCertSign,
	}
	if end.Before(s.notBefore) {
		template.NotBefore = end.Add(-Life)
	}
	return sign(template, key, template, key)
}

// Leaf makes a certificate of a CA's.
func (s *Store) Leaf(organization string, ca Pair, usage x509.ExtKeyUsage, names ...string) (Pair, error) {
	key := s.key()
	template := &x509.Certificate{
		Subject: pkix.Name{Organization: []string{organization}}, NotBefore: s.notBefore, NotAfter: s.notBefore.Add(Life),
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{usage}, DNSNames: []string{"localhost"},
	}
	for _, name := range names {
		if ip := net.ParseIP(name); ip != nil {
			template.IPAddresses = append(template.IPAddresses, ip)
		}
	}
	return sign(template, key, ca.Leaf, ca.Key)
}

func sign(template *x509.Certificate, key *rsa.PrivateKey, parent *x509.Certificate, parentKey *rsa.PrivateKey) (Pair, error) {
	var err error
	if template.SerialNumber, err = rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 128)); err != nil {
		return Pair{}, err
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, &key.PublicKey, parentKey)
	if err != nil {
		return Pair{}, err
	}
	leaf, err := x509.ParseCertificate(der)
	return Pair{leaf, key}, err
}

// Machine is what a folder of the store is made of.
type Machine struct {
	Name    string
	Driver  string // generic where nothing is said
	Address string
	CA      *Pair          // the store's where nothing is said
	Server  *Pair          // a new one where nothing is said
	Client  *Pair          // the store's where nothing is said
	SSHKey  []byte         // a new one where nothing is said
	Fields  map[string]any // more of the driver's object
	Labels  []string       // of the engine
}

// Add makes a machine's folder.
func (s *Store) Add(m Machine) error {
	if m.CA == nil {
		m.CA = &s.CA
	}
	if m.Client == nil {
		m.Client = &s.Client
	}
	if m.Server == nil {
		server, err := s.Leaf("user."+m.Name, *m.CA, x509.ExtKeyUsageServerAuth, m.Address)
		if err != nil {
			return err
		}
		m.Server = &server
	}
	if m.SSHKey == nil {
		m.SSHKey = block("RSA PRIVATE KEY", x509.MarshalPKCS1PrivateKey(s.key()))
	}
	if m.Driver == "" {
		m.Driver = "generic"
	}
	config, err := json.MarshalIndent(s.Config(m), "", "    ")
	if err != nil {
		return err
	}
	return s.write(s.Folder(m.Name), map[string][]byte{
		"config.json": config, "ca.pem": m.CA.Certificate(), "cert.pem": m.Client.Certificate(), "key.pem": m.Client.PrivateKey(),
		"server.pem": m.Server.Certificate(), "server-key.pem": m.Server.PrivateKey(), "id_rsa": m.SSHKey,
	})
}

// Folder is where a machine's files are.
func (s *Store) Folder(name string) string { return filepath.Join(s.Dir, "machines", name) }

// Config is a machine's config.json.
func (s *Store) Config(m Machine) map[string]any {
	folder, certs := filepath.Join(s.Written, "machines", m.Name), filepath.Join(s.Written, "certs")
	driver := map[string]any{
		"IPAddress": m.Address, "MachineName": m.Name, "SSHUser": "root", "SSHPort": sshPort(m.Address), "SSHKeyPath": filepath.Join(folder, "id_rsa"),
		"StorePath": s.Written, "SwarmMaster": false, "SwarmHost": "", "SwarmDiscovery": "",
	}
	if m.Driver == "generic" {
		driver["EnginePort"], driver["SSHKey"] = 2376, "/home/user/.ssh/id_rsa"
	}
	for name, value := range m.Fields {
		driver[name] = value
	}
	return map[string]any{
		"ConfigVersion": 3, "Driver": driver, "DriverName": m.Driver, "Name": m.Name,
		"HostOptions": map[string]any{
			"Driver": "", "Memory": 0, "Disk": 0,
			"EngineOptions": map[string]any{
				"ArbitraryFlags": []string{}, "Dns": nil, "GraphDir": "", "Env": []string{}, "Ipv6": false, "InsecureRegistry": []string{},
				"Labels": m.Labels, "LogLevel": "", "StorageDriver": "overlay2", "SelinuxEnabled": false, "TlsVerify": true,
				"RegistryMirror": []string{}, "InstallURL": "https://get.docker.com",
			},
			"SwarmOptions": map[string]any{"IsSwarm": false, "Discovery": "", "Host": "tcp://0.0.0.0:3376", "Image": "swarm:latest", "Strategy": "spread"},
			"AuthOptions": map[string]any{
				"CertDir": certs, "CaCertPath": filepath.Join(certs, "ca.pem"), "CaPrivateKeyPath": filepath.Join(certs, "ca-key.pem"),
				"CaCertRemotePath": "", "ServerCertPath": filepath.Join(folder, "server.pem"), "ServerKeyPath": filepath.Join(folder, "server-key.pem"),
				"ClientKeyPath": filepath.Join(certs, "key.pem"), "ServerCertRemotePath": "", "ServerKeyRemotePath": "",
				"ClientCertPath": filepath.Join(certs, "cert.pem"), "ServerCertSANs": []string{}, "StorePath": folder,
			},
		},
	}
}

// Fill adds so many whole machines, named prefix-0001 and so on, at addresses nobody has.
func (s *Store) Fill(prefix string, count int) error {
	for i := range count {
		name := fmt.Sprintf("%s-%04d", prefix, i+1)
		if err := s.Add(Machine{Name: name, Address: Address(i)}); err != nil {
			return err
		}
	}
	return nil
}

// Address is one of this computer's own, on which nobody answers at the port that such machines are given.
func Address(i int) string { return fmt.Sprintf("127.9.%d.%d", i/254%254, i%254+1) }

// sshPort is where a host is logged in to: for one that is not there a port at which nobody listens.
func sshPort(address string) int {
	if strings.HasPrefix(address, "127.") {
		return 9
	}
	return 22
}

// write puts files into a directory, with docker-machine's modes.
func (s *Store) write(dir string, files map[string][]byte) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	for name, content := range files {
		mode := os.FileMode(0o600)
		if filepath.Ext(name) == ".pem" && name != "key.pem" && name != "ca-key.pem" && name != "server-key.pem" {
			mode = 0o644
		}
		if err := os.WriteFile(filepath.Join(dir, name), content, mode); err != nil {
			return err
		}
	}
	return nil
}
