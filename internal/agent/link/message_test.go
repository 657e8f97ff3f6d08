package link

import (
	"errors"
	"fmt"
	"io"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"mctl/internal/host"
	agentv1 "mctl/proto/mctl/agent/v1"
)

func TestAnIdleHostSaysNextToNothing(t *testing.T) {
	a := host.Health{
		CPUPercent: 1.2, Load1: 0.04, MemoryTotal: 8 << 30, MemoryAvailable: 4<<30 + 5<<20, BootTime: time.Unix(1e9, 0), EngineUp: true,
		EnginePing: 400 * time.Microsecond, ContainersRunning: 3, Disks: []host.Disk{{Path: "/", Total: 1 << 40, Available: 1<<39 + 1<<20}},
	}
	b := a
	b.CPUPercent, b.MemoryAvailable, b.EnginePing = 1.4, 4<<30+7<<20, 300*time.Microsecond
	b.Disks = []host.Disk{{Path: "/", Total: 1 << 40, Available: 1<<39 + 2<<20}}
	if size := proto.Size(healthDelta(&a, &b)); size > 4 {
		t.Errorf("an idle report has %d bytes: %v", size, healthDelta(&a, &b))
	}
	whole := healthDelta(nil, &a)
	if whole.GetDelta() || whole.EngineUp == nil || whole.ContainersStopped == nil || len(whole.GetDisks()) != 1 {
		t.Errorf("the first report is not whole: %v", whole)
	}
	if nothing := healthDelta(nil, nil); !nothing.GetDelta() || nothing.EngineUp != nil {
		t.Errorf("before the first look: %v", nothing)
	}
	b.EngineUp = false
	if d := healthDelta(&a, &b); d.EngineUp == nil || d.GetEngineUp() || d.MemoryTotalBytes != nil {
		t.Errorf("an engine that went: %v", d)
	}
}

func TestAWishComesOutAsItWentIn(t *testing.T) {
	applied := host.Applied{Generation: 1, Digest: "d", Failure: &host.Failure{Kind: "quota", Message: "m", Hint: "h"}, Released: true}
	m := appliedMessage(applied)
	if m.GetFailure().GetHint() != "h" || !m.GetReleased() || m.GetFront().GetCertificateExpireTime() != nil {
		t.Errorf("said %v", m)
	}
}

func TestTheOutboxIsBoundedAndKeepsWhatMattersMost(t *testing.T) {
	o := newOutbox()
	for i := range 10 * maxEvents {
		o.emit(host.Event{Type: host.EventProgress, Message: fmt.Sprint(i)})
	}
	if len(o.events) != maxProgress {
		t.Errorf("%d lines of progress wait", len(o.events))
	}
	for i := range maxEvents + 10 {
		o.emit(host.Event{Type: host.EventContainerDied, Message: fmt.Sprint(i)})
	}
	if len(o.events) != maxEvents {
		t.Errorf("%d events wait", len(o.events))
	}
	if _, e := o.take(); e.Type == host.EventProgress || e.Message != "10" {
		t.Errorf("the oldest left is %s %s: progress goes first, then the oldest", e.Type, e.Message)
	}
	o.report(host.Applied{Generation: 1})
	o.report(host.Applied{Generation: 2})
	if a, _ := o.take(); a == nil || a.Generation != 2 {
		t.Errorf("told %+v, want the newest before any event", a)
	}
	if a, _ := o.take(); a != nil {
		t.Error("told twice")
	}
	if a := o.begin(); a == nil || a.Generation != 2 {
		t.Error("a new session does not begin with it")
	}
}

// deadStream is a stream that has ended, which sending tells first.
type deadStream struct {
	agentv1.LinkService_ConnectClient
	sent int
}

func (d *deadStream) Send(*agentv1.ConnectRequest) error { d.sent++; return io.EOF }

func TestWhatAnEndedStreamDidNotTakeIsKept(t *testing.T) {
	l := New(Config{})
	for range 3 {
		l.Emit(host.Event{Type: host.EventEngineDown})
	}
	stream := &deadStream{}
	s := &session{link: l, stream: stream}
	if over, err := s.flush(); !over || !errors.Is(err, errOver) || stream.sent != 1 {
		t.Errorf("over %t, %v after %d tries", over, err, stream.sent)
	}
	if n := len(l.outbox.events); n != 3 {
		t.Errorf("%d events of 3 are left", n)
	}
}

func TestAnEngineThatAnswersTakesATime(t *testing.T) {
	for ping, want := range map[time.Duration]time.Duration{
		0: 0, time.Microsecond: time.Millisecond, time.Millisecond: time.Millisecond, 1001 * time.Microsecond: 2 * time.Millisecond,
	} {
		if got := rounded(host.Health{EnginePing: ping}).EnginePing; got != want {
			t.Errorf("%s is told as %s, want %s", ping, got, want)
		}
	}
}
