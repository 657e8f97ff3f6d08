package google

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"time"

	"google.golang.org/api/compute/v1"

	"mctl/test/cloud/google/discovery"
	"mctl/test/cloud/lab"
)

// BasePath is where the API begins.
const BasePath = "/compute/v1/"

// Config says what a client finds. The zero value is good for most tests.
type Config struct {
	Projects []string // none for "lab-project"
	// PageSize is how many things a page of a list has at most, whatever the client asks for; zero for 500.
	PageSize int
	// WaitLimit is how long the wait calls of operations wait; zero for two seconds. They return early, as Google's may.
	WaitLimit time.Duration
	// OlderParameters are query parameters that clients of an older document may send, although ours does not have them.
	OlderParameters []string
	// Authorize looks at the Authorization header of each request; nil lets everybody in.
	Authorize func(header string) *lab.Error
}

// Server is the front. It is an http.Handler.
type Server struct {
	lab      *lab.Lab
	config   Config
	document *discovery.Document
	handlers map[string]handler

	mu           sync.Mutex
	undocumented []string
	metadata     map[string]*compute.Metadata // of projects
}

// handler answers one method. What it returns is marshalled; an error becomes one in Google's shape.
type handler func(*Server, *request) (any, error)

// request is a call that was admitted.
type request struct {
	*http.Request
	method *discovery.Method
	path   map[string]string
	query  url.Values
	body   []byte
	call   *lab.Call
}

// document is read once: it is large, and constant.
var document = sync.OnceValues(func() (*discovery.Document, error) {
	return discovery.Load(context.Background(), "google.golang.org/api", "compute/v1/compute-api.json")
})

// New makes a front with a network "default" in every project. Hosts of the lab may be real or records.
func New(ctx context.Context, l *lab.Lab, config Config) (*Server, error) {
	if len(config.Projects) == 0 {
		config.Projects = []string{"lab-project"}
	}
	if config.PageSize == 0 {
		config.PageSize = 500
	}
	if config.WaitLimit == 0 {
		config.WaitLimit = 2 * time.Second
	}
	d, err := document()
	if err != nil {
		return nil, err
	}
	s := &Server{lab: l, config: config, document: d, handlers: handlers(), metadata: map[string]*compute.Metadata{}}
	return s, s.furnish(ctx)
}

// Undocumented lists the requests that the API does not document, those that the lab does not serve, and answers of the
// lab's own that are wrong.
func (s *Server) Undocumented() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]string(nil), s.undocumented...)
}

func (s *Server) count(r *http.Request, text string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.undocumented = append(s.undocumented, r.Method+" "+r.URL.RequestURI()+": "+text)
}

// ServeHTTP answers.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(io.LimitReader(r.Body, 4<<20))
	if err != nil {
		return // nobody is there any more
	}
	value, raw, method, err := s.answer(r, body)
	switch {
	case errors.Is(err, context.Canceled):
	case raw != nil:
		w.Header().Set("Content-Type", raw.ContentType)
		w.WriteHeader(raw.Status)
		_, _ = io.WriteString(w, raw.Body)
	case err != nil:
		writeError(w, err)
	default:
		s.write(w, r, method, value)
	}
}

// answer does what a request asks for.
func (s *Server) answer(r *http.Request, body []byte) (any, *lab.Raw, *discovery.Method, error) {
	path, ok := strings.CutPrefix(r.URL.Path, s.document.BasePath)
	method, values := s.document.Match(r.Method, path)
	if !ok || method == nil {
		s.count(r, "no such method")
		return nil, nil, nil, &apiError{Code: http.StatusNotFound, Reason: "notFound", Message: "The requested URL " + r.URL.Path + " was not found on this server."}
	}
	if err := s.check(r, method, values, body); err != nil {
		return nil, nil, method, err
	}
	q := &request{Request: r, method: method, path: values, query: r.URL.Query(), body: body}
	if err := s.authorize(q); err != nil {
		return nil, nil, method, err
	}
	var err error
	if q.call, err = s.lab.Admit(r.Context(), q.name(), q.scope(), q.subject()); err != nil {
		return nil, nil, method, q.fail(err)
	}
	if q.call.Raw != nil {
		return nil, q.call.Raw, method, nil
	}
	handle := s.handlers[q.name()]
	if handle == nil {
		s.count(r, "the lab does not serve "+method.ID)
		return nil, nil, method, &apiError{Code: http.StatusNotImplemented, Reason: "notImplemented", Message: "the lab does not serve " + method.ID}
	}
	if err := s.place(q); err != nil {
		return nil, nil, method, err
	}
	value, err := handle(s, q)
	if q.call.LoseAnswer {
		panic(http.ErrAbortHandler) // how net/http is asked to break the connection
	}
	if err != nil {
		return nil, nil, method, q.fail(err)
	}
	return value, nil, method, nil
}

