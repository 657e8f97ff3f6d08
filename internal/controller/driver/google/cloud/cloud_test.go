package cloud

import (
	"context"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"
	"golang.org/x/time/rate"
	"google.golang.org/api/compute/v1"

	"mctl/internal/fault"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// api is a server over TLS that issues tokens and answers one question.
type api struct {
	*httptest.Server
	tokens atomic.Int64                               // issued
	issue  func(n int64) (status int, body string)    // nil to issue tokens named after their number
	answer func(w http.ResponseWriter, bearer string) // nil to answer a project
}

func newAPI(t *testing.T) *api {
	t.Helper()
	a := &api{}
	a.Server = httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		bearer := strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer ")
		switch {
		case r.URL.Path == "/token":
			n := a.tokens.Add(1)
			status, body := http.StatusOK, fmt.Sprintf(`{"access_token":"token-%d","token_type":"Bearer","expires_in":3600}`, n)
			if a.issue != nil {
				status, body = a.issue(n)
			}
			w.WriteHeader(status)
			fmt.Fprint(w, body)
		case a.answer != nil:
			a.answer(w, bearer)
		default:
			fmt.Fprint(w, `{"name":"proj"}`)
		}
	}))
	t.Cleanup(a.Close)
	return a
}

func (a *api) client(t *testing.T, credential []byte) *Client {
	t.Helper()
	c, err := NewPool(Config{Transport: a.Client().Transport, Pause: time.Millisecond}).Client(t.Context(), Place{Endpoint: a.URL + "/compute/v1/", Project: "proj", Credential: credential})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func project(ctx context.Context, c *Client) (*compute.Project, error) {
	return Read(ctx, c, func(ctx context.Context) (*compute.Project, error) { return c.Projects.Get("proj").Context(ctx).Do() })
}

const canary = "canary-in-the-credential"

// serviceAccount is a key of one whose tokens the server issues.
func (a *api) serviceAccount(t *testing.T) []byte {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	text, err := json.Marshal(map[string]string{
		"type": "service_account", "client_email": "me@proj.iam.gserviceaccount.com", "private_key_id": canary,
		"private_key": string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})), "token_uri": a.URL + "/token",
	})
	if err != nil {
		t.Fatal(err)
	}
	return text
}

func (a *api) user() []byte {
	return []byte(`{"type":"authorized_user","client_id":"id","client_secret":"` + canary + `","refresh_token":"` + canary + `","token_uri":"` + a.URL + `/token"}`)
}

func TestBothKindsOfCredentialsAreSentAsTokens(t *testing.T) {
	a := newAPI(t)
	a.answer = func(w http.ResponseWriter, bearer string) { fmt.Fprintf(w, `{"name":%q}`, bearer) }
	for name, credential := range map[string][]byte{"service account": a.serviceAccount(t), "user": a.user()} {
		a.tokens.Store(0)
		c := a.client(t, credential)
		for range 3 {
			if got, err := project(t.Context(), c); err != nil || got.Name != "token-1" {
				t.Errorf("%s: %+v %v", name, got, err)
			}
		}
	}
}

func TestATokenThatExpiresHalfwayIsRenewed(t *testing.T) {
	a := newAPI(t)
	good := "token-1"
	a.answer = func(w http.ResponseWriter, bearer string) {
		if bearer != good {
			w.WriteHeader(http.StatusUnauthorized)
			fmt.Fprint(w, `{"error":{"code":401,"message":"Invalid Credentials","errors":[{"reason":"authError"}]}}`)
			return
		}
		fmt.Fprint(w, `{"name":"proj"}`)
	}
	c := a.client(t, a.user())
	if _, err := project(t.Context(), c); err != nil {
		t.Fatal(err)
	}
	good = "token-2" // the first was taken back long before its time
	if _, err := project(t.Context(), c); err != nil || a.tokens.Load() != 2 {
		t.Errorf("%v after %d tokens", err, a.tokens.Load())
	}
	good = "nobody's"
	if _, err := project(t.Context(), c); !fault.Is(err, fault.Denied) || fault.HintOf(err) == "" || a.tokens.Load() != 3 {
		t.Errorf("%v, hint %q, after %d tokens", err, fault.HintOf(err), a.tokens.Load())
	}
}

