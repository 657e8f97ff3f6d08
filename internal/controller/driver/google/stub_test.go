package google

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"path"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// stub is a small Compute Engine: objects are JSON by path, changes are operations that take a while, lists have pages of one.
// It is not strict; the lab under test/cloud is.
type stub struct {
	*httptest.Server
	mu       sync.Mutex
	objects  map[string]map[string]any // by path below the project
	ops      map[string]*stubOp
	byID     map[string]string // operations by request id
	count    int
	requests []string // method and path of each

	opTime   time.Duration                                               // how long an operation takes
	fail     func(opType, target string) (code, message string)          // how operations end
	answer   func(w http.ResponseWriter, r *http.Request, p string) bool // answers in the API's place
	deny     []stubFault
	unlisted bool // lists show nothing, as if they lagged behind
}

type stubOp struct {
	name, scope, kind, target string
	due                       time.Time
	apply                     func()
	code, message             string
	done                      bool
}

// stubFault fails the next requests that match.
type stubFault struct {
	match  func(method, p string) bool
	status int // 0 for no answer
	after  bool
	times  int
	header http.Header
	reason string
}

type object = map[string]any

const stubProject = "proj"

func newStub(t *testing.T) *stub {
	t.Helper()
	s := &stub{objects: map[string]map[string]any{}, ops: map[string]*stubOp{}, byID: map[string]string{}, opTime: 5 * time.Millisecond}
	s.Server = httptest.NewServer(http.HandlerFunc(s.serve))
	t.Cleanup(s.Close)
	s.put("", object{"name": stubProject})
	for _, zone := range []string{"us-central1-a", "us-central1-b", "us-central1-c", "us-east1-b"} {
		s.put("zones/"+zone, object{"status": "UP"})
		s.put("zones/"+zone+"/machineTypes/e2-medium", object{})
		s.put("zones/"+zone+"/machineTypes/f1-micro", object{})
		s.put("zones/"+zone+"/diskTypes/pd-standard", object{})
	}
	s.put("zones/us-central1-a/acceleratorTypes/nvidia-tesla-t4", object{"maximumCardsPerInstance": 4})
	s.put("global/images/family/debian-12", object{"name": "debian-12-bookworm", "diskSizeGb": "10"})
	s.put("global/images/rocky", object{"diskSizeGb": "20"})
	s.put("global/networks/default", object{"autoCreateSubnetworks": true})
	s.put("global/networks/own", object{"subnetworks": []string{s.link("regions/us-central1/subnetworks/sub")}})
	s.put("regions/us-central1/subnetworks/sub", object{"network": s.link("global/networks/own")})
	s.put("global/firewalls/default-allow-ssh", object{
		"network": s.link("global/networks/default"), "direction": "INGRESS", "sourceRanges": []string{"0.0.0.0/0"},
		"allowed": []object{{"IPProtocol": "tcp", "ports": []string{"22"}}},
	})
	return s
}

func (s *stub) link(p string) string { return s.URL + "/compute/v1/projects/" + stubProject + "/" + p }

func (s *stub) put(p string, o object) {
	if o["name"] == nil {
		o["name"] = path.Base(p)
	}
	o["selfLink"] = s.link(p)
	parts := strings.Split(p, "/")
	switch parts[0] {
	case "zones":
		o["zone"] = s.link("zones/" + parts[1])
	case "regions":
		o["region"] = s.link("regions/" + parts[1])
	}
	s.objects[p] = o
}

// list names what was made, by path.
func (s *stub) list() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.settle()
	var found []string
	for _, p := range slices.Sorted(maps.Keys(s.objects)) {
		kind := path.Base(path.Dir(p))
		if slices.Contains([]string{"instances", "disks", "addresses", "firewalls"}, kind) && s.objects[p]["fixture"] == nil && !strings.Contains(p, "default-allow") {
			found = append(found, p)
		}
	}
	return found
}

