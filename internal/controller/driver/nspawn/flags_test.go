package nspawn

import (
	"strings"
	"testing"

	"mctl/internal/controller/driver"
	"mctl/internal/fault"
)

func TestOptionsAreCheckedWithoutTheComputer(t *testing.T) {
	for _, c := range []struct {
		flag, value string
		says        string // nothing for one that is fine
	}{
		{flagCPUs, "2", ""}, {flagCPUs, "0.5", ""}, {flagCPUs, "0", ""}, {flagCPUs, "many", "bad number"}, {flagCPUs, "-1", "bad number"}, {flagCPUs, "NaN", "bad number"}, {flagCPUs, "Inf", "bad number"},
		{flagMemory, "512", ""}, {flagMemory, "0", ""}, {flagMemory, "5", "too little"}, {flagMemory, "-512", "too little"}, {flagMemory, "9999999999999", "too much"},
		{flagImage, "/srv/root", ""}, {flagImage, "root", "absolute"},
		{flagSubnet, "10.1.2.0/24", ""}, {flagSubnet, "10.1.2.9/24", ""}, {flagSubnet, "10.0.0.0/8", "bad network"}, {flagSubnet, "fd00::/64", "bad network"}, {flagSubnet, "lan", "bad network"}, {flagSubnet, "10.1.2.0/30", "bad network"},
		{flagIP, "10.1.2.3", ""}, {flagIP, "10.1.2.1", "no address for a host"}, {flagIP, "10.1.2.0", "no address for a host"}, {flagIP, "10.1.2.255", "no address for a host"}, {flagIP, "fd00::1", "bad address"}, {flagIP, "web", "bad address"},
		{flagUser, "ops", ""}, {flagUser, "root", ""}, {flagUser, "Ops", "bad user"}, {flagUser, "a:b", "bad user"}, {flagUser, "a b", "bad user"}, {flagUser, "-a", "bad user"}, {flagUser, strings.Repeat("a", 33), "bad user"},
	} {
		err := (&Driver{}).Validate(driver.Options{c.flag: {Values: []string{c.value}}})
		switch {
		case c.says == "" && err != nil:
			t.Errorf("--%s %s: %v", c.flag, c.value, err)
		case c.says != "" && (!fault.Is(err, fault.Invalid) || fault.SubjectOf(err) != c.flag || fault.ReasonOf(err) != fault.ReasonUsage || fault.HintOf(err) == "" || !strings.Contains(err.Error(), c.says)):
			t.Errorf("--%s %s: %v, want %q", c.flag, c.value, err, c.says)
		}
	}
}

func TestAPinnedAddressMustBeInTheNamedNetwork(t *testing.T) {
	err := (&Driver{}).Validate(driver.Options{flagSubnet: {Values: []string{"10.1.2.0/24"}}, flagIP: {Values: []string{"10.1.3.4"}}})
	if !fault.Is(err, fault.Invalid) || fault.SubjectOf(err) != flagIP {
		t.Errorf("got %v", err)
	}
}

func TestDefaultsAreValid(t *testing.T) {
	d := &Driver{}
	options, err := driver.Resolve("nspawn", d.Flags(), nil)
	if err != nil {
		t.Fatal(err)
	}
	s, err := parse(options)
	if err != nil || s.user != "root" || s.memory != 0 || s.cpus != 0 {
		t.Errorf("%+v %v", s, err)
	}
	for _, flag := range d.Flags() {
		if flag.Env != strings.ToUpper(strings.ReplaceAll(flag.Name, "-", "_")) {
			t.Errorf("--%s is %s in the environment", flag.Name, flag.Env)
		}
	}
}
