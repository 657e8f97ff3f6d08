// Package spec is what a machine's options come to in the API's own terms: names, labels, firewall rules, the instance.
package spec

import (
	"encoding/base64"
	"errors"
	"fmt"
	"net/url"
	"path"
	"regexp"
	"strings"

	"mctl/internal/controller/driver"
	"mctl/internal/controller/driver/google/cloud"
	"mctl/internal/fault"
)

// Spec are the options, typed and checked.
type Spec struct {
	Place        cloud.Place
	Zone         string
	MachineType  string
	Image        cloud.Name
	User         string
	account      string // empty for none
	scopes       []string
	DiskSize     int64 // GB
	DiskType     string
	Network      cloud.Name
	AnyNetwork   bool       // nobody named a network, so that the subnetwork's is meant
	Subnetwork   cloud.Name // its Name is empty for the network's own
	Address      string     // a name or an IPv4 address; empty for an ephemeral one
	Reserve      bool
	Preemptible  bool
	Spot         bool
	Tags         []string
	Internal     bool // clients use the internal address
	NoExternal   bool // there is no other
	Existing     bool
	ports        []portRange
	SourceRanges []string // nil to open nothing
	prefixes     struct{ external, internal string }
	Accelerator  Accelerator
	Metadata     map[string]string
	labels       map[string]string
}

var (
	projectPattern = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9.:_-]{0,62}$`)
	zonePattern    = regexp.MustCompile(`^[a-z]+(-[a-z0-9]+)+$`)
	wordPattern    = regexp.MustCompile(`^[a-z]([-a-z0-9]{0,61}[a-z0-9])?$`)
	userPattern    = regexp.MustCompile(`^[a-z_][a-z0-9_-]{0,31}$`)
	accountPattern = regexp.MustCompile(`^(default|[A-Za-z0-9][A-Za-z0-9._-]*@[A-Za-z0-9.:-]+)$`)
	scopePattern   = regexp.MustCompile(`^[A-Za-z0-9._:/-]+$`)
	pathPattern    = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9.:_/-]*$`)
)

// Parse checks options without asking anybody. fault.Invalid names the flag.
func Parse(opts driver.Options) (Spec, error) {
	s := Spec{
		Zone: opts.String(FlagZone), MachineType: opts.String(FlagMachineType), User: opts.String(flagUser), account: opts.String(flagServiceAccount),
		DiskSize: int64(opts.Int(FlagDiskSize)), DiskType: opts.String(flagDiskType), Address: opts.String(FlagAddress), Reserve: opts.Bool(FlagReserve),
		Preemptible: opts.Bool(flagPreemptible), Spot: opts.Bool(flagSpot), NoExternal: opts.Bool(flagInternalOnly),
		Existing: opts.Bool(FlagExisting), AnyNetwork: opts.String(FlagNetwork) == defaultNetwork,
	}
	s.Internal = opts.Bool(flagInternal) || s.NoExternal
	s.prefixes.external, s.prefixes.internal = opts.String(flagExternalPrefix), opts.String(flagInternalPrefix)
	if s.account == "none" {
		s.account = ""
	}
	for _, step := range []func(driver.Options) error{
		s.parsePlace, s.parseWords, s.parseNames, s.parseLists, s.parseAddress, s.parsePorts, s.parseRanges, s.parseAccelerator, s.parseMetadata, s.parseLabels, s.parseBootstrap,
	} {
		if err := step(opts); err != nil {
			return s, err
		}
	}
	return s, nil
}

// parsePlace reads where to ask and as whom. Whether the credentials are any good is for Preflight to say.
func (s *Spec) parsePlace(opts driver.Options) error {
	s.Place = cloud.Place{Project: opts.String(FlagProject), Endpoint: opts.String(flagEndpoint), Credential: opts.Content(flagCredential)}
	if s.Place.Project == "" {
		return refuse(FlagProject, errors.New("no Google Cloud Project name specified (--google-project)"), "give the project's id, or set GOOGLE_PROJECT")
	}
	if !projectPattern.MatchString(s.Place.Project) {
		return refuse(FlagProject, fmt.Errorf("bad project %q", s.Place.Project), "give the project's id, such as my-project-123")
	}
	if encoded := opts.Content(flagEncoded); len(encoded) > 0 {
		content, err := base64.StdEncoding.DecodeString(strings.TrimSpace(string(encoded)))
		if err != nil {
			return refuse(flagEncoded, errors.New("that is not in base64"), "base64 -w0 FILE")
		}
		s.Place.Credential = content
	}
	if s.Place.Endpoint == "" {
		return nil
	}
	endpoint, err := url.Parse(s.Place.Endpoint)
	if err != nil || endpoint.Scheme != "http" && endpoint.Scheme != "https" || endpoint.Host == "" || endpoint.User != nil || endpoint.RawQuery != "" || endpoint.Fragment != "" {
		return refuse(flagEndpoint, errors.New("that is no base URL of an API"), "give it whole, such as "+cloud.DefaultEndpoint)
	}
	return nil
}