// get returns an object for a test to look at, or to change before anybody asks.
func (s *stub) get(p string) object {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.settle()
	return maps.Clone(s.objects[p])
}

// set puts an object that was there before.
func (s *stub) set(p string, o object) {
	s.mu.Lock()
	defer s.mu.Unlock()
	o["fixture"] = true
	s.put(p, o)
}

func (s *stub) asked(match func(request string) bool) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := 0
	for _, r := range s.requests {
		if match(r) {
			n++
		}
	}
	return n
}

func (s *stub) serve(w http.ResponseWriter, r *http.Request) {
	_, p, _ := strings.Cut(r.URL.Path, "/projects/")
	_, p, _ = strings.Cut(p, "/")
	s.mu.Lock()
	s.requests = append(s.requests, r.Method+" "+p)
	answer := s.answer
	fault := s.strike(r.Method, p)
	s.mu.Unlock()
	if answer != nil && answer(w, r, p) {
		return
	}
	if fault != nil && !fault.after {
		fault.send(w)
		return
	}
	status, text := s.handle(r, p)
	if fault != nil {
		fault.send(w)
		return
	}
	w.Header().Set("Content-Type", "application/json; charset=UTF-8")
	w.WriteHeader(status)
	_, _ = w.Write(text)
}

// handle answers in JSON, made while nothing changes.
func (s *stub) handle(r *http.Request, p string) (int, []byte) {
	if path.Base(p) == "wait" {
		s.await(path.Base(path.Dir(p)))
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.settle()
	status, body := s.act(r, p)
	text, err := json.Marshal(body)
	if err != nil {
		panic(err)
	}
	return status, text
}

func (s *stub) strike(method, p string) *stubFault {
	for i := range s.deny {
		if f := &s.deny[i]; f.times > 0 && f.match(method, p) {
			f.times--
			return f
		}
	}
	return nil
}

func (f *stubFault) send(w http.ResponseWriter) {
	if f.status == 0 {
		panic(http.ErrAbortHandler)
	}
	maps.Copy(w.Header(), f.header)
	reason := f.reason
	if reason == "" {
		reason = "backendError"
	}
	reply(w, f.status, apiError(f.status, reason, "told to fail"))
}

func apiError(code int, reason, message string) object {
	return object{"error": object{"code": code, "message": message, "errors": []object{{"reason": reason, "message": message}}}}
}

func reply(w http.ResponseWriter, status int, body any) {
	w.Header().Set("Content-Type", "application/json; charset=UTF-8")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(body)
}

func missing(p string) (int, any) {
	return http.StatusNotFound, apiError(http.StatusNotFound, "notFound", fmt.Sprintf("The resource '%s' was not found", p))
}

// settle carries out the operations whose time has come. s.mu is held.
func (s *stub) settle() {
	for _, name := range slices.Sorted(maps.Keys(s.ops)) {
		op := s.ops[name]
		if op.done || time.Now().Before(op.due) {
			continue
		}
		op.done = true
		if op.code == "" {
			op.apply()
		}
	}
}

// act does what is asked. s.mu is held.
func (s *stub) act(r *http.Request, p string) (int, any) {
	parts := strings.Split(p, "/")
	if parts[len(parts)-1] == "wait" {
		p = path.Dir(p)
	}
	switch {
	case r.Method == http.MethodGet && parts[0] == "aggregated":
		return http.StatusOK, s.aggregated(r, parts[1])
	case r.Method == http.MethodGet && path.Base(p) == "firewalls" && s.unlisted:
		return http.StatusOK, object{}
	case r.Method == http.MethodGet && (p == "zones" || path.Base(p) == "operations" || path.Base(p) == "firewalls"):
		return http.StatusOK, s.page(r, p)
	case path.Base(path.Dir(p)) == "operations":
		if op := s.ops[path.Base(p)]; op != nil {
			return http.StatusOK, s.shown(op)
		}
		return missing(p)
	case r.Method == http.MethodGet:
		if found := s.objects[p]; found != nil {
			return http.StatusOK, found
		}
		return missing(p)
	case r.Method == http.MethodDelete:
		if s.objects[p] == nil {
			return missing(p)
		}
		return s.begin(r, "delete", p, func() { s.vanish(p) })
	}
	var body object
	_ = json.NewDecoder(r.Body).Decode(&body)
	if verb := path.Base(p); slices.Contains([]string{"start", "stop", "resume", "setLabels", "setTags", "setMetadata", "reset"}, verb) {
		target := path.Dir(p)
		if s.objects[target] == nil {
			return missing(target)
		}
		return s.begin(r, verb, target, func() { s.do(verb, s.objects[target], body) })
	}
	return s.insert(r, p+"/"+fmt.Sprint(body["name"]), body)
}

// vanish removes an object, and the disks that go with an instance. s.mu is held.
func (s *stub) vanish(p string) {
	for _, name := range texts(s.objects[p], "stubDisks") {
		delete(s.objects, path.Dir(path.Dir(p))+"/disks/"+name)
	}
	delete(s.objects, p)
}

func texts(o object, key string) []string {
	list, _ := o[key].([]string)
	return list
}

func (s *stub) do(verb string, o, body object) {
	if o == nil {
		return
	}
	switch verb {
	case "start", "resume":
		s.boot(o)
	case "stop":
		o["status"], o["lastStopTimestamp"] = "TERMINATED", time.Now().Format(time.RFC3339Nano)
		for _, access := range accesses(o) {
			delete(access, "natIP")
		}
	case "setLabels":
		o["labels"], o["labelFingerprint"] = body["labels"], fmt.Sprint(s.count)
	case "setTags":
		o["tags"] = body
	case "setMetadata":
		o["metadata"] = body
	case "reset":
		resets, _ := o["stubResets"].(int)
		o["stubResets"] = resets + 1
	}
}

func accesses(o object) []object {
	var all []object
	nics, _ := o["networkInterfaces"].([]any)
	for _, nic := range nics {
		list, _ := nic.(object)["accessConfigs"].([]any)
		for _, access := range list {
			all = append(all, access.(object))
		}
	}
	return all
}

// boot turns an instance on, with another external address where it has no static one. s.mu is held.
func (s *stub) boot(o object) {
	o["status"] = "RUNNING"
	for _, access := range accesses(o) {
		if access["natIP"] == nil || access["natIP"] == "" {
			s.count++
			access["natIP"] = fmt.Sprintf("203.0.113.%d", s.count%250+1)
		}
	}
}

func (s *stub) insert(r *http.Request, p string, body object) (int, any) {
	if id := r.URL.Query().Get("requestId"); s.byID[id] != "" {
		return http.StatusOK, s.shown(s.ops[s.byID[id]])
	}
	if s.objects[p] != nil {
		return http.StatusConflict, apiError(http.StatusConflict, "alreadyExists", p+" already exists")
	}
	s.count++
	kind := path.Base(path.Dir(p))
	return s.begin(r, "insert", p, func() {
		s.put(p, body)
		switch kind {
		case "addresses":
			body["address"], body["labelFingerprint"], body["labels"] = fmt.Sprintf("198.51.100.%d", s.count%250+1), "0", nil
		case "instances":
			s.madeInstance(p, body)
		}
	})
}

func (s *stub) madeInstance(p string, body object) {
	s.count++
	for _, nic := range body["networkInterfaces"].([]any) {
		nic.(object)["networkIP"] = fmt.Sprintf("10.0.0.%d", s.count%250+1)
	}
	for _, disk := range body["disks"].([]any) {
		if params, ok := disk.(object)["initializeParams"].(object); ok {
			name := fmt.Sprint(params["diskName"])
			s.put(path.Dir(path.Dir(p))+"/disks/"+name, object{"labels": params["labels"]})
			body["stubDisks"] = []string{name}
		}
	}
	s.boot(body)
}

func (s *stub) begin(r *http.Request, kind, target string, apply func()) (int, any) {
	s.count++
	op := &stubOp{name: fmt.Sprintf("operation-%05d", s.count), kind: kind, target: target, due: time.Now().Add(s.opTime), apply: apply}
	if parts := strings.Split(target, "/"); parts[0] != "global" {
		op.scope = parts[0] + "/" + parts[1]
	}
	if s.fail != nil {
		op.code, op.message = s.fail(kind, target)
	}
	s.ops[op.name] = op
	if id := r.URL.Query().Get("requestId"); id != "" {
		s.byID[id] = op.name
	}
	return http.StatusOK, s.shown(op)
}

func (s *stub) shown(op *stubOp) object {
	scope := op.scope
	if scope == "" {
		scope = "global"
	}
	shown := object{"name": op.name, "operationType": op.kind, "targetLink": s.link(op.target), "status": "RUNNING", "selfLink": s.link(scope + "/operations/" + op.name)}
	if kind, _, ok := strings.Cut(op.scope, "/"); ok {
		shown[strings.TrimSuffix(kind, "s")] = s.link(op.scope)
	}
	if op.done {
		shown["status"], shown["endTime"] = "DONE", op.due.Format(time.RFC3339Nano)
		if op.code != "" {
			shown["error"] = object{"errors": []object{{"code": op.code, "message": op.message}}}
		}
	}
	return shown
}

// await answers early where an operation takes long, as the API may.
func (s *stub) await(name string) {
	ticker := time.NewTicker(time.Millisecond)
	defer ticker.Stop()
	for range 10 {
		s.mu.Lock()
		s.settle()
		op := s.ops[name]
		ended := op == nil || op.done
		s.mu.Unlock()
		if ended {
			return
		}
		<-ticker.C
	}
}

// page is a list of one item at a time.
func (s *stub) page(r *http.Request, collection string) object {
	var items []object
	if scope := strings.TrimPrefix(path.Dir(collection), "global"); path.Base(collection) == "operations" {
		for _, name := range slices.Sorted(maps.Keys(s.ops)) {
			if op := s.ops[name]; op.scope == scope && !op.done {
				items = append(items, s.shown(op))
			}
		}
	}
	for _, p := range slices.Sorted(maps.Keys(s.objects)) {
		if path.Dir(p) == collection {
			items = append(items, s.objects[p])
		}
	}
	return cut(r, items, func(item object) any { return []object{item} })
}

func cut(r *http.Request, items []object, show func(object) any) object {
	at := 0
	_, _ = fmt.Sscanf(r.URL.Query().Get("pageToken"), "at-%d", &at)
	if at >= len(items) {
		return object{}
	}
	answer := object{"items": show(items[at])}
	if at+1 < len(items) {
		answer["nextPageToken"] = fmt.Sprintf("at-%d", at+1)
	}
	return answer
}

func (s *stub) aggregated(r *http.Request, kind string) object {
	if s.unlisted {
		return object{}
	}
	filter := strings.TrimPrefix(r.URL.Query().Get("filter"), "labels.")
	key, value, _ := strings.Cut(filter, "=")
	var items []object
	for _, p := range slices.Sorted(maps.Keys(s.objects)) {
		if path.Base(path.Dir(p)) != kind {
			continue
		}
		labels, _ := s.objects[p]["labels"].(map[string]any)
		if filter == "" || key == "name" && s.objects[p]["name"] == value || labels[key] == value {
			items = append(items, s.objects[p])
		}
	}
	return cut(r, items, func(item object) any {
		_, scope, _ := strings.Cut(fmt.Sprint(item["selfLink"]), "/projects/"+stubProject+"/")
		scope = path.Dir(path.Dir(scope))
		return object{scope: object{kind: []object{item}}, "zones/empty": object{"warning": object{"code": "NO_RESULTS_ON_PAGE"}}}
	})
}
