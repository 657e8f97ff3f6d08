package logs_test

import (
	"bytes"
	"testing"
	"time"

	"go.uber.org/goleak"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	"mctl/internal/fault"
	"mctl/internal/mctl/controllertest"
	"mctl/internal/mctl/logs"
	controllerv1 "mctl/proto/mctl/controller/v1"
	tunnelv1 "mctl/proto/mctl/tunnel/v1"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestLogsAreAskedForAsWantedAndShownPlainly(t *testing.T) {
	now := time.Date(2026, 11, 26, 12, 0, 0, 0, time.UTC)
	for _, row := range []struct {
		args []string
		want *tunnelv1.Logs
	}{
		{nil, &tunnelv1.Logs{Lines: proto.Uint32(100)}},
		{[]string{"-n", "5", "--unit", "docker", "--unit", "agent", "--unit", "docker"}, &tunnelv1.Logs{
			Lines: proto.Uint32(5), Units: []tunnelv1.Unit{tunnelv1.Unit_UNIT_DOCKER, tunnelv1.Unit_UNIT_AGENT},
		}},
		{[]string{"--since", "10m", "--follow"}, &tunnelv1.Logs{Follow: true, Since: timestamppb.New(now.Add(-10 * time.Minute))}},
		{[]string{"--since", "2026-11-26T11:00:00Z", "-n", "1"}, &tunnelv1.Logs{Lines: proto.Uint32(1), Since: timestamppb.New(now.Add(-time.Hour))}},
	} {
		c := controllertest.New(t)
		c.Put(controllertest.Running("web", "192.0.2.1"))
		asked := make(chan *tunnelv1.Logs, 1)
		c.Tunnel = func(start *controllerv1.TunnelStart, _ func() (*tunnelv1.Frame, error), say func(*tunnelv1.Frame) error) error {
			asked <- start.GetWork().GetLogs()
			for _, frame := range []*tunnelv1.Frame{
				{Kind: &tunnelv1.Frame_Opened{Opened: &tunnelv1.Opened{}}}, {Kind: &tunnelv1.Frame_Data{Data: []byte("first\nsec")}},
				{Kind: &tunnelv1.Frame_Data{Data: []byte("ond \x1b[2J\n")}}, {Kind: &tunnelv1.Frame_Exit{Exit: &tunnelv1.Exit{}}},
			} {
				if err := say(frame); err != nil {
					return err
				}
			}
			return nil
		}
		env := c.Env()
		env.Now = func() time.Time { return now }
		command := logs.Commands(env)[0]
		command.SetArgs(append(row.args, "web"))
		if err := command.ExecuteContext(t.Context()); err != nil {
			t.Fatalf("%q: %v", row.args, err)
		}
		if got := <-asked; !proto.Equal(got, row.want) {
			t.Errorf("%q: asked for %v, want %v", row.args, got, row.want)
		}
		if got := env.Out.(*bytes.Buffer).String(); got != "first\nsecond  [2J\n" {
			t.Errorf("shown %q", got)
		}
	}
}

func TestLogsThatAreNoneAreRefused(t *testing.T) {
	c := controllertest.New(t)
	c.Put(controllertest.Running("web", "192.0.2.1"))
	for _, args := range [][]string{{"--unit", "sshd", "web"}, {"--since", "soon", "web"}, {"web", "db"}} {
		command := logs.Commands(c.Env())[0]
		command.SilenceErrors, command.SilenceUsage = true, true
		command.SetArgs(args)
		if err := command.ExecuteContext(t.Context()); !fault.Is(err, fault.Invalid) || fault.HintOf(err) == "" {
			t.Errorf("%q: %v", args, err)
		}
	}
}
