package cloud

import "strings"

// Name is where a resource is: in a project, and in a zone or region or globally.
type Name struct {
	Project string // empty where the text named none
	Scope   string // "zones/…", "regions/…" or "global"; empty where the text named none
	Kind    string // the collection, such as "images"; empty for a bare name
	Name    string // "family/…" for the newest image of a family
}

// Parse takes a resource's name apart: a whole URL, a path that begins at projects/ or with a project, a path within a project, or
// a bare name.
func Parse(text string) Name {
	if strings.Contains(text, "://") {
		_, text, _ = strings.Cut(text, "/projects/")
	} else {
		text = strings.TrimPrefix(strings.TrimPrefix(text, "/"), "projects/")
	}
	parts := strings.Split(text, "/")
	var n Name
	if len(parts) > 1 && parts[0] != "global" && parts[0] != "zones" && parts[0] != "regions" && parts[0] != "family" {
		n.Project, parts = parts[0], parts[1:]
	}
	switch {
	case len(parts) > 2 && parts[0] == "global":
		n.Scope, parts = parts[0], parts[1:]
	case len(parts) > 3 && (parts[0] == "zones" || parts[0] == "regions"):
		n.Scope, parts = parts[0]+"/"+parts[1], parts[2:]
	}
	if n.Scope != "" {
		n.Kind, parts = parts[0], parts[1:]
	}
	n.Name = strings.Join(parts, "/")
	return n
}

// Path is the resource as requests name it, without the API's own address.
func (n Name) Path() string {
	return "projects/" + n.Project + "/" + n.Scope + "/" + n.Kind + "/" + n.Name
}

// RegionOf is the region of a zone.
func RegionOf(zone string) string {
	if i := strings.LastIndexByte(zone, '-'); i > 0 {
		return zone[:i]
	}
	return zone
}
