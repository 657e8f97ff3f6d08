package cloud

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"sync"
	"time"

	"golang.org/x/oauth2"
	"golang.org/x/oauth2/google"
	"google.golang.org/api/compute/v1"

	"mctl/internal/fault"
)

// tokenLimit bounds one request for a token.
const tokenLimit = 20 * time.Second

// source hands out tokens and forgets one that was refused.
type source struct {
	fresh func() oauth2.TokenSource
	mu    sync.Mutex
	now   oauth2.TokenSource
}

// newSource reads a credential. Only kinds that hold all that is needed are taken: others name files and programs, which
// are the caller's and not the controller's.
func newSource(ctx context.Context, content []byte, transport http.RoundTripper) (*source, error) {
	refuse := func(sentence, hint string) (*source, error) {
		return nil, fault.New("cloud.newSource", fault.Precondition, "", sentence).WithHint(hint)
	}
	const login = "run `gcloud auth application-default login`, or name the JSON key of a service account with --google-application-credentials"
	if len(content) == 0 {
		return refuse("there are no credentials for Google Cloud", login)
	}
	var kind struct {
		Type     string `json:"type"`
		TokenURI string `json:"token_uri"`
	}
	if json.Unmarshal(content, &kind) != nil {
		return refuse("the credentials for Google Cloud are no JSON", login)
	}
	ctx = context.WithValue(context.WithoutCancel(ctx), oauth2.HTTPClient, &http.Client{Transport: transport, Timeout: tokenLimit})
	var fresh func() oauth2.TokenSource
	switch kind.Type {
	case "service_account":
		if _, err := url.ParseRequestURI(kind.TokenURI); kind.TokenURI != "" && err != nil {
			return refuse("the service account's token_uri is no URL", "download the key anew")
		}
		config, err := google.JWTConfigFromJSON(content, compute.CloudPlatformScope)
		if err != nil || config.Email == "" || len(config.PrivateKey) == 0 {
			return refuse("the service account's JSON is incomplete", "download the key anew")
		}
		fresh = func() oauth2.TokenSource { return config.TokenSource(ctx) }
	case "authorized_user":
		var user struct {
			ID      string `json:"client_id"`
			Secret  string `json:"client_secret"`
			Refresh string `json:"refresh_token"`
		}
		if err := json.Unmarshal(content, &user); err != nil || user.Refresh == "" || user.ID == "" {
			return refuse("the user's credentials for Google Cloud are incomplete", login)
		}
		config := oauth2.Config{ClientID: user.ID, ClientSecret: user.Secret, Endpoint: google.Endpoint}
		if kind.TokenURI != "" {
			config.Endpoint.TokenURL = kind.TokenURI
		}
		fresh = func() oauth2.TokenSource { return config.TokenSource(ctx, &oauth2.Token{RefreshToken: user.Refresh}) }
	default:
		return refuse(fmt.Sprintf("credentials of the type %q can't be used", plain(kind.Type)), login)
	}
	return &source{fresh: fresh, now: fresh()}, nil
}

func (s *source) token() (*oauth2.Token, error) {
	s.mu.Lock()
	now := s.now
	s.mu.Unlock()
	token, err := now.Token()
	if err == nil {
		return token, nil
	}
	var refused *oauth2.RetrieveError
	if errors.As(err, &refused) && refused.Response != nil && refused.Response.StatusCode < 500 && refused.Response.StatusCode != http.StatusTooManyRequests {
		return nil, denied("Google no longer takes the credentials")
	}
	var broken *url.Error
	if errors.As(err, &broken) || refused != nil {
		return nil, fault.New("cloud.token", fault.Unavailable, "", "no token is to be had for the credentials at present")
	}
	// What the library says may quote the credential.
	return nil, denied("the credentials for Google Cloud can't be used")
}

// forget has the next request ask for another token than the one that was refused.
func (s *source) forget(refused *oauth2.Token) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if now, err := s.now.Token(); err == nil && now.AccessToken == refused.AccessToken {
		s.now = s.fresh()
	}
}

func denied(sentence string) *fault.Error {
	return fault.New("cloud", fault.Denied, "", sentence).
		WithHint("log in anew (`gcloud auth application-default login`) or put another key in place (`mctl credential add --replace`)")
}

// signed sends a token along. One that is refused is asked for anew once, since it may have been taken back early.
type signed struct {
	next   http.RoundTripper
	source *source
}

func (s *signed) RoundTrip(r *http.Request) (*http.Response, error) {
	for first := true; ; first = false {
		token, err := s.source.token()
		if err != nil {
			return nil, err
		}
		sent := r.Clone(r.Context())
		if r.Body != nil && r.Body != http.NoBody {
			if r.GetBody == nil {
				return nil, errors.New("the request's body can't be repeated")
			}
			if sent.Body, err = r.GetBody(); err != nil {
				return nil, err
			}
		}
		token.SetAuthHeader(sent)
		response, err := s.next.RoundTrip(sent)
		if err != nil || response.StatusCode != http.StatusUnauthorized || !first {
			return response, err
		}
		response.Body.Close()
		s.source.forget(token)
	}
}
