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
)

const unitDir = "/etc/systemd/system/"

// frontWanted is there when the front's socket opens at boot.
const frontWanted = unitDir + "sockets.target.wants/" + frontSocket

// unitText returns a unit's file. Only the socket knows a port.
func unitText(name string, port uint16) ([]byte, error) {
	text, err := unitFiles.ReadFile("units/" + name)
	if err != nil {
		return nil, err
	}
	return []byte(strings.ReplaceAll(string(text), "{{port}}", strconv.Itoa(int(port)))), nil
}