func TestCredentialsThatAreNoMoreSayNothingOfThemselves(t *testing.T) {
	a := newAPI(t)
	for want, answer := range map[fault.Kind]func(int64) (int, string){
		fault.Denied: func(int64) (int, string) {
			return http.StatusBadRequest, `{"error":"invalid_grant","error_description":"` + canary + `"}`
		},
		fault.Unavailable: func(int64) (int, string) { return http.StatusServiceUnavailable, canary },
	} {
		a.issue = answer
		_, err := project(t.Context(), a.client(t, a.user()))
		if !fault.Is(err, want) || strings.Contains(fmt.Sprintf("%v %+v %s", err, err, fault.HintOf(err)), canary) {
			t.Errorf("want %s without the canary: %v", want, err)
		}
	}
}

func TestCredentialsThatCannotBeUsedAreRefused(t *testing.T) {
	pool := NewPool(Config{})
	for name, content := range map[string]string{
		"none": "", "no JSON": canary, "another kind": `{"type":"external_account","credential_source":{"file":"/etc/shadow"}}`,
		"a program": `{"type":"external_account","credential_source":{"executable":{"command":"id"}}}`, "no kind": `{"a":"` + canary + `"}`,
		"half a user": `{"type":"authorized_user","client_secret":"` + canary + `"}`, "half an account": `{"type":"service_account","private_key":"` + canary + `"}`,
		"a token_uri that is none": `{"type":"service_account","client_email":"a@b","private_key":"x","token_uri":"` + canary + `"}`,
	} {
		_, err := pool.Client(t.Context(), Place{Project: "proj", Credential: []byte(content)})
		if !fault.Is(err, fault.Precondition) || fault.HintOf(err) == "" || strings.Contains(err.Error(), canary) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestWithoutEncryptionNoCredentialIsSentOrNeeded(t *testing.T) {
	seen := "nothing"
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		seen = r.Header.Get("Authorization")
		w.Header().Set("Content-Type", "application/json")
		fmt.Fprint(w, `{"name":"proj"}`)
	}))
	defer server.Close()
	for _, credential := range []string{"", `{"type":"authorized_user"}`} {
		pool := NewPool(Config{Transport: server.Client().Transport})
		c, err := pool.Client(t.Context(), Place{Endpoint: server.URL + "/compute/v1", Project: "proj", Credential: []byte(credential)})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := project(t.Context(), c); err != nil || seen != "" {
			t.Errorf("%v, sent %q", err, seen)
		}
	}
}

func TestATokenIsNotTakenElsewhere(t *testing.T) {
	var stolen atomic.Bool
	elsewhere := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { stolen.Store(true) }))
	defer elsewhere.Close()
	a := newAPI(t)
	a.answer = func(w http.ResponseWriter, _ string) {
		w.Header().Set("Location", elsewhere.URL)
		w.WriteHeader(http.StatusFound)
	}
	if _, err := project(t.Context(), a.client(t, a.user())); !fault.Is(err, fault.Precondition) || stolen.Load() {
		t.Errorf("%v, followed: %t", err, stolen.Load())
	}
}

