package host

import (
	"strings"
	"testing"
	"unicode"
)

func TestAWishThatNoHostCouldFulfilIsRefusedInASentence(t *testing.T) {
	for says, wish := range map[string]Engine{
		`"$(id)" is no engine option`:            {Options: []string{"icc=false", "$(id)"}},
		`"--icc=false" is no engine option`:      {Options: []string{"--icc=false"}},
		`"" is no engine option`:                 {Options: []string{""}},
		`engine option log-opt holds`:            {Options: []string{"log-opt=a\nExecStart=/bin/id"}},
		`engine label "x" is not key=value`:      {Labels: []string{"x"}},
		`engine label "=x" is not key=value`:     {Labels: []string{"a=b", "=x"}},
		`an engine label holds`:                  {Labels: []string{"a=\x1b[31m"}},
		`variable is not NAME=value`:             {Env: []string{"1A=b"}},
		`variable A holds`:                       {Env: []string{"A=b\nExecStartPre=/bin/id"}},
		`"a;b" is no storage driver`:             {StorageDriver: "a;b"},
		`"--help" is no storage driver`:          {StorageDriver: "--help"},
		`a registry mirror is not http://`:       {RegistryMirrors: []string{"mirror.example"}},
		`"a b" is no registry`:                   {InsecureRegistries: []string{"a b"}},
		`the install script is not http://`:      {InstallURL: "file:///etc/passwd"},
		`no address of one was given`:            {Install: InstallScript},
		`address of the install script is not`:   {Install: InstallScript, InstallURL: "$(id)"},
		`an insecure registry holds`:             {InsecureRegistries: []string{"a\x00"}},
		`engine option label holds a line break`: {Options: []string{"label=\xff"}},
	} {
		err := wish.Check()
		if err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("want %q: %v", says, err)
		} else if strings.ContainsFunc(err.Error(), unicode.IsControl) {
			t.Errorf("%q: %q would move a terminal's cursor", says, err)
		}
	}
}

func TestWhatIsLiteralIsTaken(t *testing.T) {
	wish := Engine{
		Install: InstallScript, InstallURL: "https://get.docker.com", StorageDriver: "overlay2",
		Labels: []string{"a=$(id)", "b=`id` 'x' \"y\"", "-c=-d", "d=", "e=é=é"}, Env: []string{"A=$(id) %h", "_b1=", "HTTP_PROXY=http://u:p@h"},
		Options:         []string{"icc=false", "debug", "log-opt=max-size=10m", "label=a=b", "bip=", "default-ulimit=nofile=1:2"},
		RegistryMirrors: []string{"https://mirror.example:5000/path", "http://[::1]:5000"}, InsecureRegistries: []string{"registry.example:5000", "10.0.0.0/8", "http://x"},
	}
	if err := wish.Check(); err != nil {
		t.Error(err)
	}
	if err := (Engine{}).Check(); err != nil {
		t.Errorf("nothing asked for: %v", err)
	}
}

func TestAVariablesValueIsNotShown(t *testing.T) {
	for variable, valid := range map[string]bool{
		"A=b": true, "_a1=": true, "A": false, "=b": false, "1A=b": false, "A-B=c": false, "A B=c": false, "secret\nA=b": false, "A=secret\n": false,
	} {
		err := CheckVariable(variable)
		if valid != (err == nil) {
			t.Errorf("%q: %v", variable, err)
		}
		if err != nil && strings.Contains(err.Error(), "secret") {
			t.Errorf("the value is shown: %v", err)
		}
	}
	if err := (Engine{InstallURL: "ftp://user:secret@host/"}).Check(); err == nil || strings.Contains(err.Error(), "secret") {
		t.Errorf("an address: %v", err)
	}
}

func TestControlCharactersAreRefused(t *testing.T) {
	for c := rune(0); c < 0x250; c++ {
		if err := CheckOption("x=a" + string(c)); unicode.IsControl(c) != (err != nil) {
			t.Errorf("%U: %v", c, err)
		}
	}
}

func TestACertificateCoversAddressesAndNamesAlone(t *testing.T) {
	for name, valid := range map[string]bool{
		"192.0.2.1": true, "2001:db8::1": true, "web": true, "web.example.com": true, "*.example.com": true, "a_b.example": true, "xn--bcher-kva.example": true,
		"": false, "$(id)": false, "`id`": false, "-dash": false, "a b": false, "it's": false, "bücher.example": false, "a..b": false, "*": false, "a.*": false,
		"https://web": false, "web:2376": false, "a\nb": false, strings.Repeat("a.", 127): false,
	} {
		if err := CheckSAN(name); valid != (err == nil) {
			t.Errorf("%q: %v", name, err)
		}
	}
}
