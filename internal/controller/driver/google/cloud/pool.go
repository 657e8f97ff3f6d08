// Package cloud is the way to one Compute Engine API: credentials, pace, patience, operations, and faults that say what went
// wrong. It knows projects, zones and the API's own types, and nothing of machines.
package cloud

import (
	"context"
	"crypto/sha256"
	"maps"
	"net/http"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/singleflight"
	"golang.org/x/time/rate"
	"google.golang.org/api/compute/v1"
	"google.golang.org/api/option"
)

// DefaultEndpoint is where Google serves the API.
const DefaultEndpoint = "https://compute.googleapis.com/compute/v1/"

// Google lets a project ask about 20 times a second and region; what is saved up may be spent at once.
const (
	requestsPerSecond = 20
	requestsAtOnce    = 60
)

// Config sets what tests need otherwise; the zero value is for use.
type Config struct {
	Transport http.RoundTripper // nil for one of its own
	// OperationLimit is how long one operation is waited for; zero for 5 minutes.
	OperationLimit time.Duration
	// Settle is how long what an operation made may stay unseen; zero for 30 seconds.
	Settle time.Duration
	// Pause is the first pause before a request is made again, and about how often what changes is looked at; zero for half a second.
	Pause time.Duration
	// Rate is how many requests a second one project gets, and Burst how many at once after a rest; zero for 20 and 60.
	Rate  rate.Limit
	Burst int
}

// Place is where to ask, and as whom.
type Place struct {
	Endpoint   string // the base URL, /compute/v1/ included; empty for Google's
	Project    string
	Credential []byte // JSON of a service account or of an authorized user
}

// Pool keeps one client for each place, so that all machines of a project share its pace, its token and what it knows.
type Pool struct {
	config  Config
	mu      sync.Mutex
	clients map[[sha256.Size]byte]*Client
}

// NewPool makes an empty pool.
func NewPool(config Config) *Pool {
	if config.Transport == nil {
		transport := http.DefaultTransport.(*http.Transport).Clone()
		transport.MaxIdleConnsPerHost = requestsAtOnce
		config.Transport = transport
	}
	if config.OperationLimit == 0 {
		config.OperationLimit = 5 * time.Minute
	}
	if config.Settle == 0 {
		config.Settle = 30 * time.Second
	}
	if config.Rate == 0 {
		config.Rate, config.Burst = requestsPerSecond, requestsAtOnce
	}
	if config.Pause == 0 {
		config.Pause = 500 * time.Millisecond
	}
	return &Pool{config: config, clients: map[[sha256.Size]byte]*Client{}}
}

// Settle is how long what an operation made may stay unseen.
func (p *Pool) Settle() time.Duration { return p.config.Settle }

// Client is the API as one project sees it. Its methods are safe for use at the same time.
type Client struct {
	*compute.Service
	Project string
	Limits  Config

	endpoint string
	pace     *pace
	hasty    bool // gives up early: somebody waits for the answer
	memory   *memory
}

// maxClients is how many a pool keeps; more are only there when credentials come and go.
const maxClients = 256

// Client returns the place's client, which outlives ctx. Credentials that cannot be used are fault.Precondition; nothing is asked.
func (p *Pool) Client(ctx context.Context, place Place) (*Client, error) {
	if place.Endpoint == "" {
		place.Endpoint = DefaultEndpoint
	}
	place.Endpoint = strings.TrimSuffix(place.Endpoint, "/") + "/"
	plain := strings.HasPrefix(place.Endpoint, "http://")
	if plain {
		place.Credential = nil // nobody on the way shall read them
	}
	key := sha256.Sum256([]byte(place.Endpoint + "\x00" + place.Project + "\x00" + string(place.Credential)))
	p.mu.Lock()
	defer p.mu.Unlock()
	if found, ok := p.clients[key]; ok {
		return found, nil
	}
	transport := p.config.Transport
	if !plain {
		source, err := newSource(ctx, place.Credential, transport)
		if err != nil {
			return nil, err
		}
		transport = &signed{next: transport, source: source}
	}
	service, err := compute.NewService(context.WithoutCancel(ctx), option.WithEndpoint(place.Endpoint), option.WithHTTPClient(&http.Client{
		Transport:     transport,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}))
	if err != nil {
		return nil, err
	}
	service.UserAgent = "mctl"
	if len(p.clients) >= maxClients {
		clear(p.clients)
	}
	made := &Client{
		Service: service, Project: place.Project, endpoint: place.Endpoint, Limits: p.config,
		pace: &pace{limiter: rate.NewLimiter(p.config.Rate, p.config.Burst)}, memory: &memory{known: map[string]known{}},
	}
	p.clients[key] = made
	return made, nil
}

// Hasty returns the client with less patience, for questions that somebody waits for.
func (c *Client) Hasty() *Client {
	hasty := *c
	hasty.hasty = true
	return &hasty
}

// memory keeps answers that seldom change, so that many machines made at once ask for them once.
type memory struct {
	flight singleflight.Group
	mu     sync.Mutex
	known  map[string]known
}

type known struct {
	value any
	until time.Time
}

// Lasting bounds how long what is remembered counts.
const lasting = time.Minute

// Remember returns what ask answered under a key within the last minute, or asks. Callers that come meanwhile wait for the
// same answer; errors are not kept.
func Remember[T any](ctx context.Context, c *Client, key string, ask func(ctx context.Context) (T, error)) (T, error) {
	m := c.memory
	m.mu.Lock()
	found, ok := m.known[key]
	m.mu.Unlock()
	if ok && time.Now().Before(found.until) {
		return found.value.(T), nil
	}
	answer := m.flight.DoChan(key, func() (any, error) {
		// One who gives up must not end the question for the others.
		asking, cancel := context.WithTimeout(context.WithoutCancel(ctx), lasting)
		defer cancel()
		value, err := ask(asking)
		if err == nil {
			m.mu.Lock()
			defer m.mu.Unlock()
			maps.DeleteFunc(m.known, func(_ string, old known) bool { return time.Now().After(old.until) })
			m.known[key] = known{value, time.Now().Add(lasting)}
		}
		return value, err
	})
	var none T
	select {
	case <-ctx.Done():
		return none, c.faultOf(ctx.Err())
	case result := <-answer:
		if result.Err != nil {
			return none, result.Err
		}
		return result.Val.(T), nil
	}
}
