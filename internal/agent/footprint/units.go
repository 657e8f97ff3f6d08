package footprint

import (
	"embed"
	"strconv"
	"strings"
)

//go:embed units
var unitFiles embed.FS

// The units we bring.
const (
	agentUnit   = "mctl-agent.service"
	frontUnit   = "mctl-front.service"
	frontSocket = "mctl-front.socket"
	swarmSocket = "mctl-front-swarm.socket" // of a swarm's manager alone
)

const unitDir = "/etc/systemd/system/"

// frontWanted is there when the front's socket opens at boot.
const frontWanted = unitDir + "sockets.target.wants/" + frontSocket

// swarmWanted is there when the front's socket for a swarm opens at boot.
const swarmWanted = unitDir + "sockets.target.wants/" + swarmSocket

// unitText returns a unit's file. Only sockets know a port.
func unitText(name string, port uint16) ([]byte, error) {
	text, err := unitFiles.ReadFile("units/" + name)
	if err != nil {
		return nil, err
	}
	return []byte(strings.ReplaceAll(string(text), "{{port}}", strconv.Itoa(int(port)))), nil
}
