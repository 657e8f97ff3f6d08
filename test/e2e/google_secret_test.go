package e2e

import (
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	front "mctl/test/cloud/google"
	cloud "mctl/test/cloud/lab"
)

// secured is a cloud that wants tokens, over TLS, and who gives them out.
type secured struct {
	*googleCloud
	tls     *httptest.Server
	tokens  *httptest.Server
	refuses atomic.Bool // the issuer gives out no more
}

func newSecured(t *testing.T) *secured {
	t.Helper()
	s := &secured{}
	s.googleCloud = newGoogle(t, true, front.Config{Authorize: func(header string) *cloud.Error {
		if header != "Bearer good" {
			return &cloud.Error{Kind: cloud.Unauthenticated, Text: "who is it?"}
		}
		return nil
	}})
	s.tls = httptest.NewTLSServer(s.front)
	t.Cleanup(s.tls.Close)
	s.tokens = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		if s.refuses.Load() {
			w.WriteHeader(http.StatusBadRequest)
			_ = json.NewEncoder(w).Encode(map[string]string{"error": "invalid_grant", "error_description": "what about " + r.FormValue("refresh_token")})
			return
		}
		fmt.Fprint(w, `{"access_token":"good","token_type":"Bearer","expires_in":3600}`)
	}))
	t.Cleanup(s.tokens.Close)
	return s
}

// environment has mctl and its controller go there.
func (s *secured) environment(more ...string) []string {
	path := filepath.Join(s.t.TempDir(), "ca.pem")
	if err := os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.tls.Certificate().Raw}), 0o600); err != nil {
		s.t.Fatal(err)
	}
	return append([]string{
		"SSL_CERT_FILE=" + path, "GOOGLE_PROJECT=lab-project", "GOOGLE_COMPUTE_CUSTOM_ENDPOINT=" + s.tls.URL + front.BasePath, "CLOUDSDK_CONFIG=" + s.t.TempDir(),
	}, more...)
}

// user is a user's credentials with a canary in them.
func (s *secured) user(canary string) []byte {
	return fmt.Appendf(nil, `{"type":"authorized_user","client_id":"id","client_secret":"%[1]s-secret","refresh_token":"%[1]s-refresh","token_uri":"%[2]s"}`, canary, s.tokens.URL)
}

func TestNoSecretOfTheGoogleDriverIsEverSeen(t *testing.T) {
	t.Parallel()
	s := newSecured(t)
	l := newLab(t)
	mctl, secrets := filepath.Join(l.bin, "mctl"), t.TempDir()
	file := func(name string, content []byte) string {
		path := filepath.Join(secrets, name)
		if err := os.WriteFile(path, content, 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	// A canary for every flag that the schema says is secret.
	canaries := []string{"canary-profile", "canary-other"}
	environment := s.environment()
	start := l.execEnv(environment, nil, mctl, "controller", "start") // with the right authorities
	if start.code != 0 {
		t.Fatal(start)
	}
	for _, f := range l.secrets("google") {
		canary := "canary-" + f.Name
		canaries = append(canaries, canary)
		var value string
		switch f.Kind {
		case "KIND_CREDENTIAL":
			value = file("credential.json", s.user(canary))
		case "KIND_SECRET":
			value = base64.StdEncoding.EncodeToString(s.user(canary))
			canaries = append(canaries, value)
		case "KIND_FILE":
			value = file(f.Name, []byte("#cloud-config\n# "+canary+"\n"))
		}
		environment = append(environment, f.Env+"="+value)
	}
	if len(canaries) < 5 {
		t.Fatalf("the schema has too few secrets: %v", canaries)
	}
	said := map[string]string{}
	run := func(environment []string, code int, args ...string) {
		t.Helper()
		r := l.execEnv(environment, nil, mctl, args...)
		said[strings.Join(args, " ")] = r.stdout + r.stderr
		if r.code != code {
			t.Errorf("want exit %d: %s", code, r)
		}
	}
	run(environment, 0, "--debug", "create", "--driver", "google", "web")
	profile := s.environment()
	run(profile, 0, "credential", "add", "--driver", "google", "team", file("profile.json", s.user("canary-profile")))
	run(profile, 0, "create", "--driver", "google", "--credential", "team", "--dry-run", "db")
	run(profile, 1, "credential", "add", "--driver", "google", "team", file("again.json", s.user("canary-profile")))
	run(profile, 0, "credential", "ls")
	run(environment, 2, "create", "--driver", "google", "--credential", "team", "--google-application-credentials", file("third.json", s.user("canary-profile")), "db")
	for _, args := range [][]string{
		{"inspect", "web"}, {"--output", "json", "inspect", "web"}, {"--output", "json", "ls"}, {"drivers"}, {"events", "--since", "1h"}, {"controller", "logs"}, {"orphans", "--driver", "google"},
	} {
		r := l.execEnv(environment, nil, mctl, args...)
		said[strings.Join(args, " ")] = r.stdout + r.stderr
	}
	// What the cloud says against them may quote them.
	s.refuses.Store(true)
	run(profile, 3, "--debug", "create", "--driver", "google", "--google-application-credentials", file("other.json", s.user("canary-other")), "other")
	s.refuses.Store(false)
	if found := l.search(canaries, said); len(found) > 0 {
		t.Errorf("seen:\n%s", strings.Join(found, "\n"))
	}
	run(profile, 0, "rm", "-y", "web")
	run(profile, 0, "credential", "rm", "team")
}

// secret is a flag whose content nobody may see.
type secret struct{ Name, Kind, Env string }

// secrets are a driver's, as its schema has them.
func (l *lab) secrets(driver string) (found []secret) {
	l.t.Helper()
	var drivers []struct {
		Name  string
		Flags []secret
	}
	if err := json.Unmarshal([]byte(l.must("--output", "json", "drivers")), &drivers); err != nil {
		l.t.Fatal(err)
	}
	for _, d := range drivers {
		for _, f := range d.Flags {
			if d.Name == driver && slices.Contains([]string{"KIND_SECRET", "KIND_FILE", "KIND_CREDENTIAL"}, f.Kind) {
				found = append(found, f)
			}
		}
	}
	return found
}

// search looks for canaries where no secret may be, and returns where they are.
func (l *lab) search(canaries []string, texts map[string]string) (found []string) {
	l.t.Helper()
	_ = filepath.WalkDir(l.state, func(path string, entry os.DirEntry, err error) error {
		if err == nil && entry.Type().IsRegular() {
			content, _ := os.ReadFile(path)
			texts[path] = string(content)
		}
		return nil
	})
	processes, _ := filepath.Glob("/proc/[0-9]*")
	for _, process := range processes {
		arguments, _ := os.ReadFile(process + "/cmdline")
		texts[process+"/cmdline"] = string(arguments)
		if strings.Contains(string(arguments), l.state) { // the controller and what it started
			environment, _ := os.ReadFile(process + "/environ")
			texts[process+"/environ"] = string(environment)
		}
	}
	for where, text := range texts {
		for _, canary := range canaries {
			if strings.Contains(text, canary) {
				found = append(found, fmt.Sprintf("%s has %s", where, canary))
			}
		}
	}
	return found
}
