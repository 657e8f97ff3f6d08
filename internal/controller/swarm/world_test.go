package swarm

import (
	"context"
	"crypto/ecdsa"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"mctl/internal/pki"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const limit = 10 * time.Second

// world is some engines that know swarm mode as far as we use it.
type world struct {
	t         *testing.T
	authority *x509.Certificate
	key       *ecdsa.PrivateKey
	client    *Client
	now       time.Time
	signed    int

	mu      sync.Mutex
	engines map[string]*engine
	swarms  map[string]*cluster // by join token's middle
	asked   []string            // of all engines, but what only looks
}

type engine struct {
	w        *world
	name     string
	local    string
	node     string
	swarm    *cluster
	failing  map[string]failure // by method and path; taken once
	lateJoin bool               // it goes on joining in the background
	listener net.Listener
}

type failure struct {
	status  int
	message string
}

type cluster struct {
	id    string
	nodes map[string]*member
	tasks map[string][]string // states by node
}

type member struct {
	ID      string
	Version struct{ Index uint64 }
	Spec    map[string]any
	host    string
	down    bool
}

func newWorld(t *testing.T, names ...string) *world {
	t.Helper()
	key, err := pki.NewKey()
	must(t, err)
	w := &world{t: t, key: key, now: time.Now(), engines: map[string]*engine{}, swarms: map[string]*cluster{}}
	w.authority, err = pki.NewAuthority("engines", key, w.now, time.Hour)
	must(t, err)
	for _, name := range names {
		w.engines[name] = w.serve(name)
	}
	w.client = New(Config{
		Dial: func(ctx context.Context, machine string) net.Conn {
			e, ok := w.engines[machine]
			if !ok {
				near, far := net.Pipe()
				far.Close()
				return near
			}
			conn, err := new(net.Dialer).DialContext(ctx, "tcp", e.listener.Addr().String())
			must(t, err)
			return conn
		},
		Authority: func(context.Context, string) (string, error) { return "default", nil },
		Signer:    w, Now: func() time.Time { return w.now },
	})
	w.client.limit = limit
	return w
}

// SignEngineClient implements Signer.
func (w *world) SignEngineClient(_ context.Context, _, name string, csr []byte) (certificate, authorities []byte, end time.Time, err error) {
	w.signed++
	public, err := pki.RequestKey(csr)
	must(w.t, err)
	leaf, err := pki.Sign(pki.Leaf{
		CommonName: name, Usage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}, NotBefore: w.now.Add(-time.Hour), NotAfter: w.now.Add(time.Hour),
	}, public, w.authority, w.key)
	return pki.EncodeCertificates(leaf), pki.EncodeCertificates(w.authority), w.now.Add(time.Hour), err
}

func (w *world) serve(name string) *engine {
	e := &engine{w: w, name: name, local: "inactive", failing: map[string]failure{}}
	own, err := pki.NewKey()
	must(w.t, err)
	leaf, err := pki.Sign(pki.Leaf{
		CommonName: name, SANs: []string{"localhost"}, Usage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}, NotBefore: w.now.Add(-time.Minute), NotAfter: w.now.Add(time.Hour),
	}, own.Public(), w.authority, w.key)
	must(w.t, err)
	server := httptest.NewUnstartedServer(e)
	server.TLS = &tls.Config{
		Certificates: []tls.Certificate{{Certificate: [][]byte{leaf.Raw}, PrivateKey: own}},
		ClientAuth:   tls.RequireAndVerifyClientCert, ClientCAs: pki.Pool(w.authority),
	}
	server.StartTLS()
	w.t.Cleanup(server.Close)
	e.listener = server.Listener
	return e
}

// ServeHTTP is the engine's API.
func (e *engine) ServeHTTP(answer http.ResponseWriter, r *http.Request) {
	w := e.w
	w.mu.Lock()
	defer w.mu.Unlock()
	call := r.Method + " " + r.URL.Path
	if r.Method != http.MethodGet {
		w.asked = append(w.asked, e.name+" "+call)
	}
	refuse := func(status int, message string) {
		answer.WriteHeader(status)
		_ = json.NewEncoder(answer).Encode(map[string]string{"message": message})
	}
	if f, ok := e.failing[call]; ok {
		delete(e.failing, call)
		refuse(f.status, f.message)
		return
	}
	result, err := e.act(call, r)
	var f *refusal
	switch {
	case errors.As(err, &f):
		refuse(f.status, f.message)
	case result != nil:
		_ = json.NewEncoder(answer).Encode(result)
	}
}

type refusal failure

func (r *refusal) Error() string { return r.message }

func (e *engine) manages() bool {
	return e.swarm != nil && e.local == "active" && e.swarm.nodes[e.node] != nil && e.swarm.nodes[e.node].Spec["Role"] == "manager"
}

