package mctl

import (
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	"mctl/internal/mctl/controllertest"
	controllerv1 "mctl/proto/mctl/controller/v1"
)

var noon = time.Date(2026, 11, 26, 12, 0, 0, 0, time.UTC)

// busy is a machine whose host reported some time before noon.
func busy(name string, ago time.Duration, cpu float64, memory, disk uint64, running uint32) *controllerv1.Machine {
	m := controllertest.Running(name, "10.128.0.2")
	m.Status.Link = &controllerv1.LinkStatus{Connected: true}
	m.Status.Health = &controllerv1.Health{
		Time: timestamppb.New(noon.Add(-ago)), CpuPercent: cpu, MemoryTotalBytes: 4_100_000_000, MemoryAvailableBytes: (100 - memory) * 41_000_000,
		Disks:    []*controllerv1.DiskUsage{{Path: "/boot", TotalBytes: 1000, AvailableBytes: 1000}, {Path: "/", TotalBytes: 20_000_000_000, AvailableBytes: (100 - disk) * 200_000_000}},
		EngineUp: true, ContainersRunning: running,
	}
	return m
}

func putFleet(c *controllertest.Controller) {
	c.Put(busy("web2", 2*time.Second, 7.4, 31, 61, 12))
	c.Put(busy("web10", 4*time.Second, 99.6, 80, 15, 3))
	lost := busy("lost", 75*time.Minute, 50, 10, 10, 1)
	lost.Status.Link.Connected = false
	lost.Status.Error = "agent not connected since 2026-11-26 10:45:00 UTC"
	c.Put(lost)
	sick := busy("sick", time.Second, 0, 5, 99, 2)
	sick.Status.Health.ContainersUnhealthy = 1
	c.Put(sick)
	down := busy("down", time.Second, 1, 5, 20, 0)
	down.Status.Health.EngineUp, down.Status.Error = false, "docker is not\x1b[2J running: 世界"
	c.Put(down)
	fresh := controllertest.Running("fresh", "")
	fresh.Status.State = "Starting"
	c.Put(fresh)
}
