package filter_test

import (
	"encoding/json"
	"testing"

	"mctl/test/cloud/google/filter"
)

const object = `{"name": "web-1", "id": "12", "status": "RUNNING", "labels": {"owner": "me", "a.b": "dotted"}, "size": 10, "on": true,
 "tags": {"items": ["http", "ssh"]}, "disks": [{"boot": true, "source": "x/disks/web-1"}]}`

func TestExpressions(t *testing.T) {
	var o map[string]any
	if err := json.Unmarshal([]byte(object), &o); err != nil {
		t.Fatal(err)
	}
	for expression, want := range map[string]bool{
		"": true, "name = web-1": true, "name=web-1": true, `name="web-1"`: true, "name = 'web-1'": true, "name = web": false, "name != web": true,
		"name = web-*": true, "labels.owner = me": true, "labels.owner:*": true, "labels.none:*": false, "labels.a.b = dotted": true,
		"size > 9": true, "size >= 10": true, "size < 10": false, "size <= 9": false, "on = true": true, "on = false": false,
		"name:WEB": true, "tags.items = ssh": true, "tags.items:ftp": false, "disks.boot = true": true,
		"name eq web-.": true, "name eq web": false, "name ne web": true, `name eq "web-[0-9]+"`: true, "name eq ^(web-1|web-2)$": true, "(name eq web-1) (status eq RUN.*)": true,
		"name = web-1 status = STOPPED": false, "name = web-1 AND status = RUNNING": true, "name = x OR status = RUNNING": true,
		"(name = x OR name = web-1) AND NOT status = STOPPED": true, "NOT (name = web-1)": false, "name = x OR (status = RUNNING size > 100)": false,
	} {
		match, err := filter.Parse(expression)
		if err != nil {
			t.Errorf("%q: %v", expression, err)
			continue
		}
		if match(o) != want {
			t.Errorf("%q: want %t", expression, want)
		}
	}
	for _, wrong := range []string{"name", "name =", "name = 'x", "(name = x", "name = x)", "name ~ x", "name eq [", "= x"} {
		if _, err := filter.Parse(wrong); err == nil {
			t.Errorf("%q was understood", wrong)
		}
	}
}
