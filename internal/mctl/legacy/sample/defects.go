package sample

import (
	"bytes"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/crypto/ssh"
)

// Defect is one that was planted.
type Defect struct {
	Machine string
	Says    string // a part of the sentence that it is to be told with
	Fatal   bool   // the machine can't be imported
}

// Plant adds a machine for each defect that is known.
func (s *Store) Plant() ([]Defect, error) {
	other, err := s.Authority("somebody", s.notBefore.Add(Life))
	if err != nil {
		return nil, err
	}
	var planted []Defect
	for _, d := range []struct {
		Defect
		make func(name string) error
	}{
		{Defect{"empty-folder", "folder is empty", true}, func(n string) error { return os.MkdirAll(s.Folder(n), 0o700) }},
		{Defect{"no-config", "has no config.json", true}, s.without("config.json")},
		{Defect{"empty-config", "config.json is empty", true}, s.with("config.json", nil)},
		{Defect{"truncated", "cut off", true}, s.cut},
		{Defect{"unreadable", "can't be read", true}, s.unreadable},
		{Defect{"future", "version 4", true}, s.changed(func(c map[string]any) { c["ConfigVersion"] = 4 })},
		{Defect{"no-driver", "names no driver", true}, s.changed(func(c map[string]any) { c["DriverName"] = "" })},
		{Defect{"no-object", "no driver's object", true}, s.changed(func(c map[string]any) { delete(c, "Driver") })},
		{Defect{"bad_name", "can't name a host", true}, s.whole},
		{Defect{"copy", "a folder of that name, too", true}, s.changed(func(c map[string]any) { c["Name"] = "dangling-key" })},
		{Defect{"no-address", "no address of its host", true}, s.changed(func(c map[string]any) { c["Driver"].(map[string]any)["IPAddress"] = "" })},
		{Defect{"dangling-key", "SSH key", false}, s.without("id_rsa")},
		{Defect{"no-key", "is no private key", false}, s.with("id_rsa", []byte("-----BEGIN NONSENSE-----\n"))},
		{Defect{"locked-key", "has a passphrase", false}, s.locked},
		{Defect{"lost-ca-key", "the key of its CA is missing", false}, s.under(other, nil)},
		{Defect{"wrong-ca-key", "the key of its CA is another one's", false}, s.under(other, s.Client.PrivateKey())},
		{Defect{"expired-ca", "its CA expired on", false}, s.expired},
		{Defect{"no-ca", "its CA certificate", false}, s.noAuthority},
		{Defect{"other-server", "server certificate is not from its CA", false}, s.from(func(m *Machine) { m.Server = &Pair{other.Leaf, other.Key} })},
		{Defect{"server-key", "the key of its server certificate is another one's", false}, s.with("server-key.pem", s.otherKey())},
		{Defect{"other-client", "client certificate is not from its CA", false}, s.from(func(m *Machine) { m.Client = &Pair{other.Leaf, other.Key} })},
	} {
		if err := d.make(d.Machine); err != nil {
			return nil, err
		}
		planted = append(planted, d.Defect)
	}
	return planted, nil
}

func (s *Store) whole(name string) error { return s.Add(Machine{Name: name, Address: Address(0)}) }

// from is a machine of another make.
func (s *Store) from(change func(*Machine)) func(string) error {
	return func(name string) error {
		m := Machine{Name: name, Address: Address(1)}
		change(&m)
		return s.Add(m)
	}
}

func (s *Store) without(file string) func(string) error {
	return func(name string) error {
		if err := s.whole(name); err != nil {
			return err
		}
		return os.Remove(filepath.Join(s.Folder(name), file))
	}
}

func (s *Store) with(file string, content []byte) func(string) error {
	return func(name string) error {
		if err := s.whole(name); err != nil {
			return err
		}
		return os.WriteFile(filepath.Join(s.Folder(name), file), content, 0o600)
	}
}

// changed is a machine whose config.json is another one.
func (s *Store) changed(change func(map[string]any)) func(string) error {
	return func(name string) error {
		config := s.Config(Machine{Name: name, Driver: "generic", Address: Address(2)})
		change(config)
		text, err := json.Marshal(config)
		if err != nil {
			return err
		}
		return s.with("config.json", text)(name)
	}
}

func (s *Store) cut(name string) error {
	if err := s.whole(name); err != nil {
		return err
	}
	return os.Truncate(filepath.Join(s.Folder(name), "config.json"), 200)
}

// unreadable is for everybody, root too.
func (s *Store) unreadable(name string) error {
	if err := s.without("config.json")(name); err != nil {
		return err
	}
	return os.Mkdir(filepath.Join(s.Folder(name), "config.json"), 0o700)
}

func (s *Store) locked(name string) error {
	block, err := ssh.MarshalPrivateKeyWithPassphrase(s.key(), "", []byte("secret"))
	if err != nil {
		return err
	}
	return s.with("id_rsa", pem.EncodeToMemory(block))(name)
}

// otherKey is none that a server certificate has.
func (s *Store) otherKey() []byte {
	return block("RSA PRIVATE KEY", x509.MarshalPKCS1PrivateKey(s.CA.Key))
}

// under is a machine of another CA, whose key is in a place of its own.
func (s *Store) under(ca Pair, key []byte) func(string) error {
	return func(name string) error {
		client, err := s.Leaf("user", ca, x509.ExtKeyUsageClientAuth)
		if err != nil {
			return err
		}
		if err := s.from(func(m *Machine) { m.CA, m.Client = &ca, &client })(name); err != nil {
			return err
		}
		if key != nil {
			if err := s.write(filepath.Join(s.Dir, "certs"), map[string][]byte{name + "-key.pem": key}); err != nil {
				return err
			}
		}
		path := filepath.Join(s.Folder(name), "config.json")
		text, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		return os.WriteFile(path, bytes.ReplaceAll(text, []byte("/certs/ca-key.pem"), []byte("/certs/"+name+"-key.pem")), 0o600)
	}
}

func (s *Store) expired(name string) error {
	ca, err := s.Authority("late", time.Now().Add(-time.Hour))
	if err != nil {
		return err
	}
	return s.under(ca, ca.PrivateKey())(name)
}

func (s *Store) noAuthority(name string) error {
	if err := s.without("ca.pem")(name); err != nil {
		return err
	}
	path := filepath.Join(s.Folder(name), "config.json")
	text, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	return os.WriteFile(path, bytes.ReplaceAll(text, []byte("/certs/ca.pem"), []byte("/certs/gone.pem")), 0o600)
}