func TestAnswersThatAreNotTheAPIsAreSaidToBeNone(t *testing.T) {
	for name, c := range map[string]struct {
		status     int
		kind, body string
		want       fault.Kind
	}{
		"HTML":                {200, "text/html", "<html>welcome</html>", fault.Precondition},
		"garbage":             {200, "application/json", "\x00\x01\x02", fault.Precondition},
		"another shape":       {200, "application/json", `{"name":{}}`, fault.Precondition},
		"a page not found":    {404, "text/html", "<html>not found</html>", fault.Precondition},
		"a login page":        {403, "text/html", "<html>log in</html>", fault.Precondition},
		"the API's not found": {404, "application/json", `{"error":{"code":404,"message":"The resource was not found","errors":[{"reason":"notFound"}]}}`, fault.NotFound},
		"API switched off":    {403, "application/json", `{"error":{"code":403,"message":"Compute Engine API has not been used","errors":[{"reason":"accessNotConfigured"}]}}`, fault.Precondition},
		"a quota":             {403, "application/json", `{"error":{"code":403,"message":"Quota","errors":[{"reason":"quotaExceeded"}]}}`, fault.Quota},
		"a limit of the rate": {403, "application/json", `{"error":{"code":403,"message":"Rate","errors":[{"reason":"rateLimitExceeded"}]}}`, fault.Unavailable},
		"a long sentence":     {400, "application/json", `{"error":{"code":400,"message":"` + strings.Repeat("x\\n\\u001b[31m", 1000) + `"}}`, fault.Invalid},
	} {
		t.Run(name, func(t *testing.T) {
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("Content-Type", c.kind)
				w.WriteHeader(c.status)
				fmt.Fprint(w, c.body)
			}))
			defer server.Close()
			client, err := NewPool(Config{Transport: server.Client().Transport, Pause: time.Millisecond}).Client(t.Context(), Place{Endpoint: server.URL, Project: "proj"})
			if err != nil {
				t.Fatal(err)
			}
			_, err = project(t.Context(), client.Hasty())
			if !fault.Is(err, c.want) || len(err.Error()) > 600 || strings.ContainsAny(err.Error(), "\n\x1b") {
				t.Errorf("%v, want %s", err, c.want)
			}
		})
	}
}

func TestAnEndpointThatDoesNotAnswerIsTold(t *testing.T) {
	server := httptest.NewServer(http.NotFoundHandler())
	server.Close()
	c, err := NewPool(Config{Pause: time.Millisecond}).Client(t.Context(), Place{Endpoint: server.URL, Project: "proj"})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := project(t.Context(), c.Hasty()); !fault.Is(err, fault.Unavailable) || !strings.Contains(err.Error(), "can't be reached: connect: connection refused") || strings.Contains(err.Error(), "projects/") {
		t.Errorf("%v", err)
	}
	silent := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }))
	defer silent.Close()
	transport := silent.Client().Transport
	c, err = NewPool(Config{Transport: transport, Pause: time.Millisecond}).Client(t.Context(), Place{Endpoint: silent.URL, Project: "proj"})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := project(ctx, c.Hasty()); !fault.Is(err, fault.Unavailable) || !strings.Contains(err.Error(), "did not answer in time") {
		t.Errorf("%v", err)
	}
}

// world is a client whose transport answers by itself, for tests in a bubble of time.
type transportFunc func(*http.Request) (*http.Response, error)

func (f transportFunc) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

func answer(status int, header http.Header, body string) (*http.Response, error) {
	recorder := httptest.NewRecorder()
	for key := range header {
		recorder.Header().Set(key, header.Get(key))
	}
	recorder.WriteHeader(status)
	fmt.Fprint(recorder, body)
	return recorder.Result(), nil
}

func TestARetryAfterKeepsEverybodyAway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var mu sync.Mutex
		var asked []time.Duration
		start := time.Now()
		transport := transportFunc(func(*http.Request) (*http.Response, error) {
			mu.Lock() // both callers may ask at the end of the pause
			defer mu.Unlock()
			asked = append(asked, time.Since(start))
			if len(asked) == 1 {
				return answer(429, http.Header{"Retry-After": {"7"}}, `{"error":{"code":429,"message":"slow down"}}`)
			}
			return answer(200, nil, `{"name":"proj"}`)
		})
		c, err := NewPool(Config{Transport: transport}).Client(t.Context(), Place{Endpoint: "http://api", Project: "proj"})
		if err != nil {
			t.Fatal(err)
		}
		done := make(chan error)
		go func() { _, err := project(t.Context(), c); done <- err }()
		synctest.Wait()
		if _, err := project(t.Context(), c); err != nil { // another caller of the same project
			t.Error(err)
		}
		if err := <-done; err != nil {
			t.Error(err)
		}
		if len(asked) != 3 || asked[1] < 7*time.Second || asked[2] < 7*time.Second {
			t.Errorf("asked at %v, want both later ones after 7 s", asked)
		}
	})
}

