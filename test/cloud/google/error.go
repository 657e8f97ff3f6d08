package google

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"google.golang.org/api/compute/v1"

	"mctl/test/cloud/lab"
)

// apiError is an error as the API puts it.
type apiError struct {
	Code       int    // HTTP status
	Reason     string // such as "notFound"
	Message    string
	RetryAfter time.Duration
}

func (e *apiError) Error() string { return e.Message }

// words is how the API puts a kind of refusal: in an answer, and in an operation.
type words struct {
	code              int
	reason, operation string
	message           string // in place of the lab's
}

func wordsOf(kind lab.Kind) words {
	switch kind {
	case lab.Invalid:
		return words{400, "invalid", "INVALID_USAGE", ""}
	case lab.NotFound:
		return words{404, "notFound", "RESOURCE_NOT_FOUND", ""}
	case lab.Exists:
		return words{409, "alreadyExists", "RESOURCE_ALREADY_EXISTS", ""}
	case lab.InUse:
		return words{400, "resourceInUseByAnotherResource", "RESOURCE_IN_USE_BY_ANOTHER_RESOURCE", ""}
	case lab.Unauthenticated:
		return words{401, "authError", "", "Request had invalid authentication credentials. Expected OAuth 2 access token, login cookie or other valid authentication credential."}
	case lab.Denied:
		return words{403, "forbidden", "PERMISSIONS_ERROR", ""}
	case lab.Quota:
		return words{403, "quotaExceeded", "QUOTA_EXCEEDED", ""}
	case lab.StockOut:
		return words{503, "ZONE_RESOURCE_POOL_EXHAUSTED", "ZONE_RESOURCE_POOL_EXHAUSTED", ""}
	case lab.RateLimited:
		return words{429, "rateLimitExceeded", "RATE_LIMIT_EXCEEDED", ""}
	case lab.Unavailable:
		return words{503, "backendError", "RESOURCE_OPERATION_RATE_EXCEEDED", ""}
	default:
		return words{500, "internalError", "INTERNAL_ERROR", ""}
	}
}

// fail puts an error of the lab in the API's words.
func (q *request) fail(err error) error {
	var refusal *lab.Error
	var own *apiError
	switch {
	case errors.As(err, &own):
		return own
	case !errors.As(err, &refusal):
		return err
	}
	w := wordsOf(refusal.Kind)
	message := refusal.Text
	switch {
	case w.message != "":
		message = w.message
	case refusal.Kind == lab.NotFound:
		message = "The resource '" + q.resource() + "' was not found"
	case refusal.Kind == lab.Exists:
		message = "The resource '" + q.resource() + "' already exists"
	case refusal.Kind == lab.StockOut:
		message = stockOut(q.scope())
	}
	return &apiError{Code: w.code, Reason: w.reason, Message: message, RetryAfter: refusal.RetryAfter}
}

// operationError is the same for an operation that was taken and failed.
func operationError(scope string, err error) (problem *compute.OperationErrorErrors, status int) {
	w := wordsOf(lab.KindOf(err))
	message := err.Error()
	if lab.KindOf(err) == lab.StockOut {
		message = stockOut(scope)
	}
	return &compute.OperationErrorErrors{Code: w.operation, Message: message}, w.code
}

func stockOut(scope string) string {
	return "The zone 'projects/" + scope + "' does not have enough resources available to fulfill the request.  Try a different zone, or try again later."
}

// resource is the path of what the call is about.
func (q *request) resource() string {
	path := q.method.Path
	for name, value := range q.path {
		path = strings.ReplaceAll(path, "{"+name+"}", value)
	}
	if strings.HasSuffix(q.method.ID, ".insert") {
		return path + "/" + q.subject()
	}
	// What follows the name is a verb.
	if i := strings.LastIndex(path, "/"+q.subject()+"/"); i >= 0 {
		path = path[:i] + "/" + q.subject()
	}
	return path
}

func notFound(resource string) *apiError {
	return &apiError{Code: http.StatusNotFound, Reason: "notFound", Message: "The resource '" + resource + "' was not found"}
}

func invalid(field, value, sentence string) *apiError {
	return &apiError{Code: http.StatusBadRequest, Reason: "invalid", Message: fmt.Sprintf("Invalid value for field '%s': '%s'. %s", field, value, sentence)}
}

func writeError(w http.ResponseWriter, err error) {
	var e *apiError
	if !errors.As(err, &e) {
		e = &apiError{Code: http.StatusInternalServerError, Reason: "internalError", Message: err.Error()}
	}
	if e.RetryAfter > 0 {
		w.Header().Set("Retry-After", retryAfter(e.RetryAfter))
	}
	w.Header().Set("Content-Type", "application/json; charset=UTF-8")
	w.WriteHeader(e.Code)
	type item struct {
		Message string `json:"message"`
		Domain  string `json:"domain"`
		Reason  string `json:"reason"`
	}
	_ = json.NewEncoder(w).Encode(map[string]any{"error": map[string]any{
		"code": e.Code, "message": e.Message, "errors": []item{{e.Message, "global", e.Reason}},
	}})
}
