package google

import (
	"regexp"
	"strings"
)

// selfBase is how the API's own links begin, wherever it is reached.
const selfBase = "https://www.googleapis.com/compute/v1/"

func link(path string) string { return selfBase + path }

var linkBase = regexp.MustCompile(`^https?://[^/]+/compute/(v1|beta|alpha)/`)

// parseLink makes a path that begins with "projects/" of a reference: a whole link, or what follows the project.
func parseLink(reference, project string) string {
	path := linkBase.ReplaceAllString(reference, "")
	path = strings.TrimPrefix(path, "/")
	if !strings.HasPrefix(path, "projects/") {
		path = "projects/" + project + "/" + path
	}
	return path
}

// follow takes a path apart by a shape such as "projects/*/global/networks/*"; nil when it does not fit.
func follow(path, shape string) []string {
	parts, want := strings.Split(path, "/"), strings.Split(shape, "/")
	if len(parts) != len(want) {
		return nil
	}
	var values []string
	for i, part := range parts {
		switch {
		case want[i] == "*" && part != "":
			values = append(values, part)
		case want[i] != part:
			return nil
		}
	}
	return values
}

// last is the last part of a link.
func last(path string) string { return path[strings.LastIndexByte(path, '/')+1:] }

// regionOf is the region of a zone.
func regionOf(zone string) string {
	if i := strings.LastIndexByte(zone, '-'); i > 0 {
		return zone[:i]
	}
	return zone
}
