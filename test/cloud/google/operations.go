package google

import (
	"net/http"
	"strings"
	"time"

	"github.com/google/uuid"
	"google.golang.org/api/compute/v1"

	"mctl/test/cloud/lab"
)

// target is what an operation's doc keeps: the path of the resource that it acts on.
type target string

// begin has an operation made, once for each request id.
func (s *Server) begin(q *request, path string, act func(lab.Operation) (lab.Operation, error)) (any, error) {
	token := q.query.Get("requestId")
	if token != "" {
		if id, err := uuid.Parse(token); err != nil || id == uuid.Nil || len(token) != 36 {
			return nil, invalid("requestId", token, "Must be a UUID that is not zero.")
		}
		token = q.path["project"] + "/" + token
	}
	action := q.name()[strings.IndexByte(q.name(), '.')+1:]
	o, err := s.lab.Once(q.Context(), token, func() (lab.Operation, error) {
		return act(lab.Operation{Record: lab.Record{Ref: lab.Ref{Scope: q.scope()}, Doc: target(path)}, Action: action})
	})
	if err != nil {
		return nil, err
	}
	return operation(o), nil
}

// operation is an operation as the API shows it.
func operation(o lab.Operation) *compute.Operation {
	place, path := o.Scope, "projects/"+o.Scope+"/operations/"+o.Name
	shown := &compute.Operation{
		Kind: "compute#operation", Id: o.ID, Name: o.Name, OperationType: o.Action, TargetId: o.Target,
		TargetLink: link(string(o.Doc.(target))), SelfLink: link(path), User: "lab@example.com", InsertTime: stamp(o.Begun),
		StartTime: stamp(o.Begun), Status: "RUNNING",
	}
	if values := follow(place, "*/zones/*"); values != nil {
		shown.Zone = link("projects/" + place)
	}
	if values := follow(place, "*/regions/*"); values != nil {
		shown.Region = link("projects/" + place)
	}
	if o.Ended.IsZero() {
		return shown
	}
	shown.Status, shown.Progress, shown.EndTime = "DONE", 100, stamp(o.Ended)
	if o.Err != nil {
		problem, status := operationError(place, o.Err)
		shown.Error = &compute.OperationError{Errors: []*compute.OperationErrorErrors{problem}}
		shown.HttpErrorStatusCode = int64(status)
		shown.HttpErrorMessage = strings.ToUpper(http.StatusText(status))
	}
	return shown
}

func (s *Server) getOperation(q *request) (any, error) {
	o, err := s.lab.Operation(q.ref())
	if err != nil {
		return nil, err
	}
	return operation(o), nil
}

// waitOperation waits a little, and says how the operation is then.
func (s *Server) waitOperation(q *request) (any, error) {
	o, err := s.lab.WaitOperation(q.Context(), q.ref(), s.config.WaitLimit)
	if err != nil {
		return nil, err
	}
	return operation(o), nil
}

func (s *Server) listOperations(q *request) (any, error) {
	return list(s, q, "compute#operationList", s.operations(q.scope()))
}

func (s *Server) aggregatedOperations(q *request) (any, error) {
	return aggregated(s, q, "compute#operationAggregatedList", "operations", s.operations(q.path["project"]))
}

// operations lists those whose scope begins with a prefix.
func (s *Server) operations(prefix string) []*compute.Operation {
	var shown []*compute.Operation
	for _, o := range s.lab.Operations() {
		if o.Scope == prefix || strings.HasPrefix(o.Scope, prefix+"/") {
			shown = append(shown, operation(o))
		}
	}
	return shown
}

// stamp is a time as the API writes it.
func stamp(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.UTC().Format("2006-01-02T15:04:05.000-07:00")
}
