package cloud

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"unicode"

	"google.golang.org/api/compute/v1"
	"google.golang.org/api/googleapi"

	"mctl/internal/fault"
)

// Roles is where it says what a service account must be allowed to do.
const roles = "docs/drivers/google.md lists the permissions that are needed"

// ErrStockOut marks faults of zones that have no room for an instance of the kind; fault.Quota as well.
var ErrStockOut = errors.New("the zone has no room")

// faultOf says what an error of the API, of the way to it, or of a token is.
func (c *Client) faultOf(err error) error {
	var known *fault.Error
	var answer *googleapi.Error
	switch {
	case errors.As(err, &known):
		return known
	case errors.As(err, &answer):
		return c.answered(answer)
	case errors.Is(err, context.Canceled):
		return ended(err)
	case errors.Is(err, context.DeadlineExceeded):
		return fault.E("cloud", fault.Unavailable, c.endpoint, fmt.Errorf("%s did not answer in time", c.endpoint)).WithHint(c.way())
	}
	var broken *url.Error
	if errors.As(err, &broken) {
		return fault.E("cloud", fault.Unavailable, c.endpoint, fmt.Errorf("%s can't be reached: %s", c.endpoint, plain(cause(broken)))).WithHint(c.way())
	}
	var cut net.Error
	var syntax *json.SyntaxError
	var shape *json.UnmarshalTypeError
	if errors.As(err, &cut) && !errors.As(err, &syntax) && !errors.As(err, &shape) {
		return fault.E("cloud", fault.Unavailable, c.endpoint, fmt.Errorf("%s broke off its answer", c.endpoint)).WithHint(c.way())
	}
	return c.strange()
}

func cause(err *url.Error) string {
	var inner *net.OpError
	if errors.As(err, &inner) && inner.Err != nil {
		return inner.Err.Error()
	}
	return err.Err.Error()
}

// strange is for an answer that is none of this API.
func (c *Client) strange() error {
	return fault.E("cloud", fault.Precondition, c.endpoint, fmt.Errorf("%s does not answer as Compute Engine does", c.endpoint)).WithHint(c.way())
}

func (c *Client) way() string {
	if c.endpoint == DefaultEndpoint {
		return "check the controller's way to the internet"
	}
	return "check --google-endpoint: it takes the whole base URL, /compute/v1/ included"
}

// answered says what an answer that is an error means.
func (c *Client) answered(e *googleapi.Error) error {
	say := func(kind fault.Kind, hint string) error {
		return fault.E("cloud", kind, "", errors.New(plain(e.Message))).WithHint(hint)
	}
	switch code := e.Code; {
	case code >= 500 && exhausted(e):
		return stockOut(e.Message)
	case code >= 500 || code == http.StatusRequestTimeout:
		return fault.E("cloud", fault.Unavailable, c.endpoint, fmt.Errorf("%s can't answer at present (%d)", c.endpoint, code))
	case throttled(e):
		return fault.E("cloud", fault.Unavailable, c.endpoint, fmt.Errorf("%s asks to be asked less often", c.endpoint))
	case e.Message == "":
		return c.strange()
	case code == http.StatusUnauthorized:
		return denied("Google does not take the credentials")
	case has(e, "quotaExceeded"):
		return quota(e.Message)
	case exhausted(e):
		return stockOut(e.Message)
	case has(e, "accessNotConfigured", "SERVICE_DISABLED"):
		return say(fault.Precondition, "switch the API on: gcloud services enable compute.googleapis.com --project "+c.Project)
	case code == http.StatusForbidden:
		return say(fault.Denied, roles)
	case code == http.StatusNotFound:
		return say(fault.NotFound, "")
	case code == http.StatusConflict:
		return say(fault.Exists, "")
	case code == http.StatusPreconditionFailed, has(e, "resourceInUseByAnotherResource"):
		return say(fault.Conflict, "")
	case has(e, "resourceNotReady"):
		return say(fault.Unavailable, "")
	}
	return say(fault.Invalid, "")
}

// throttled reports whether the API wants to be asked less often. It says so in two ways.
func throttled(e *googleapi.Error) bool {
	return e.Code == http.StatusTooManyRequests || has(e, "rateLimitExceeded", "userRateLimitExceeded")
}

func exhausted(e *googleapi.Error) bool {
	return slices.ContainsFunc(e.Errors, func(item googleapi.ErrorItem) bool { return noRoom(item.Reason) })
}

func has(e *googleapi.Error, reasons ...string) bool {
	return slices.ContainsFunc(e.Errors, func(item googleapi.ErrorItem) bool { return slices.Contains(reasons, item.Reason) })
}

// noRoom reports whether a code means that the zone is full; it is spelled in several ways.
func noRoom(code string) bool {
	code = strings.ToLower(strings.ReplaceAll(code, "_", ""))
	return strings.Contains(code, "resourcepoolexhausted") || strings.Contains(code, "stockout")
}

func quota(message string) error {
	return fault.E("cloud", fault.Quota, "", fmt.Errorf("the project's quota is used up: %s", plain(message))).
		WithHint("ask Google for more, or remove machines; `mctl orphans` lists what is left over")
}

func stockOut(message string) error {
	return fault.E("cloud", fault.Quota, "", stockedOut(plain(message)))
}

// stockedOut is what the API said of a zone without room.
type stockedOut string

func (s stockedOut) Error() string   { return string(s) }
func (stockedOut) Is(err error) bool { return err == ErrStockOut }

// Failure says what an operation that ended with an error means; nil for one that ended well.
func Failure(op *compute.Operation) error {
	if op.Error == nil || len(op.Error.Errors) == 0 {
		return nil
	}
	e := op.Error.Errors[0]
	say := func(kind fault.Kind, hint string) error {
		return fault.E("cloud", kind, "", errors.New(plain(e.Message))).WithHint(hint)
	}
	switch code := e.Code; {
	case noRoom(code):
		return stockOut(e.Message)
	case strings.Contains(code, "QUOTA"), code == "LIMIT_EXCEEDED":
		return quota(e.Message)
	case code == "RESOURCE_ALREADY_EXISTS":
		return say(fault.Exists, "")
	case code == "RESOURCE_NOT_FOUND":
		return say(fault.NotFound, "")
	case strings.HasPrefix(code, "RESOURCE_IN_USE"), code == "CONDITION_NOT_MET":
		return say(fault.Conflict, "")
	case strings.Contains(code, "PERMISSION"), code == "FORBIDDEN":
		return say(fault.Denied, roles)
	case strings.Contains(code, "RATE_"), code == "RESOURCE_NOT_READY", op.HttpErrorStatusCode >= 500, code == "INTERNAL_ERROR", code == "BACKEND_ERROR":
		return say(fault.Unavailable, "")
	}
	return say(fault.Precondition, "")
}

// maxSentence bounds what others' sentences may be long, in bytes.
const maxSentence = 400

// plain makes one printable line of what somebody else said.
func plain(text string) string {
	text = strings.Join(strings.FieldsFunc(text, func(r rune) bool { return unicode.IsSpace(r) || !unicode.IsPrint(r) }), " ")
	if len(text) > maxSentence {
		text = strings.ToValidUTF8(text[:maxSentence], "") + "…"
	}
	return strings.TrimSuffix(text, ".")
}
