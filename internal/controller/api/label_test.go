package api

import (
	"maps"
	"strings"
	"testing"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	controllerv1 "mctl/proto/mctl/controller/v1"
)

func TestLabelsAreLiteralOrRefused(t *testing.T) {
	w := newWorld(t)
	c := controllerv1.NewMachineServiceClient(w.local())
	create(t, c, "web")
	for range 10 {
		w.step("web")
	}
	update := func(labels map[string]string) (*controllerv1.UpdateLabelsResponse, error) {
		return c.UpdateLabels(t.Context(), &controllerv1.UpdateLabelsRequest{Name: "web", Labels: labels})
	}
	literal := map[string]string{"$(id)": "`id`", "--flag": "'\"; rm -rf /", "größe": "x=y", "empty": ""}
	if got, err := update(literal); err != nil || !maps.Equal(got.GetMachine().GetLabels(), literal) {
		t.Errorf("%v, %v", got.GetMachine().GetLabels(), err)
	}
	many := map[string]string{}
	for _, r := range "abcdefghijklmnopqrstuvwxyzabcdefghijklmnopqrstuvwxyz0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ" {
		many[string(r)] = ""
	}
	for name, labels := range map[string]map[string]string{
		"none": nil, "no key": {"": "x"}, "line": {"a": "x\ny"}, "line in a key": {"a\nb": ""}, "escape": {"a": "\x1b[2J"},
		"long key": {strings.Repeat("k", 64): ""}, "long value": {"a": strings.Repeat("v", 256)},
	} {
		if _, err := update(labels); status.Code(err) != codes.InvalidArgument {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := update(many); status.Code(err) != codes.InvalidArgument { // 62, and four are there
		t.Errorf("too many: %v", err)
	}
	if _, err := c.UpdateLabels(t.Context(), &controllerv1.UpdateLabelsRequest{Name: "nosuch", Labels: literal}); status.Code(err) != codes.NotFound {
		t.Errorf("unknown: %v", err)
	}
}
