package bootstrap

import (
	"bytes"
	_ "embed"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"mctl/internal/controller/driver"
	"mctl/internal/fault"
)

//go:embed userdata.sh
var userDataScript string

// machineNames are what uname calls the architectures that there are agents for.
var machineNames = map[string]string{"amd64": "x86_64", "arm64": "aarch64"}

// Agent returns the agent for an architecture (amd64, arm64): the SHA-256 of the binary, hexadecimal, and the binary, gzip.
// fault.Precondition when there is none.
func (i *Installer) Agent(arch string) (digest string, compressed []byte, err error) {
	if machineNames[arch] == "" {
		return "", nil, fault.New("bootstrap.Agent", fault.Precondition, arch, "there is no agent for that architecture")
	}
	found, err := i.agents.get(arch)
	return found.digest, found.compressed, err
}

// UserData is what a host is handed that joins by itself as it boots. authority is the control authority's certificates, PEM.
// The same payload makes the same values. fault.Precondition when there is no agent, or an endpoint that is none.
func (i *Installer) UserData(payload Payload, enginePort uint16, authority []byte) (driver.UserData, error) {
	const op = "bootstrap.UserData"
	document, err := json.Marshal(orders{
		MachineUID: payload.MachineUID, Ticket: payload.Ticket, Endpoints: payload.Endpoints, Hostname: payload.Hostname, EnginePort: enginePort,
	})
	if err != nil {
		return driver.UserData{}, fault.E(op, fault.Internal, payload.MachineUID, err)
	}
	var values bytes.Buffer
	fmt.Fprintf(&values, "authority %s\n", base64.StdEncoding.EncodeToString(authority))
	for _, endpoint := range payload.Endpoints {
		if endpoint == "" || strings.ContainsAny(endpoint, " \t\r\n") {
			return driver.UserData{}, fault.E(op, fault.Precondition, payload.MachineUID, fmt.Errorf("%q is no address of the controller", endpoint)).
				WithHint("give the controller --advertise HOST:PORT")
		}
		fmt.Fprintf(&values, "endpoint %s\n", endpoint)
	}
	var missing []error
	for _, arch := range []string{"amd64", "arm64"} {
		digest, _, err := i.Agent(arch)
		if err != nil { // the host may be of the other kind
			missing = append(missing, err)
			continue
		}
		fmt.Fprintf(&values, "agent-%s %s %s\n", machineNames[arch], arch, digest)
	}
	if len(missing) == len(machineNames) {
		return driver.UserData{}, fault.E(op, fault.Precondition, payload.MachineUID, errors.Join(missing...)).WithHint(fault.HintOf(missing[0]))
	}
	fmt.Fprintf(&values, "orders %s\n", document)
	return driver.UserData{Script: userDataScript, Values: values.Bytes()}, nil
}
