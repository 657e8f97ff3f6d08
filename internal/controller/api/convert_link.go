package api

import (
	machines "mctl/internal/controller/machine"
	"mctl/internal/host"
	controllerv1 "mctl/proto/mctl/controller/v1"
)

var links = map[controllerv1.LinkMode]host.Link{
	controllerv1.LinkMode_LINK_MODE_UNSPECIFIED: host.LinkAuto,
	controllerv1.LinkMode_LINK_MODE_AUTO:        host.LinkAuto,
	controllerv1.LinkMode_LINK_MODE_DIRECT:      host.LinkDirect,
	controllerv1.LinkMode_LINK_MODE_SSH:         host.LinkSSH,
}

var ways = map[host.Way]controllerv1.LinkWay{
	host.WayDirect: controllerv1.LinkWay_LINK_WAY_DIRECT,
	host.WaySSH:    controllerv1.LinkWay_LINK_WAY_SSH,
}

func linkMessage(m *machines.Machine, view machines.View) *controllerv1.LinkStatus {
	message := &controllerv1.LinkStatus{
		Connected: view.Observed.Connected, Time: timestamp(view.Observed.Since), Way: ways[m.Status.Link], SshError: view.TunnelError,
	}
	if view.Observed.Connected {
		message.Way = ways[view.Observed.Way]
	}
	return message
}