func (e *engine) act(call string, r *http.Request) (any, error) {
	noManager := &refusal{503, "This node is not a swarm manager."}
	switch {
	case call == "GET /info":
		return e.info(), nil
	case call == "POST /swarm/init", call == "POST /swarm/join":
		if e.swarm != nil || e.local == "error" {
			return nil, &refusal{503, "This node is already part of a swarm."}
		}
		var body membership
		must(e.w.t, json.NewDecoder(r.Body).Decode(&body))
		return e.enter(call == "POST /swarm/init", body)
	case call == "POST /swarm/leave":
		if e.manages() && r.URL.Query().Get("force") == "" {
			return nil, &refusal{503, "You are attempting to leave the swarm on a node that is participating as a manager."}
		}
		if e.swarm != nil && e.swarm.nodes[e.node] != nil {
			e.swarm.nodes[e.node].down = true
		}
		e.swarm, e.node, e.local = nil, "", "inactive"
		return nil, nil
	case !e.manages():
		return nil, noManager
	case call == "GET /swarm":
		return map[string]any{"ID": e.swarm.id, "JoinTokens": map[string]string{"Worker": "SWMTKN-" + e.swarm.id + "-worker", "Manager": "SWMTKN-" + e.swarm.id + "-manager"}}, nil
	case call == "GET /nodes":
		var all []any
		for _, m := range e.swarm.nodes {
			all = append(all, m.json())
		}
		return all, nil
	case call == "GET /tasks":
		var filter map[string][]string
		must(e.w.t, json.Unmarshal([]byte(r.URL.Query().Get("filters")), &filter))
		tasks := []any{}
		for _, state := range e.swarm.tasks[filter["node"][0]] {
			tasks = append(tasks, map[string]any{"Status": map[string]string{"State": state}})
		}
		return tasks, nil
	}
	id, update := strings.CutSuffix(strings.TrimPrefix(r.URL.Path, "/nodes/"), "/update")
	m := e.swarm.nodes[id]
	switch {
	case m == nil:
		return nil, &refusal{404, "node " + id + " not found"}
	case update:
		if r.URL.Query().Get("version") != strconv.FormatUint(m.Version.Index, 10) {
			return nil, &refusal{500, "rpc error: code = Unknown desc = update out of sequence"}
		}
		spec := map[string]any{}
		must(e.w.t, json.NewDecoder(r.Body).Decode(&spec))
		if managers := e.swarm.managers(); spec["Role"] == "worker" && m.Spec["Role"] == "manager" && managers == 1 {
			return nil, &refusal{400, "rpc error: code = FailedPrecondition desc = attempting to demote the last manager of the swarm"}
		}
		m.Spec = spec
		m.Version.Index++
		return nil, nil
	case r.Method == http.MethodDelete:
		delete(e.swarm.nodes, id)
		return nil, nil
	}
	return m.json(), nil
}

func (c *cluster) managers() (n int) {
	for _, m := range c.nodes {
		if m.Spec["Role"] == "manager" {
			n++
		}
	}
	return n
}

func (e *engine) info() any {
	swarm := map[string]any{"LocalNodeState": e.local, "NodeID": e.node, "ControlAvailable": e.manages()}
	if e.local == "error" {
		swarm["Error"] = "certificate has expired"
	}
	if e.manages() {
		swarm["NodeAddr"], swarm["Cluster"] = "10.0.0.1", map[string]string{"ID": e.swarm.id}
		swarm["RemoteManagers"] = []any{map[string]string{"NodeID": e.node, "Addr": "10.0.0.1:2377"}, map[string]string{"NodeID": "x", "Addr": "10.0.0.2:2377"}}
	}
	return map[string]any{"Swarm": swarm}
}

func (e *engine) enter(first bool, body membership) (any, error) {
	role := "manager"
	if first {
		e.swarm = &cluster{id: "s-" + e.name, nodes: map[string]*member{}, tasks: map[string][]string{}}
		e.w.swarms[e.swarm.id] = e.swarm
	} else {
		token := strings.TrimPrefix(body.JoinToken, "SWMTKN-")
		i := strings.LastIndex(token, "-")
		if i < 0 || e.w.swarms[token[:i]] == nil || len(body.RemoteAddrs) == 0 {
			return nil, &refusal{400, "invalid join token"}
		}
		e.swarm, role = e.w.swarms[token[:i]], token[i+1:]
	}
	e.node = fmt.Sprintf("n%d-%s", len(e.swarm.nodes), e.name)
	e.swarm.nodes[e.node] = &member{ID: e.node, host: e.name, Spec: map[string]any{"Role": role, "Availability": "active", "Labels": map[string]any{"kept": "yes"}}}
	if e.local = "active"; e.lateJoin {
		e.local = "pending"
		return nil, &refusal{503, "Timeout was reached before node joined. The attempt to join the swarm will continue in the background."}
	}
	return e.node, nil
}

func (m *member) json() any {
	result := map[string]any{
		"ID": m.ID, "Version": m.Version, "Spec": m.Spec, "Description": map[string]string{"Hostname": m.host},
		"Status": map[string]string{"State": map[bool]string{true: "down", false: "ready"}[m.down]},
	}
	if m.Spec["Role"] == "manager" {
		result["ManagerStatus"] = map[string]any{"Leader": true, "Reachability": "reachable"}
	}
	return result
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
