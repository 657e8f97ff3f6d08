package google_test

import (
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"testing"

	"mctl/test/cloud/google"
	"mctl/test/cloud/lab"
)

// send sends what no client would.
func (w *world) send(method, path, contentType, body string) (int, string) {
	w.Helper()
	r, err := http.NewRequestWithContext(w.Context(), method, w.server.URL+path, strings.NewReader(body))
	if err != nil {
		w.Fatal(err)
	}
	r.Header.Set("Content-Type", contentType)
	answer, err := w.server.Client().Do(r)
	if err != nil {
		w.Fatal(err)
	}
	defer answer.Body.Close()
	content, err := io.ReadAll(answer.Body)
	if err != nil {
		w.Fatal(err)
	}
	var e struct {
		Error struct {
			Code   int
			Errors []struct{ Reason, Message string }
		}
	}
	if err := json.Unmarshal(content, &e); err != nil || e.Error.Code != answer.StatusCode || len(e.Error.Errors) != 1 {
		w.Errorf("%s %s: not in the API's shape: %s", method, path, content)
		return answer.StatusCode, ""
	}
	return answer.StatusCode, e.Error.Errors[0].Reason
}

func TestWhatIsNotDocumentedIsRefusedAndCounted(t *testing.T) {
	w := newWorld(t, lab.Config{}, google.Config{})
	w.expect = true
	const instances = "/compute/v1/projects/lab-project/zones/us-central1-a/instances"
	for _, c := range []struct {
		method, path, body string
		code               int
		problem            string
	}{
		{"GET", "/compute/v2/projects/lab-project", "", 404, "no such method"},
		{"GET", "/compute/v1/projects/lab-project/zones/us-central1-a/hosts", "", 404, "no such method"},
		{"PUT", instances, "", 404, "no such method"},
		{"GET", instances + "?limit=3", "", 400, "unknown parameter: limit"},
		{"GET", instances + "?maxResults=many", "", 400, "wrong type: maxResults"},
		{"GET", instances + "?maxResults=1&maxResults=2", "", 400, "wrong type: maxResults"},
		{"GET", instances + "?alt=xml", "", 400, "unknown enum value: alt"},
		{"GET", instances + "?fields=items", "", 400, "fields"},
		{"POST", instances, `{"name":"web","colour":"red"}`, 400, "unknown field: resource.colour"},
		{"POST", instances, `{"name":"web","disks":[{"boot":"yes"}]}`, 400, "wrong type: resource.disks[0].boot"},
		{"POST", instances, `{"name":"web","disks":[{"mode":"WRITE"}]}`, 400, "unknown enum value: resource.disks[0].mode"},
		{"POST", instances, `{"name":"web","disks":[{"diskSizeGb":10}]}`, 400, "wrong type: resource.disks[0].diskSizeGb"},
		{"POST", instances, `{"name":"web","disks":{}}`, 400, "wrong type: resource.disks"},
		{"POST", instances, `{"name":"web","labels":{"a":1}}`, 400, "wrong type: resource.labels.a"},
		{"POST", instances, `{"name":"web","tags":{"fingerprint":"*"}}`, 400, "wrong type: resource.tags.fingerprint"},
		{"POST", instances, `{}`, 400, "missing: resource.name"},
		{"POST", instances, `{"name":"web"`, 400, "wrong type: resource"},
		{"POST", instances, `{"name":"web"} {}`, 400, "wrong type: resource"},
		{"POST", instances + "/web/start", `{"name":"web"}`, 400, "takes no body"},
		{"POST", instances + "/web/setDiskAutoDelete", ``, 400, "missing: autoDelete"},
		{"POST", instances + "/web/suspend", ``, 501, "does not serve compute.instances.suspend"},
	} {
		before := len(w.front.Undocumented())
		code, reason := w.send(c.method, c.path, "application/json", c.body)
		if code != c.code || reason == "" {
			t.Errorf("%s %s %s: %d %s", c.method, c.path, c.body, code, reason)
		}
		counted := w.front.Undocumented()[before:]
		if len(counted) == 0 || !strings.Contains(strings.Join(counted, "\n"), c.problem) {
			t.Errorf("%s %s %s: want %q, counted %q", c.method, c.path, c.body, c.problem, counted)
		}
	}
	if code, _ := w.send("POST", instances, "text/plain", `{"name":"web"}`); code != 400 {
		t.Errorf("a body of another type: %d", code)
	}
	w.nothingLeft()
}

func TestAWrongNameIsRefusedAndNotCounted(t *testing.T) {
	w := newWorld(t, lab.Config{}, google.Config{})
	if code, reason := w.send("GET", "/compute/v1/projects/lab-project/zones/us-central1-a/instances/NOT_A_NAME", "", ""); code != 400 || reason != "invalid" {
		t.Errorf("%d %s", code, reason)
	}
}

func TestWhoIsNotKnownIsRefused(t *testing.T) {
	expired := false
	w := newWorld(t, lab.Config{}, google.Config{Authorize: func(header string) *lab.Error {
		switch {
		case expired:
			return &lab.Error{Kind: lab.Unauthenticated}
		case header != "Bearer good":
			return &lab.Error{Kind: lab.Denied, Text: "Required 'compute.instances.list' permission"}
		}
		return nil
	}})
	call := w.client.Instances.List(project, zone)
	_, err := call.Do()
	refused(t, err, 403, "forbidden")
	call.Header().Set("Authorization", "Bearer good")
	if _, err := call.Do(); err != nil {
		t.Error(err)
	}
	expired = true
	_, err = call.Do()
	refused(t, err, 401, "authError")
}
