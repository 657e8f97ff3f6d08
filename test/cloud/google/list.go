package google

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"mctl/test/cloud/google/filter"
)

// element is one thing of a list, as it is shown.
type element struct {
	fields map[string]any
	key    string // what pages are cut by: its link without the base, or in a sorted list the position
}

// list is one page of a list.
func list[T any](s *Server, q *request, kind string, all []T) (any, error) {
	page, next, err := s.page(q, elements(all))
	if err != nil {
		return nil, err
	}
	answer := map[string]any{"kind": kind, "id": q.path["project"] + "/" + q.name(), "selfLink": link(strings.TrimPrefix(q.URL.Path, BasePath))}
	if len(page) > 0 {
		items := make([]map[string]any, len(page))
		for i, e := range page {
			items[i] = e.fields
		}
		answer["items"] = items
	}
	if next != "" {
		answer["nextPageToken"] = next
	}
	return answer, nil
}

// aggregated is one page of a list over all zones, regions and the global scope.
func aggregated[T any](s *Server, q *request, kind, plural string, all []T) (any, error) {
	page, next, err := s.page(q, elements(all))
	if err != nil {
		return nil, err
	}
	scopes := map[string]any{}
	for _, scope := range places() {
		scopes[scope] = map[string]any{"warning": map[string]any{
			"code": "NO_RESULTS_ON_PAGE", "message": "There are no results for scope '" + scope + "' on this page.",
			"data": []map[string]string{{"key": "scope", "value": scope}},
		}}
	}
	for _, e := range page {
		path := strings.Split(strings.TrimPrefix(fmt.Sprint(e.fields["selfLink"]), selfBase), "/")
		scope := "global"
		if path[2] != "global" {
			scope = path[2] + "/" + path[3]
		}
		items, _ := scopes[scope].(map[string]any)[plural].([]map[string]any)
		scopes[scope] = map[string]any{plural: append(items, e.fields)}
	}
	answer := map[string]any{
		"kind": kind, "id": q.path["project"] + "/" + q.name(), "selfLink": link(strings.TrimPrefix(q.URL.Path, BasePath)), "items": scopes,
	}
	if next != "" {
		answer["nextPageToken"] = next
	}
	return answer, nil
}

func elements[T any](all []T) []element {
	found := make([]element, len(all))
	for i, value := range all {
		found[i].fields = fields(value)
		found[i].key = strings.TrimPrefix(fmt.Sprint(found[i].fields["selfLink"]), selfBase)
	}
	return found
}

// fields is a value as JSON has it.
func fields(value any) map[string]any {
	content, err := json.Marshal(value)
	if err != nil {
		panic(err) // our own types can be marshalled
	}
	var object map[string]any
	if err := json.Unmarshal(content, &object); err != nil {
		panic(err)
	}
	return object
}

// page filters, sorts, and cuts the page that the request asks for.
func (s *Server) page(q *request, all []element) (page []element, next string, err error) {
	matches, err := filter.Parse(q.query.Get("filter"))
	if err != nil {
		return nil, "", invalid("filter", q.query.Get("filter"), err.Error())
	}
	all = slices.DeleteFunc(all, func(e element) bool { return !matches(e.fields) })
	switch order := q.query.Get("orderBy"); order {
	case "", "name":
		slices.SortFunc(all, func(a, b element) int { return strings.Compare(a.key, b.key) })
	case "creationTimestamp desc":
		slices.SortStableFunc(all, func(a, b element) int {
			return strings.Compare(fmt.Sprint(b.fields["creationTimestamp"]), fmt.Sprint(a.fields["creationTimestamp"]))
		})
		for i := range all {
			all[i].key = fmt.Sprintf("%09d", i)
		}
	default:
		return nil, "", invalid("orderBy", order, "Only name and creationTimestamp desc are supported.")
	}
	if token := q.query.Get("pageToken"); token != "" {
		after, err := base64.URLEncoding.DecodeString(token)
		if err != nil {
			return nil, "", invalid("pageToken", token, "Invalid page token.")
		}
		all = slices.DeleteFunc(all, func(e element) bool { return e.key <= string(after) })
	}
	size := s.config.PageSize
	if text := q.query.Get("maxResults"); text != "" {
		n, err := strconv.Atoi(text)
		if err != nil || n > 500 {
			return nil, "", &apiError{Code: http.StatusBadRequest, Reason: "invalid", Message: "Invalid value for field 'maxResults': '" + text + "'. Values must be within the range: [0, 500]"}
		}
		if n > 0 {
			size = min(size, n)
		}
	}
	if len(all) > size {
		next = base64.URLEncoding.EncodeToString([]byte(all[size-1].key))
		all = all[:size]
	}
	return all, next, nil
}
