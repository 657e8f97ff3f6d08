package discovery_test

import (
	"net/url"
	"slices"
	"testing"

	"mctl/test/cloud/google/discovery"
)

const small = `{
 "basePath": "/shop/v1/",
 "parameters": {"alt": {"type": "string", "enum": ["json"], "location": "query"}},
 "resources": {"goods": {"methods": {
  "get": {"id": "shop.goods.get", "httpMethod": "GET", "path": "shelves/{shelf}/goods/{good}", "parameters": {
    "shelf": {"type": "string", "pattern": "[a-z]+", "location": "path", "required": true},
    "good": {"type": "string", "location": "path", "required": true}}, "response": {"$ref": "Good"}},
  "newest": {"id": "shop.goods.newest", "httpMethod": "GET", "path": "shelves/{shelf}/goods/newest", "parameters": {
    "shelf": {"type": "string", "location": "path", "required": true}}},
  "insert": {"id": "shop.goods.insert", "httpMethod": "POST", "path": "shelves/{shelf}/goods", "request": {"$ref": "Good"}, "parameters": {
    "shelf": {"type": "string", "location": "path", "required": true},
    "count": {"type": "integer", "format": "uint32", "location": "query"},
    "tag": {"type": "string", "location": "query", "repeated": true},
    "dry": {"type": "boolean", "location": "query", "required": true}}}
 }}},
 "schemas": {"Good": {"type": "object", "properties": {
  "name": {"type": "string", "annotations": {"required": ["shop.goods.insert"]}},
  "weight": {"type": "string", "format": "int64"}, "price": {"type": "number", "format": "double"}, "pieces": {"type": "integer", "format": "int32"},
  "sold": {"type": "boolean"}, "state": {"type": "string", "enum": ["NEW", "OLD"]}, "sum": {"type": "string", "format": "byte"},
  "tags": {"type": "array", "pattern": "[a-z]+", "items": {"type": "string"}},
  "labels": {"type": "object", "additionalProperties": {"type": "string"}},
  "parts": {"type": "array", "items": {"$ref": "Good"}}
 }}}
}`

func parse(t *testing.T) *discovery.Document {
	t.Helper()
	d, err := discovery.Parse([]byte(small))
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func TestTheMostLiteralPathWins(t *testing.T) {
	d := parse(t)
	for path, want := range map[string]string{
		"shelves/a/goods/newest": "shop.goods.newest", "shelves/a/goods/x": "shop.goods.get", "shelves/a/goods": "", "shelves//goods/x": "", "shelves/a/goods/x/y": "",
	} {
		m, values := d.Match("GET", path)
		if m == nil && want == "" {
			continue
		}
		if m == nil || m.ID != want || values["shelf"] != "a" {
			t.Errorf("%s: %+v %v", path, m, values)
		}
	}
}

func TestParametersAreHeldAgainstTheMethod(t *testing.T) {
	d := parse(t)
	m, path := d.Match("POST", "shelves/a/goods")
	for query, want := range map[string][]discovery.ProblemKind{
		"dry=true&count=3&tag=a&tag=b&alt=json": nil, "dry=maybe": {discovery.WrongType}, "": {discovery.Missing},
		"dry=true&count=-1": {discovery.WrongType}, "dry=true&dry=true": {discovery.WrongType}, "dry=true&shelf=b": {discovery.UnknownParameter},
		"dry=true&alt=xml": {discovery.WrongEnum}, "dry=true&colour=red": {discovery.UnknownParameter},
	} {
		values, err := url.ParseQuery(query)
		if err != nil {
			t.Fatal(err)
		}
		if got := kinds(d.CheckParameters(m, path, values)); !slices.Equal(got, want) {
			t.Errorf("%q: want %q, got %q", query, want, got)
		}
	}
	m, path = d.Match("GET", "shelves/A1/goods/x")
	if got := kinds(d.CheckParameters(m, path, nil)); !slices.Equal(got, []discovery.ProblemKind{discovery.WrongPattern}) {
		t.Errorf("got %q", got)
	}
}

func TestBodiesAreHeldAgainstTheSchema(t *testing.T) {
	d := parse(t)
	m, _ := d.Match("POST", "shelves/a/goods")
	for body, want := range map[string][]discovery.ProblemKind{
		`{"name":"x","weight":"12","price":1.5,"pieces":3,"sold":true,"state":"NEW","sum":"YQ==","tags":["a"],"labels":{"k":"v"},"parts":[{"name":"p","pieces":1}]}`: nil,
		`{"name":"x","weight":null}`: nil, ``: {discovery.Missing}, `{"name":""}`: {discovery.Missing},
		`{"name":"x","size":1}`: {discovery.UnknownField}, `{"name":"x","parts":[{"name":"p"},{"name":"q","size":1}]}`: {discovery.UnknownField},
		`{"name":1}`: {discovery.WrongType}, `{"name":"x","weight":12}`: {discovery.WrongType}, `{"name":"x","weight":"heavy"}`: {discovery.WrongType},
		`{"name":"x","pieces":1.5}`: {discovery.WrongType}, `{"name":"x","pieces":4000000000}`: {discovery.WrongType}, `{"name":"x","pieces":"1"}`: {discovery.WrongType},
		`{"name":"x","sold":"true"}`: {discovery.WrongType}, `{"name":"x","sum":"?"}`: {discovery.WrongType}, `{"name":"x","tags":"a"}`: {discovery.WrongType},
		`{"name":"x","tags":["A"]}`: {discovery.WrongPattern}, `{"name":"x","state":"USED"}`: {discovery.WrongEnum}, `{"name":"x","labels":{"k":2}}`: {discovery.WrongType},
		`[]`: {discovery.WrongType}, `{`: {discovery.WrongType}, `{"name":"x"}{}`: {discovery.WrongType},
	} {
		if got := kinds(d.CheckBody(m, []byte(body))); !slices.Equal(got, want) {
			t.Errorf("%s: want %q, got %q", body, want, got)
		}
	}
	m, _ = d.Match("GET", "shelves/a/goods/x")
	if got := d.CheckBody(m, []byte(`{"a":1}`)); len(got) != 1 {
		t.Errorf("a body where there is none: %v", got)
	}
	if got := d.CheckAnswer(m, []byte(`{"name":"x","size":1}`)); len(got) != 1 || got[0].Where != "answer.size" {
		t.Errorf("an answer: %v", got)
	}
}

func kinds(problems []discovery.Problem) []discovery.ProblemKind {
	var found []discovery.ProblemKind
	for _, p := range problems {
		found = append(found, p.Kind)
	}
	return found
}

func TestTheComputeDocumentIsReadWhole(t *testing.T) {
	d, err := discovery.Load(t.Context(), "google.golang.org/api", "compute/v1/compute-api.json")
	if err != nil {
		t.Fatal(err)
	}
	m, values := d.Match("POST", "projects/p/zones/z/instances/web/start")
	if m == nil || m.ID != "compute.instances.start" || values["instance"] != "web" || d.BasePath != "/compute/v1/" {
		t.Errorf("%+v %v %s", m, values, d.BasePath)
	}
	if m, _ := d.Match("GET", "projects/p/global/images/family/debian-12"); m == nil || m.ID != "compute.images.getFromFamily" {
		t.Errorf("%+v", m)
	}
}