func (s *Spec) parseWords(driver.Options) error {
	for _, word := range []struct {
		flag, value string
		pattern     *regexp.Regexp
		hint        string
	}{
		{FlagZone, s.Zone, zonePattern, "give a zone, such as " + defaultZone},
		{FlagMachineType, s.MachineType, wordPattern, "give a machine type, such as " + defaultMachineType},
		{flagDiskType, s.DiskType, wordPattern, "give a disk type, such as pd-balanced"},
		{flagUser, s.User, userPattern, "lower case letters, digits, - and _"},
	} {
		if !word.pattern.MatchString(word.value) {
			return refuse(word.flag, fmt.Errorf("bad value %q", word.value), word.hint)
		}
	}
	for flag, prefix := range map[string]string{flagExternalPrefix: s.prefixes.external, flagInternalPrefix: s.prefixes.internal} {
		if prefix != "" && (!wordPattern.MatchString(prefix) || len(prefix) > maxPrefix) {
			return refuse(flag, fmt.Errorf("bad prefix %q", prefix), fmt.Sprintf("lower case letters, digits and -, at most %d", maxPrefix))
		}
	}
	if s.account != "" && !accountPattern.MatchString(s.account) {
		return refuse(flagServiceAccount, fmt.Errorf("bad service account %q", s.account), "give its e-mail address, default or none")
	}
	if s.User == "root" {
		return refuse(flagUser, errors.New("Google's images let nobody in as root"), "leave it out, or name another user") //nolint:staticcheck // a name
	}
	if s.DiskSize < 1 || s.DiskSize > 65536 {
		return refuse(FlagDiskSize, fmt.Errorf("a disk of %d GB can't be made", s.DiskSize), "give 1 to 65536")
	}
	return nil
}

func (s *Spec) parseNames(opts driver.Options) error {
	name := func(flag, kind, scope string) (cloud.Name, error) {
		text := opts.String(flag)
		n := cloud.Parse(text)
		good := pathPattern.MatchString(n.Name) && (n.Project == "" || projectPattern.MatchString(n.Project))
		if !good || n.Kind != "" && n.Kind != kind || n.Scope != "" && path.Dir(n.Scope) != path.Dir(scope) || strings.Contains(strings.TrimPrefix(n.Name, "family/"), "/") {
			return n, refuse(flag, fmt.Errorf("bad name %q", text), "see `mctl create --driver google --help`")
		}
		if n.Project == "" {
			n.Project = s.Place.Project
		}
		if n.Kind = kind; n.Scope == "" {
			n.Scope = scope
		}
		return n, nil
	}
	var err error
	if s.Image, err = name(FlagImage, "images", "global"); err != nil {
		return err
	}
	if s.Network, err = name(FlagNetwork, "networks", "global"); err != nil {
		return err
	}
	if opts.String(FlagSubnetwork) != "" {
		if s.Subnetwork, err = name(FlagSubnetwork, "subnetworks", "regions/"+s.Region()); s.AnyNetwork {
			s.Network.Project = s.Subnetwork.Project // its name is asked for when it is needed
		}
	}
	return err
}

// Region is the one that the zone is in.
func (s *Spec) Region() string { return cloud.RegionOf(s.Zone) }

func (s *Spec) parseLists(opts driver.Options) error {
	for _, tag := range commas(opts.String(flagTags)) {
		if !wordPattern.MatchString(tag) {
			return refuse(flagTags, fmt.Errorf("bad tag %q", tag), "lower case letters, digits and -, beginning with a letter")
		}
		s.Tags = append(s.Tags, tag)
	}
	for _, scope := range commas(opts.String(flagScopes)) {
		if !scopePattern.MatchString(scope) {
			return refuse(flagScopes, fmt.Errorf("bad scope %q", scope), "give URLs, or what follows after "+scopePrefix)
		}
		if !strings.Contains(scope, "://") {
			scope = scopePrefix + scope
		}
		s.scopes = append(s.scopes, scope)
	}
	return nil
}

// commas splits a list.
func commas(text string) []string {
	return strings.FieldsFunc(text, func(r rune) bool { return r == ',' || r == ' ' })
}

func refuse(flag string, err error, hint string) error {
	return fault.E("google.Validate", fault.Invalid, flag, fmt.Errorf("--%s: %w", flag, err)).WithHint(hint).WithReason(fault.ReasonUsage)
}
