package plugin

import (
	"fmt"
	"testing"

	"mctl/internal/controller/driver"
)

func TestAPluginIsToldOfAManagerAsOfAMaster(t *testing.T) {
	for want, swarm := range map[string]driver.Swarm{
		"false false  tcp://0.0.0.0:3376":        {},
		"true false mctl://m tcp://0.0.0.0:3376": {Member: true, Discovery: "mctl://m"},
		"true true  tcp://0.0.0.0:4000":          {Member: true, Manager: 4000, Host: "tcp://0.0.0.0:4000"},
	} {
		v := shared("x", swarm)
		if got := fmt.Sprintf("%v %v %v %v", v["swarm"], v["swarm-master"], v["swarm-discovery"], v["swarm-host"]); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}
