package download

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"mctl/internal/fault"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// site is a server whose answers a test decides, and what downloading from it told and waited.
type site struct {
	*httptest.Server
	asked    atomic.Int32
	told     []string
	pauses   []time.Duration
	onPause  func()
	notProxy http.Transport
}

func newSite(t *testing.T, serve http.HandlerFunc) *site {
	t.Helper()
	s := &site{}
	s.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.asked.Add(1)
		serve(w, r)
	}))
	t.Cleanup(func() { s.notProxy.CloseIdleConnections(); s.Close() })
	return s
}

func (s *site) config() Config {
	return Config{
		HTTP: &http.Client{Transport: &s.notProxy}, Progress: func(line string) { s.told = append(s.told, line) },
		Pause: func(ctx context.Context, d time.Duration) error {
			if s.pauses = append(s.pauses, d); s.onPause != nil {
				s.onPause()
			}
			return ctx.Err()
		},
	}
}

func TestWhatTheServerSendsComesWhole(t *testing.T) {
	want := strings.Repeat("x", maxSize)
	s := newSite(t, func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte(want)) })
	got, err := Get(t.Context(), s.config(), s.URL+"/gpg")
	if err != nil || string(got) != want || len(s.told) != 0 {
		t.Errorf("%d bytes, %v, told %q", len(got), err, s.told)
	}
}

func TestOnlyWebAddressesAreAsked(t *testing.T) {
	for _, address := range []string{"", "x", "file:///etc/passwd", "https://", "ftp://host/x", "http://[::1", "//host/x"} {
		if _, err := Get(t.Context(), Config{}, address); !fault.Is(err, fault.Invalid) || fault.HintOf(err) == "" {
			t.Errorf("%q: %v", address, err)
		}
	}
}

func TestAServerThatHasNoTimeIsAskedAgainAndThenItIsSaid(t *testing.T) {
	for _, status := range []int{http.StatusTooManyRequests, http.StatusInternalServerError, http.StatusBadGateway} {
		s := newSite(t, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(status) })
		_, err := Get(t.Context(), s.config(), s.URL)
		if !fault.Is(err, fault.Precondition) || fault.HintOf(err) == "" || s.asked.Load() != attempts || len(s.told) != attempts-1 {
			t.Errorf("%d: %v after %d requests, told %q", status, err, s.asked.Load(), s.told)
		}
		if want := []time.Duration{time.Second, 2 * time.Second, 4 * time.Second, 8 * time.Second}; !slices.Equal(s.pauses, want) {
			t.Errorf("pauses %v", s.pauses)
		}
	}
}

func TestAServerThatComesBackIsEnough(t *testing.T) {
	var s *site
	s = newSite(t, func(w http.ResponseWriter, _ *http.Request) {
		if s.asked.Load() < 3 {
			panic(http.ErrAbortHandler) // as a connection that breaks
		}
		_, _ = w.Write([]byte("key"))
	})
	if got, err := Get(t.Context(), s.config(), s.URL); err != nil || string(got) != "key" || len(s.pauses) != 2 {
		t.Errorf("%q, %v after pauses %v", got, err, s.pauses)
	}
}

func TestWhatNoRepetitionWouldChangeIsSaidAtOnce(t *testing.T) {
	for name, serve := range map[string]http.HandlerFunc{
		"not there":       http.NotFound,
		"not for us":      func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusForbidden) },
		"nothing in it":   func(http.ResponseWriter, *http.Request) {},
		"too large":       func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(make([]byte, maxSize+1)) },
		"not even a page": func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNoContent) },
	} {
		s := newSite(t, serve)
		if _, err := Get(t.Context(), s.config(), s.URL); !fault.Is(err, fault.Precondition) || fault.HintOf(err) == "" || s.asked.Load() != 1 {
			t.Errorf("%s: %v after %d requests", name, err, s.asked.Load())
		}
	}
}

func TestAnAddressOfHTTPSNeverLeadsToHTTP(t *testing.T) {
	plain := newSite(t, func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("#!/bin/sh\n")) })
	tls := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/there" {
			_, _ = w.Write([]byte("there"))
			return
		}
		http.Redirect(w, r, map[string]string{"/down": plain.URL, "/along": "/there"}[r.URL.Path], http.StatusFound)
	}))
	defer tls.Close()
	c := plain.config()
	c.HTTP = tls.Client()
	if _, err := Get(t.Context(), c, tls.URL+"/down"); !fault.Is(err, fault.Precondition) || !strings.Contains(err.Error(), "https to http") {
		t.Errorf("got %v", err)
	}
	if plain.asked.Load() != 0 || len(plain.pauses) != 0 {
		t.Errorf("it was asked %d times, with pauses %v", plain.asked.Load(), plain.pauses)
	}
	if got, err := Get(t.Context(), c, tls.URL+"/along"); err != nil || string(got) != "there" {
		t.Errorf("%q, %v", got, err)
	}
}

func TestAnAddressThatLeadsOnAndOnIsGivenUp(t *testing.T) {
	s := newSite(t, func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "/", http.StatusFound) })
	if _, err := Get(t.Context(), s.config(), s.URL); !fault.Is(err, fault.Precondition) || s.asked.Load() != attempts*hops {
		t.Errorf("%v after %d requests", err, s.asked.Load())
	}
}

func TestASecretInAnAddressIsNotTold(t *testing.T) {
	s := newSite(t, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusBadGateway) })
	address := strings.Replace(s.URL, "http://", "http://user:secret@", 1) + "/?token=secret"
	_, err := Get(t.Context(), s.config(), address)
	s.Close()
	_, gone := Get(t.Context(), s.config(), address)
	if said := strings.Join(append(s.told, err.Error(), gone.Error(), fault.HintOf(err)), "\n"); strings.Contains(said, "secret") {
		t.Errorf("told %s", said)
	}
}

func TestTheEndOfTheContextEndsTheAttempts(t *testing.T) {
	s := newSite(t, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusBadGateway) })
	ctx, cancel := context.WithCancel(t.Context())
	s.onPause = cancel
	if _, err := Get(ctx, s.config(), s.URL); !errors.Is(err, context.Canceled) || len(s.pauses) != 1 {
		t.Errorf("%v after pauses %v", err, s.pauses)
	}
}
