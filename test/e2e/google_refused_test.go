package e2e

import (
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	front "mctl/test/cloud/google"
	cloud "mctl/test/cloud/lab"
)

// sentences takes apart what a refusal says: one sentence, and a hint on a line of its own.
func sentences(r result) (sentence, hint string, good bool) {
	lines := strings.Split(strings.TrimSuffix(r.stderr, "\n"), "\n")
	if len(lines) != 2 || !strings.HasPrefix(lines[1], "Hint: ") {
		return r.stderr, "", false
	}
	return lines[0], lines[1], true
}

// TestGoogleRefusesInOneSentence gives the google driver all that can be wrong: exit 2 for flags, exit 3 before anything was made, and
// exit 1 with the machine kept in state Error after. No host boots, so none is ever reached for.
func TestGoogleRefusesInOneSentence(t *testing.T) {
	t.Parallel()
	g := newGoogle(t, false, front.Config{})
	l := newLab(t)
	l.must("controller", "start")
	answering := func(status int, kind, body string) string {
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", kind)
			w.WriteHeader(status)
			_, _ = w.Write([]byte(body))
		}))
		t.Cleanup(server.Close)
		return server.URL + "/compute/v1/"
	}
	silent := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }))
	t.Cleanup(func() { silent.CloseClientConnections(); silent.Close() })
	closed := httptest.NewServer(http.NotFoundHandler())
	closed.Close()
	tls := httptest.NewTLSServer(g.front)
	t.Cleanup(tls.Close)
	bad := filepath.Join(t.TempDir(), "bad.json")
	if err := os.WriteFile(bad, []byte(`{"type":"service_account","client_email":"me@x","private_key":"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"}`), 0o600); err != nil {
		t.Fatal(err)
	}
	https := "--google-endpoint=" + tls.URL + "/compute/v1/"

	var all sync.WaitGroup
	for name, c := range map[string]struct {
		code int
		says string
		name string // of the machine; empty for web
		args []string
	}{
		"no project":                  {2, "no Google Cloud Project name specified (--google-project)", "", []string{"--google-project="}},
		"a bad project":               {2, "bad project", "", []string{"--google-project", "no/such"}},
		"a bad zone":                  {2, "bad value", "", []string{"--google-zone", "Mars"}},
		"a bad machine type":          {2, "bad value", "", []string{"--google-machine-type", "$(id)"}},
		"a bad image":                 {2, "bad name", "", []string{"--google-machine-image", "a b"}},
		"a disk that is none":         {2, "invalid value", "", []string{"--google-disk-size", "big"}},
		"a disk too small":            {2, "can't be made", "", []string{"--google-disk-size", "0"}},
		"a bad tag":                   {2, "bad tag", "", []string{"--google-tags", "Web Server"}},
		"a bad port":                  {2, "bad port", "", []string{"--google-open-port", "80/icmp"}},
		"a bad range":                 {2, "bad network", "", []string{"--google-source-ranges", "everybody"}},
		"a subnetwork elsewhere":      {3, "is in regions/europe-west1, and zone us-central1-a in regions/us-central1", "", []string{"--google-subnetwork", "regions/europe-west1/subnetworks/default"}},
		"a bad address":               {2, "bad address", "", []string{"--google-address", "300.1.2.3"}},
		"a bad label":                 {2, "bad label", "", []string{"--google-vm-labels", "mctl-machine:x"}},
		"a bad endpoint":              {2, "no base URL", "", []string{"--google-endpoint", "ftp://x/"}},
		"a bad encoding":              {2, "not in base64", "", []string{"--google-endpoint", "https://127.0.0.1:9/", "--google-auth-encoded-json", "{}"}},
		"an address and none":         {2, "can't have one", "", []string{"--google-address", "mine", "--google-use-internal-ip-only"}},
		"a flag of another driver":    {2, "flag provided but not defined: -nspawn-memory", "", []string{"--nspawn-memory", "1"}},
		"a credential and its name":   {2, "exclude each other", "", []string{https, "--credential", "team", "--google-application-credentials", bad}},
		"an unknown project":          {3, `there is no project "elsewhere"`, "", []string{"--google-project", "elsewhere"}},
		"an unknown zone":             {3, `there is no zone "mars-west1-a"`, "", []string{"--google-zone", "mars-west1-a"}},
		"an unknown machine type":     {3, `there is no machine type "z9-huge"`, "", []string{"--google-machine-type", "z9-huge"}},
		"an unknown image":            {3, "there is no image nope in project lab-project", "", []string{"--google-machine-image", "nope"}},
		"an unknown family":           {3, "there is no image family/nope in project debian-cloud", "", []string{"--google-machine-image", "debian-cloud/global/images/family/nope"}},
		"an unknown disk type":        {3, `there is no disk type "pd-cheese"`, "", []string{"--google-disk-type", "pd-cheese"}},
		"an unknown network":          {3, `there is no network "nope"`, "", []string{"--google-network", "nope"}},
		"an unknown subnetwork":       {3, `there is no subnetwork "nope"`, "", []string{"--google-subnetwork", "nope"}},
		"an unknown address":          {3, "there is no reserved address nope", "", []string{"--google-address", "nope"}},
		"nothing to take over":        {3, "to take over", "", []string{"--google-use-existing"}},
		"a name too long":             {3, "is too long for Google Compute Engine", strings.Repeat("a", 60), nil},
		"a name that is none there":   {3, "takes no instance of the name", "Web.Server", nil},
		"no credentials":              {3, "there are no credentials for Google Cloud", "", []string{https}},
		"a key that is broken":        {3, "can't be used", "", []string{https, "--google-application-credentials", bad}},
		"a key file that is missing":  {3, "does not exist", "", []string{https, "--google-application-credentials", "/nowhere/key.json"}},
		"text that is no key":         {3, "is incomplete", "", []string{https, "--google-application-credentials", `{"type":"service_account"}`}},
		"a kind of key that runs":     {3, "can't be used", "", []string{https, "--google-application-credentials", `{"type":"external_account"}`}},
		"an unknown stored name":      {3, `"nobody"`, "", []string{https, "--credential", "nobody"}},
		"an endpoint with HTML":       {3, "does not answer as Compute Engine does", "", []string{"--google-endpoint", answering(200, "text/html", "<html>hello</html>")}},
		"an endpoint without the API": {3, "does not answer as Compute Engine does", "", []string{"--google-endpoint", answering(404, "text/html", "<html>not here</html>")}},
		"an endpoint with garbage":    {3, "does not answer as Compute Engine does", "", []string{"--google-endpoint", answering(200, "application/json", "\x00\x01")}},
		"an endpoint that is silent":  {3, "did not answer in time", "", []string{"--google-endpoint", silent.URL + "/compute/v1/"}},
		"an endpoint that is closed":  {3, "can't be reached: connect: connection refused", "", []string{"--google-endpoint", closed.URL + "/compute/v1/"}},
	} {
		all.Go(func() {
			t.Run(name, func(t *testing.T) {
				if c.name == "" {
					c.name = "web"
				}
				l := l.within(t)
				r := l.execEnv([]string{"CLOUDSDK_CONFIG=" + t.TempDir()}, nil, filepath.Join(l.bin, "mctl"), g.create(c.name, c.args...)...)
				sentence, hint, good := sentences(r)
				if r.code != c.code || !good || !strings.Contains(sentence, c.says) || strings.ContainsAny(sentence+hint, "\x1b\x00") {
					t.Errorf("want exit %d, one sentence with %q and a hint: %s", c.code, c.says, r)
				}
			})
		})
	}
	all.Go(func() { t.Run("a zone without room", func(t *testing.T) { g.full(l.within(t)) }) })
	all.Wait()
	if listed := l.must("ls", "-q"); listed != "full\n" {
		t.Errorf("after refusals there are machines: %q", listed)
	}
	l.must("rm", "-y", "full")
	g.nothingLeft("after rm")
}

// full makes a machine where there is no room, which is borne for as long as the phase lasts.
func (g *googleCloud) full(l *lab) {
	g.cloud.Fail(cloud.Fault{Call: "instances.insert", Subject: "full", Times: -1, Late: &cloud.Error{Kind: cloud.StockOut, Text: "no room"}})
	r := l.run(g.create("full")...)
	sentence, hint, good := sentences(r)
	if r.code != 1 || !good || !strings.Contains(sentence, "zone us-central1-a has no room for a machine of type e2-medium") ||
		!strings.Contains(hint, "zones that could be tried with --google-zone: us-central1-b") {
		l.t.Errorf("want exit 1 and other zones: %s", r)
	}
	if line := l.must("ls", "--format", "{{.Name}} {{.State}} {{.Error}}"); !strings.HasPrefix(line, "full Error ") || !strings.Contains(line, "has no room") {
		l.t.Errorf("ls: %q", line)
	}
}
