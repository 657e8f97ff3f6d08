package machine

import recordv1 "mctl/proto/mctl/record/v1"

func encodeSwarm(s *Swarm) *recordv1.SwarmSpec {
	if s == nil {
		return nil
	}
	return &recordv1.SwarmSpec{
		Master: s.Master, ManagerName: s.Of, Manager: s.Manager, Port: uint32(s.Port), Address: s.Address,
		Host: s.Host, Strategy: s.Strategy, Image: s.Image, Options: s.Options, JoinOptions: s.JoinOptions, Experimental: s.Experimental, MasterName: s.Called,
	}
}

func decodeSwarm(r *recordv1.SwarmSpec) *Swarm {
	if r == nil {
		return nil
	}
	return &Swarm{
		Master: r.GetMaster(), Of: r.GetManagerName(), Manager: r.GetManager(), Port: uint16(r.GetPort()), Address: r.GetAddress(),
		Host: r.GetHost(), Strategy: r.GetStrategy(), Image: r.GetImage(), Options: r.GetOptions(), JoinOptions: r.GetJoinOptions(),
		Experimental: r.GetExperimental(), Called: r.GetMasterName(),
	}
}
