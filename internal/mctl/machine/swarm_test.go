package machine

import (
	"strings"
	"testing"

	"mctl/internal/mctl/controllertest"
	controllerv1 "mctl/proto/mctl/controller/v1"
)

func TestASwarmHasItsMastersNameAndItsOwnStar(t *testing.T) {
	var all []*controllerv1.Machine
	for name, master := range map[string]string{"m1": "m1", "m2": "m1", "w1": "m1", "w2": "gone"} {
		m := controllertest.Running(name, "10.0.0.1")
		m.Spec.Swarm = &controllerv1.SwarmSpec{Master: name == master, MasterName: master}
		if name == "m1" {
			m.Status.Url, m.Status.Swarm = "tcp://10.0.0.7:2376", &controllerv1.SwarmStatus{Manager: true, Url: "tcp://10.0.0.7:3376"}
		}
		all = append(all, m)
	}
	all = append(all, controllertest.Running("plain", "10.0.0.9"))
	for _, host := range []string{"tcp://10.0.0.7:2376", "tcp://10.0.0.7:3376"} {
		c := controllertest.New(t, "DOCKER_HOST="+host)
		for _, m := range all {
			c.Put(m)
		}
		got, err := run(t.Context(), c.Env(), "ls", "--format", "{{.Name}}:{{.Active}}:{{.Swarm}}:{{.ActiveHost}}:{{.ActiveSwarm}}")
		star := map[string]string{"tcp://10.0.0.7:2376": "*:m1 (master):true:false", "tcp://10.0.0.7:3376": "* (swarm):m1 (master):false:true"}[host]
		for _, line := range []string{"m1:" + star, "m2:-:m1:false:false", "w1:-:m1:false:false", "w2:-:gone:false:false", "plain:-::false:false"} {
			if err != nil || !strings.Contains("\n"+got, "\n"+line+"\n") {
				t.Errorf("%s: %q, %v, want %s", host, got, err, line)
			}
		}
		if active, err := run(t.Context(), c.Env(), "active"); err != nil || active != "m1\n" {
			t.Errorf("active: %q, %v", active, err)
		}
		if members, err := run(t.Context(), c.Env(), "ls", "-q", "--filter", "swarm=M1"); err != nil || members != "m1\nm2\nw1\n" {
			t.Errorf("members: %q, %v", members, err)
		}
	}
}

func TestADrainsTimeIsChecked(t *testing.T) {
	for _, limit := range []string{"-1s", "25h", "soon"} {
		c := controllertest.New(t)
		c.Put(controllertest.Running("web", "10.0.0.1"))
		if _, err := run(t.Context(), c.Env(), "rm", "-y", "--drain-timeout", limit, "web"); err == nil || len(c.Calls()) != 0 {
			t.Errorf("%s: %v, %v", limit, err, c.Calls())
		}
	}
}