// check holds a request against the document.
func (s *Server) check(r *http.Request, m *discovery.Method, path map[string]string, body []byte) error {
	query := r.URL.Query()
	for _, name := range s.config.OlderParameters {
		query.Del(name)
	}
	problems := s.document.CheckParameters(m, path, query)
	if kind, _, _ := strings.Cut(r.Header.Get("Content-Type"), ";"); len(body) > 0 && kind != "application/json" {
		problems = append(problems, discovery.Problem{Kind: discovery.WrongType, Where: "Content-Type", Text: "want application/json, got " + kind})
	}
	problems = append(problems, s.document.CheckBody(m, body)...)
	if r.URL.Query().Has("fields") {
		problems = append(problems, discovery.Problem{Kind: discovery.UnknownParameter, Where: "fields", Text: "the lab does not serve partial answers"})
	}
	for _, p := range problems {
		if p.Kind != discovery.WrongPattern {
			s.count(r, p.String())
		}
	}
	if len(problems) == 0 {
		return nil
	}
	reason := "invalid"
	if problems[0].Kind == discovery.Missing {
		reason = "required"
	}
	return &apiError{Code: http.StatusBadRequest, Reason: reason, Message: problems[0].Text}
}

func (s *Server) authorize(q *request) error {
	if s.config.Authorize == nil {
		return nil
	}
	if err := s.config.Authorize(q.Header.Get("Authorization")); err != nil {
		return q.fail(err)
	}
	return nil
}

func (s *Server) write(w http.ResponseWriter, r *http.Request, m *discovery.Method, value any) {
	content, err := json.MarshalIndent(value, "", "  ")
	if err != nil {
		s.count(r, err.Error())
	}
	for _, p := range s.document.CheckAnswer(m, content) {
		s.count(r, "the answer is wrong: "+p.String())
	}
	w.Header().Set("Content-Type", "application/json; charset=UTF-8")
	_, _ = w.Write(content)
}

// name is the call's name for faults and counts.
func (q *request) name() string { return strings.TrimPrefix(q.method.ID, "compute.") }

// scope is where the call acts.
func (q *request) scope() string {
	switch {
	case q.path["zone"] != "":
		return q.path["project"] + "/zones/" + q.path["zone"]
	case q.path["region"] != "":
		return q.path["project"] + "/regions/" + q.path["region"]
	}
	return q.path["project"] + "/global"
}

// subject is what the call is about.
func (q *request) subject() string {
	parts := strings.Split(q.method.Path, "/")
	for i := len(parts) - 1; i >= 0; i-- {
		name, parameter := strings.CutPrefix(parts[i], "{")
		name = strings.TrimSuffix(name, "}")
		if parameter && name != "zone" && name != "region" && name != "project" {
			return q.path[name]
		}
	}
	var named struct{ Name string }
	_ = json.Unmarshal(q.body, &named)
	return named.Name
}

// ref is the thing that the path names.
func (q *request) ref() lab.Ref { return lab.Ref{Scope: q.scope(), Name: q.subject()} }

// decode reads the body.
func decode[T any](q *request) (*T, error) {
	value := new(T)
	if len(bytes.TrimSpace(q.body)) == 0 {
		return value, nil
	}
	if err := json.Unmarshal(q.body, value); err != nil {
		return nil, invalid("body", string(q.body), err.Error())
	}
	return value, nil
}

func retryAfter(d time.Duration) string {
	return strconv.Itoa(int((d + time.Second - 1) / time.Second))
}
