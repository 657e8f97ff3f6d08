package google

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"google.golang.org/api/compute/v1"

	"mctl/test/cloud/lab"
)

// fingerprint tells one content from another.
func fingerprint(content any) string {
	text, err := json.Marshal(content)
	if err != nil {
		panic(err) // our own types can be marshalled
	}
	sum := sha256.Sum256(text)
	return base64.StdEncoding.EncodeToString(sum[:9])
}

// fresh refuses a change to something that has changed meanwhile.
func fresh(what, given, now string) error {
	if a, errA := decodeBase64(given); errA == nil {
		if b, errB := decodeBase64(now); errB == nil && bytes.Equal(a, b) {
			return nil
		}
	}
	return &apiError{Code: http.StatusPreconditionFailed, Reason: "conditionNotMet", Message: what + " fingerprint either invalid or resource labels have changed"}
}

// decodeBase64 takes either alphabet, as the API does.
func decodeBase64(text string) ([]byte, error) {
	return base64.StdEncoding.DecodeString(strings.NewReplacer("-", "+", "_", "/").Replace(text))
}

// completeMetadata checks metadata and fills in what the API adds.
func completeMetadata(m *compute.Metadata) (*compute.Metadata, error) {
	complete := &compute.Metadata{Kind: "compute#metadata"}
	if m != nil {
		complete.Items = m.Items
	}
	seen := map[string]bool{}
	for _, item := range complete.Items {
		if seen[item.Key] {
			return nil, invalid("resource.metadata.items", item.Key, "Metadata has duplicate keys.")
		}
		seen[item.Key] = true
		if item.Value == nil {
			return nil, invalid("resource.metadata.items", item.Key, "A value is required.")
		}
	}
	complete.Fingerprint = fingerprint(complete.Items)
	return complete, nil
}

func metadataValue(m *compute.Metadata, key string) string {
	if m == nil {
		return ""
	}
	i := slices.IndexFunc(m.Items, func(item *compute.MetadataItems) bool { return item.Key == key })
	if i < 0 || m.Items[i].Value == nil {
		return ""
	}
	return *m.Items[i].Value
}

// guest is what an instance's host is told, as Google's guest agent would read it.
func guest(i *compute.Instance, project *compute.Metadata) lab.Guest {
	g := lab.Guest{Hostname: i.Hostname, Attributes: map[string]string{}}
	if g.Hostname == "" {
		g.Hostname = i.Name
	}
	sources := []string{metadataValue(i.Metadata, "sshKeys"), metadataValue(i.Metadata, "ssh-keys")}
	if sources[0] == "" && !strings.EqualFold(metadataValue(i.Metadata, "block-project-ssh-keys"), "true") {
		sources = append(sources, metadataValue(project, "sshKeys"), metadataValue(project, "ssh-keys"))
	}
	for line := range strings.Lines(strings.Join(sources, "\n")) {
		name, key, ok := strings.Cut(strings.TrimSpace(line), ":")
		if !ok || name == "" || key == "" {
			continue
		}
		n := slices.IndexFunc(g.Users, func(u lab.User) bool { return u.Name == name })
		if n < 0 {
			n, g.Users = len(g.Users), append(g.Users, lab.User{Name: name})
		}
		g.Users[n].Keys = append(g.Users[n].Keys, key)
	}
	for _, of := range []*compute.Metadata{project, i.Metadata} {
		if of != nil && of == i.Metadata { // Google shows a project's under another path
			for _, item := range of.Items {
				g.Attributes[item.Key] = metadataValue(of, item.Key)
			}
		}
		if script := metadataValue(of, "startup-script"); script != "" {
			g.StartupScript = script
		}
		if data := metadataValue(of, "user-data"); data != "" {
			g.UserData = data
		}
	}
	return g
}

func (s *Server) projectMetadata(project string) *compute.Metadata {
	s.mu.Lock()
	defer s.mu.Unlock()
	if m := s.metadata[project]; m != nil {
		return m
	}
	m, _ := completeMetadata(nil)
	return m
}

func (s *Server) getProject(q *request) (any, error) {
	name := q.path["project"]
	return &compute.Project{
		Kind: "compute#project", Id: idOf(name), Name: name, CreationTimestamp: born, SelfLink: link("projects/" + name),
		CommonInstanceMetadata: s.projectMetadata(name), DefaultNetworkTier: "PREMIUM", XpnProjectStatus: "UNSPECIFIED_XPN_PROJECT_STATUS",
		DefaultServiceAccount: number(idOf(name)%1e12) + "-compute@developer.gserviceaccount.com",
		Quotas:                []*compute.Quota{{Metric: "NETWORKS", Limit: 5, Usage: 1}, {Metric: "FIREWALLS", Limit: 100, Usage: 4}},
	}, nil
}

func (s *Server) setProjectMetadata(q *request) (any, error) {
	body, err := decode[compute.Metadata](q)
	if err != nil {
		return nil, err
	}
	complete, err := completeMetadata(body)
	if err != nil {
		return nil, err
	}
	project := q.path["project"]
	return s.begin(q, "projects/"+project, func(o lab.Operation) (lab.Operation, error) {
		if err := fresh("Metadata", body.Fingerprint, s.projectMetadata(project).Fingerprint); err != nil {
			return o, err
		}
		s.mu.Lock()
		s.metadata[project] = complete
		s.mu.Unlock()
		for _, i := range within(s.lab.Instances(q.Context()), project) { // hosts that are on follow
			_, err := s.lab.Setup().UpdateInstance(i.Ref, lab.Operation{}, func(i *lab.Instance) error {
				i.Guest = guest(i.Doc.(*compute.Instance), complete)
				return nil
			})
			if err != nil && lab.KindOf(err) != lab.NotFound {
				return o, err
			}
		}
		return q.call.Nothing(o), nil
	})
}

func number(n uint64) string { return strconv.FormatUint(n, 10) }
