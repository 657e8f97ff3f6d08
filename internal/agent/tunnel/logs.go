package tunnel

import (
	"os/exec"
	"strconv"

	"mctl/internal/agent/tunnel/login"
	"mctl/internal/fault"
	tunnelv1 "mctl/proto/mctl/tunnel/v1"
)

// units are the services whose logs can be had.
var units = map[tunnelv1.Unit]string{
	tunnelv1.Unit_UNIT_AGENT: "mctl-agent.service", tunnelv1.Unit_UNIT_FRONT: "mctl-front.service", tunnelv1.Unit_UNIT_DOCKER: "docker.service",
}

// logs runs journalctl, with arguments that are ours.
func (s *Server) logs(c *channel, wanted *tunnelv1.Logs) error {
	const op = "tunnel.logs"
	path, err := exec.LookPath("journalctl")
	if err != nil {
		return fault.New(op, fault.Precondition, "", "this host has no journalctl")
	}
	args := []string{path, "--no-pager", "--quiet", "--output=short-iso"}
	names := wanted.GetUnits()
	if len(names) == 0 {
		names = []tunnelv1.Unit{tunnelv1.Unit_UNIT_AGENT, tunnelv1.Unit_UNIT_FRONT, tunnelv1.Unit_UNIT_DOCKER}
	}
	for _, unit := range names {
		name, known := units[unit]
		if !known {
			return fault.New(op, fault.Precondition, "", "this host's agent does not know what is wanted of it").
				WithHint("`mctl provision` on the machine brings the newest agent")
		}
		args = append(args, "--unit="+name)
	}
	if wanted.GetSince() != nil {
		args = append(args, "--since=@"+strconv.FormatInt(wanted.GetSince().GetSeconds(), 10))
	}
	if wanted.Lines != nil {
		args = append(args, "--lines="+strconv.FormatUint(uint64(wanted.GetLines()), 10))
	}
	if wanted.GetFollow() {
		args = append(args, "--follow")
	}
	root := login.Account{Name: "root", Home: "/"}
	return s.run(c, root, &exec.Cmd{Path: path, Args: args, Env: []string{"PATH=/usr/sbin:/usr/bin:/sbin:/bin", "LANG=C.UTF-8"}}, false)
}