func TestTheProjectsPaceIsKeptByAll(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		transport := transportFunc(func(*http.Request) (*http.Response, error) { return answer(200, nil, `{"name":"proj"}`) })
		pool := NewPool(Config{Transport: transport, Rate: rate.Limit(10), Burst: 5})
		start := time.Now()
		done := make(chan error)
		for range 25 {
			go func() {
				c, err := pool.Client(t.Context(), Place{Endpoint: "http://api", Project: "proj"})
				if err == nil {
					_, err = project(t.Context(), c)
				}
				done <- err
			}()
		}
		for range 25 {
			if err := <-done; err != nil {
				t.Error(err)
			}
		}
		if took := time.Since(start); took != 2*time.Second {
			t.Errorf("25 requests took %s, want 2 s: 5 at once, then 10 a second", took)
		}
	})
}

func TestAWaitThatReturnsEarlyIsMadeAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		waits, start := 0, time.Now()
		transport := transportFunc(func(*http.Request) (*http.Response, error) {
			waits++
			status := "RUNNING"
			if time.Since(start) > time.Minute {
				status = "DONE"
			}
			return answer(200, nil, `{"name":"op","zone":"https://api/projects/proj/zones/z","selfLink":"https://api/projects/proj/zones/z/operations/op","status":"`+status+`"}`)
		})
		c, err := NewPool(Config{Transport: transport}).Client(t.Context(), Place{Endpoint: "http://api", Project: "proj"})
		if err != nil {
			t.Fatal(err)
		}
		op := &compute.Operation{Name: "op", Zone: "https://api/projects/proj/zones/z", Status: "RUNNING"}
		if err := c.Await(t.Context(), op); err != nil || waits > 30 {
			t.Errorf("%v after %d waits", err, waits)
		}
		start = time.Now().Add(time.Hour) // one that never ends
		err = c.Await(t.Context(), op)
		if !fault.Is(err, fault.Unavailable) || !strings.Contains(err.Error(), "has not ended after 5m") {
			t.Errorf("%v", err)
		}
	})
}

func TestAWriteThatWasSentIsHeardOut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		transport := transportFunc(func(r *http.Request) (*http.Response, error) {
			timer := time.NewTimer(5 * time.Second)
			defer timer.Stop()
			select {
			case <-timer.C:
				return answer(200, nil, `{"name":"op","status":"DONE"}`)
			case <-r.Context().Done():
				return nil, r.Context().Err()
			}
		})
		c, err := NewPool(Config{Transport: transport}).Client(t.Context(), Place{Endpoint: "http://api", Project: "proj"})
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		op, err := c.Begin(ctx, "", func(ctx context.Context, id string) (*compute.Operation, error) {
			return c.Instances.Delete("proj", "z", "i").RequestId(id).Context(ctx).Do()
		})
		if err != nil || op.Name != "op" {
			t.Errorf("%+v %v", op, err)
		}
	})
}

func TestNamesAreTakenApart(t *testing.T) {
	for text, want := range map[string]Name{
		"https://www.googleapis.com/compute/v1/projects/p/global/images/i":         {"p", "global", "images", "i"},
		"https://compute.googleapis.com/compute/v1/projects/p/zones/z/instances/i": {"p", "zones/z", "instances", "i"},
		"debian-cloud/global/images/family/debian-12":                              {"debian-cloud", "global", "images", "family/debian-12"},
		"projects/p/regions/r/subnetworks/s":                                       {"p", "regions/r", "subnetworks", "s"},
		"global/networks/n":                                                        {"", "global", "networks", "n"},
		"n":                                                                        {"", "", "", "n"},
		"family/f":                                                                 {"", "", "", "family/f"},
		"p/i":                                                                      {"p", "", "", "i"},
	} {
		if got := Parse(text); got != want {
			t.Errorf("%s: %+v, want %+v", text, got, want)
		}
	}
}

func TestWhatIsRememberedIsForgottenAfterAMinute(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := &Client{memory: &memory{known: map[string]known{}}}
		for i := range 100 {
			_, err := Remember(t.Context(), c, fmt.Sprint(i), func(context.Context) (int, error) { return i, nil })
			if err != nil {
				t.Fatal(err)
			}
			<-time.After(lasting / 4)
		}
		if n := len(c.memory.known); n > 5 {
			t.Errorf("%d answers are kept, want those of a minute", n)
		}
	})
}
