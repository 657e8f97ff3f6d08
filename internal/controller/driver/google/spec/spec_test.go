package spec

import (
	"fmt"
	"maps"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/api/compute/v1"

	"mctl/internal/controller/driver"
	"mctl/internal/fault"
)

// options resolves what a caller gives, name and value in turn.
func options(t *testing.T, pairs ...string) driver.Options {
	t.Helper()
	given := driver.Options{FlagProject: {Values: []string{"proj"}}}
	for pair := range slices.Chunk(pairs, 2) {
		values := pair[1:]
		if pair[0] != FlagProject {
			values = append(given[pair[0]].Values, pair[1])
		}
		given[pair[0]] = driver.Option{Values: values}
	}
	resolved, err := driver.Resolve("google", Flags(), given)
	if err != nil {
		t.Fatal(err)
	}
	return resolved
}

func TestFlagsAreDockerMachinesAndOurs(t *testing.T) {
	want := map[string][2]string{
		"google-project":                       {"GOOGLE_PROJECT", ""},
		"google-zone":                          {"GOOGLE_ZONE", "us-central1-a"},
		"google-machine-type":                  {"GOOGLE_MACHINE_TYPE", "e2-medium"},
		"google-machine-image":                 {"GOOGLE_MACHINE_IMAGE", "debian-cloud/global/images/family/debian-12"},
		"google-username":                      {"GOOGLE_USERNAME", "docker-user"},
		"google-service-account":               {"GOOGLE_SERVICE_ACCOUNT", "default"},
		"google-scopes":                        {"GOOGLE_SCOPES", "https://www.googleapis.com/auth/devstorage.read_only,https://www.googleapis.com/auth/logging.write,https://www.googleapis.com/auth/monitoring.write"},
		"google-disk-size":                     {"GOOGLE_DISK_SIZE", "10"},
		"google-disk-type":                     {"GOOGLE_DISK_TYPE", "pd-standard"},
		"google-network":                       {"GOOGLE_NETWORK", "default"},
		"google-subnetwork":                    {"GOOGLE_SUBNETWORK", ""},
		"google-address":                       {"GOOGLE_ADDRESS", ""},
		"google-preemptible":                   {"GOOGLE_PREEMPTIBLE", "false"},
		"google-tags":                          {"GOOGLE_TAGS", ""},
		"google-use-internal-ip":               {"GOOGLE_USE_INTERNAL_IP", "false"},
		"google-use-internal-ip-only":          {"GOOGLE_USE_INTERNAL_IP_ONLY", "false"},
		"google-use-existing":                  {"GOOGLE_USE_EXISTING", "false"},
		"google-open-port":                     {"GOOGLE_OPEN_PORT", ""},
		"google-auth-encoded-json":             {"GOOGLE_AUTH_ENCODED_JSON", ""},
		"google-external-firewall-rule-prefix": {"GOOGLE_EXTERNAL_FIREWALL_RULE_PREFIX", ""},
		"google-internal-firewall-rule-prefix": {"GOOGLE_INTERNAL_FIREWALL_RULE_PREFIX", ""},
		"google-userdata":                      {"GOOGLE_USERDATA", ""},
		"google-vm-labels":                     {"GOOGLE_VM_LABELS", ""},
		"google-application-credentials":       {"GOOGLE_APPLICATION_CREDENTIALS", ""},
		"google-endpoint":                      {"GOOGLE_COMPUTE_CUSTOM_ENDPOINT", ""},
		"google-source-ranges":                 {"GOOGLE_SOURCE_RANGES", "0.0.0.0/0"},
		"google-reserve-address":               {"GOOGLE_RESERVE_ADDRESS", "false"},
		"google-spot":                          {"GOOGLE_SPOT", "false"},
		"google-accelerator":                   {"GOOGLE_ACCELERATOR", ""},
		"google-metadata":                      {"GOOGLE_METADATA", ""},
		"google-bootstrap":                     {"GOOGLE_BOOTSTRAP", "ssh"},
	}
	got, secret, scope := map[string][2]string{}, []string{}, []string{}
	for _, f := range Flags() {
		got[f.Name] = [2]string{f.Env, strings.Join(f.Default, " ")}
		if f.Kind != driver.Value {
			secret = append(secret, f.Name)
		}
		if f.Scope {
			scope = append(scope, f.Name)
		}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([]string{"google-auth-encoded-json", "google-userdata", "google-application-credentials"}, secret); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([]string{"google-project", "google-network", "google-subnetwork", "google-auth-encoded-json", "google-application-credentials", "google-endpoint"}, scope); diff != "" {
		t.Error(diff)
	}
}

func TestThePageNamesEveryFlagWithItsVariableAndDefault(t *testing.T) {
	page, err := os.ReadFile("../../../../../docs/drivers/google.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range Flags() {
		row := regexp.MustCompile(`(?m)^\| .--` + regexp.QuoteMeta(f.Name) + "` .*$").FindString(string(page))
		if !strings.Contains(row, "`"+f.Env+"`") || len(f.Default) > 0 && !strings.Contains(row, "`"+f.Default[0]+"`") {
			t.Errorf("--%s [%s] (%s) has the row %q", f.Name, f.Env, f.Default, row)
		}
	}
}

func TestImagesNetworksAndSubnetworksAreTakenInEveryForm(t *testing.T) {
	for text, want := range map[string]string{
		"https://www.googleapis.com/compute/v1/projects/ubuntu-os-cloud/global/images/u": "projects/ubuntu-os-cloud/global/images/u",
		"https://compute.googleapis.com/compute/v1/projects/p/global/images/family/f":    "projects/p/global/images/family/f",
		"debian-cloud/global/images/family/debian-12":                                    "projects/debian-cloud/global/images/family/debian-12",
		"projects/debian-cloud/global/images/d":                                          "projects/debian-cloud/global/images/d",
		"global/images/mine":                                                             "projects/proj/global/images/mine",
		"mine":                                                                           "projects/proj/global/images/mine",
		"family/mine":                                                                    "projects/proj/global/images/family/mine",
	} {
		s, err := Parse(options(t, FlagImage, text))
		if err != nil || s.Image.Path() != want {
			t.Errorf("%s: %s %v, want %s", text, s.Image.Path(), err, want)
		}
	}
	s, err := Parse(options(t, FlagSubnetwork, "https://x/compute/v1/projects/host/regions/europe-west1/subnetworks/s"))
	if err != nil || s.Subnetwork.Path() != "projects/host/regions/europe-west1/subnetworks/s" || s.Network.Project != "host" || !s.AnyNetwork {
		t.Errorf("%+v %v", s, err)
	}
	s, err = Parse(options(t, FlagNetwork, "projects/host/global/networks/n", FlagSubnetwork, "s", FlagZone, "asia-northeast3-a"))
	if err != nil || s.Network.Path() != "projects/host/global/networks/n" || s.Subnetwork.Path() != "projects/proj/regions/asia-northeast3/subnetworks/s" {
		t.Errorf("%+v %v", s, err)
	}
}

func TestBadOptionsNameTheirFlag(t *testing.T) {
	bad := map[string][]string{
		FlagProject:        {"", "a b", "a/b", "$(id)", strings.Repeat("a", 64), "a\nb"},
		FlagZone:           {"", "mars", "us-central1-a;id", "US-central1-a", "us-central1-a/../../x"},
		FlagMachineType:    {"", "a b", "../x", "E2", "a/b"},
		FlagImage:          {"", "a b", "a/b/c", "p/zones/z/images/i", "p/global/disks/d", "../../x", "p/global/images/family/a/b"},
		FlagNetwork:        {"", "a b", "p/global/images/n", "..", "-n"},
		FlagSubnetwork:     {"a b", "p/global/networks/n"},
		flagUser:           {"", "root", "a b", "a:b", "$(id)", "a\nb"},
		flagServiceAccount: {"nobody", "a b@c"},
		flagScopes:         {"a\"b", "a{b"},
		FlagDiskSize:       {"0", "-1", "70000"},
		flagDiskType:       {"", "a b", "SSD"},
		FlagAddress:        {"300.1.1.1", "::1", "0.0.0.0", "A", "a_b"},
		flagTags:           {"A", "a_b", "1a", strings.Repeat("a", 64)},
		flagOpenPort:       {"", "0", "70000", "x", "80/icmp", "90-80", "80/tcp/udp", "80;id"},
		flagRanges:         {"x", "10.0.0.0/33", "10.0.0.0/8,::/0"},
		flagEndpoint:       {"x", "ftp://x/", "https://", "https://me:secret@x/", "https://x/?a=b"},
		flagExternalPrefix: {"A", "a_b", strings.Repeat("a", 31)},
		flagInternalPrefix: {"-a"},
		flagLabels:         {"A:b", "a:B", "mctl-machine:x", ":x"},
		flagAccelerator:    {"type=", "count=2", "type=a,count=0", "type=a,count=x", "color=red", "A"},
		flagMetadata:       {"x", "=x", "a b=c", "ssh-keys=x", "sshKeys=x", "user-data=x"},
	}
	for _, flag := range slices.Sorted(maps.Keys(bad)) {
		for _, value := range bad[flag] {
			_, err := Parse(options(t, flag, value))
			if !fault.Is(err, fault.Invalid) || fault.SubjectOf(err) != flag || fault.ReasonOf(err) != fault.ReasonUsage || strings.ContainsAny(err.Error(), "\n\x1b") {
				t.Errorf("--%s %q: %v, subject %q", flag, value, err, fault.SubjectOf(err))
			}
		}
	}
	for _, pairs := range [][]string{
		{FlagAddress, "a", flagInternalOnly, "true"}, {FlagReserve, "true", flagInternalOnly, "true"}, {FlagReserve, "true", FlagAddress, "a"},
		{flagRanges, "none", flagOpenPort, "80"}, {flagRanges, "none", flagRanges, "10.0.0.0/8"},
	} {
		if _, err := Parse(options(t, pairs...)); fault.ReasonOf(err) != fault.ReasonUsage {
			t.Errorf("%v: %v", pairs, err)
		}
	}
}

func TestNoProjectIsSaidInDockerMachinesWords(t *testing.T) {
	if _, err := Parse(driver.Options{}); err == nil || !strings.Contains(err.Error(), "no Google Cloud Project name specified (--google-project)") {
		t.Errorf("%v", err)
	}
}

func TestNamesAreAsLongAsWhatIsMadeBesidesAllows(t *testing.T) {
	for _, c := range []struct {
		name    string
		options []string
		good    bool
	}{
		{strings.Repeat("a", 58), nil, true}, {strings.Repeat("a", 59), nil, false},
		{strings.Repeat("a", 55), []string{FlagReserve, "true"}, true}, {strings.Repeat("a", 56), []string{FlagReserve, "true"}, false},
		{strings.Repeat("a", 63), []string{FlagExisting, "true"}, true},
		{"Web", nil, false}, {"web.1", nil, false}, {"1web", nil, false}, {"web-", nil, false},
	} {
		s, err := Parse(options(t, c.options...))
		if err != nil {
			t.Fatal(err)
		}
		if err := CheckName(driver.Machine{Name: c.name}, s); (err == nil) != c.good || err != nil && fault.HintOf(err) == "" {
			t.Errorf("%q %v: %v", c.name, c.options, err)
		}
	}
}

func TestHostsOfASwarmReachEachOtherAndNobodyElseDoes(t *testing.T) {
	s, err := Parse(options(t))
	if err != nil {
		t.Fatal(err)
	}
	client, swarm := s.Rules("c1c1c1c1")[0], s.Rules("c1c1c1c1")[1]
	opened := func(rule *compute.Firewall) string {
		var all []string
		for _, a := range rule.Allowed {
			all = append(all, a.IPProtocol+" "+strings.Join(a.Ports, ","))
		}
		return strings.Join(all, "; ")
	}
	if got := opened(swarm); got != "tcp 2377,7946; udp 7946,4789" {
		t.Errorf("between members: %s", got)
	}
	if len(swarm.SourceRanges) != 0 || !slices.Equal(swarm.SourceTags, swarm.TargetTags) || !slices.Equal(swarm.SourceTags, []string{"mctl-c1c1c1c1"}) {
		t.Errorf("from %v and %v to %v", swarm.SourceRanges, swarm.SourceTags, swarm.TargetTags)
	}
	s.OpenSwarm(3376)
	if got := opened(s.Rules("c1c1c1c1")[0]); opened(client) != "tcp 2376" || got != "tcp 2376,3376" {
		t.Errorf("to clients: %s, of a manager %s", opened(client), got)
	}
}

func TestRulesAreNamedAfterTheControllerAndWhatTheyOpen(t *testing.T) {
	rules := func(pairs ...string) (client, swarm string) {
		t.Helper()
		s, err := Parse(options(t, pairs...))
		if err != nil {
			t.Fatal(err)
		}
		all := s.Rules("c1c1c1c1")
		if len(all) != 2 {
			t.Fatalf("%d rules", len(all))
		}
		for _, rule := range all {
			if !OfController(rule, "c1c1c1c1") || OfController(rule, "c1c1c1c2") || len(rule.Name) > maxName {
				t.Errorf("rule %s, %s", rule.Name, rule.Description)
			}
		}
		return all[0].Name, all[1].Name
	}
	client, swarm := rules()
	if !strings.HasPrefix(client, "mctl-c1c1c1c1-") || !strings.HasPrefix(swarm, "mctl-c1c1c1c1-swarm-") {
		t.Errorf("%s %s", client, swarm)
	}
	if again, _ := rules(flagOpenPort, "2376"); again != client {
		t.Errorf("the same opening has the names %s and %s", client, again)
	}
	one, _ := rules(flagOpenPort, "80", flagOpenPort, "53/udp")
	other, _ := rules(flagOpenPort, "53/udp", flagOpenPort, "80")
	if one != other || one == client {
		t.Errorf("%s, %s and %s", client, one, other)
	}
	if narrow, same := rules(flagRanges, "203.0.113.9"); narrow == client || same != swarm {
		t.Errorf("%s %s", narrow, same)
	}
	if far, farSwarm := rules(FlagNetwork, "own"); far == client || farSwarm == swarm {
		t.Errorf("%s %s", far, farSwarm)
	}
	long := strings.Repeat("p", maxPrefix)
	if prefixed, inside := rules(flagExternalPrefix, long, flagInternalPrefix, "in"); prefixed != long+"-"+client || inside != "in-"+swarm {
		t.Errorf("%s %s", prefixed, inside)
	}
	s, err := Parse(options(t, flagRanges, "10.1.2.3/8", flagRanges, "192.0.2.1", flagOpenPort, "80"))
	if err != nil {
		t.Fatal(err)
	}
	rule := s.Rules("c1c1c1c1")[0]
	if got := fmt.Sprint(rule.SourceRanges, rule.Allowed[0].Ports, rule.TargetTags[0] == rule.Name); got != "[10.0.0.0/8 192.0.2.1/32] [2376 80] true" {
		t.Error(got)
	}
	if s.OpenSwarm(0); s.Rules("c1c1c1c1")[0].Name != rule.Name {
		t.Error("a machine in no swarm has another rule")
	}
	s.OpenSwarm(3376)
	if manager := s.Rules("c1c1c1c1")[0]; fmt.Sprint(manager.Allowed[0].Ports) != "[2376 3376 80]" || manager.Name == rule.Name {
		t.Errorf("a manager's rule %s opens %v", manager.Name, manager.Allowed[0].Ports)
	}
}
