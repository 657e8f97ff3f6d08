// Package archtest holds the code against docs/architecture.md: who may import whom, how large things may grow, and what
// the small binaries must not link.
package archtest

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

const module = "mctl/"

// arrows says which of our own packages a package may import, by prefix. The longest matching key counts; a package that
// no key covers fails the test.
var arrows = map[string][]string{
	"proto":                          {"proto/mctl/tunnel"},
	"cmd/controller":                 {"internal/controller", "internal/buildinfo", "internal/fault"},
	"cmd/agent":                      {"internal/agent", "internal/buildinfo"},
	"cmd/mctl":                       {"internal/mctl"},
	"internal/fault":                 {},
	"internal/host":                  {},
	"internal/pki":                   {},
	"internal/filetree":              {"internal/fault"},
	"internal/buildinfo":             {},
	"internal/frame":                 {"proto/mctl/tunnel"},
	"internal/coalesce":              {},
	"internal/lobby":                 {},
	"internal/reaper":                {},
	"internal/archtest":              {},
	"internal/controller":            {"internal/controller", "internal/fault", "internal/host", "internal/buildinfo", "proto/mctl"},
	"internal/controller/api":        {"internal/controller/machine", "internal/controller/credential", "internal/controller/event", "internal/controller/driver", "internal/controller/store", "internal/fault", "internal/host", "internal/frame", "internal/coalesce", "internal/lobby", "internal/pki", "internal/buildinfo", "proto/mctl"},
	"internal/controller/machine":    {"internal/controller/driver", "internal/controller/bootstrap", "internal/controller/agentlink", "internal/controller/sshlink", "internal/controller/swarm", "internal/controller/event", "internal/controller/store", "internal/controller/reconcile", "internal/controller/request", "internal/fault", "internal/host", "internal/pki", "proto/mctl/record"},
	"internal/controller/reconcile":  {"internal/fault"},
	"internal/controller/driver":     {"internal/controller/driver", "internal/reaper", "internal/fault"},
	"internal/controller/bootstrap":  {"internal/controller/bootstrap", "internal/controller/driver", "internal/host", "internal/fault"},
	"internal/controller/handout":    {"internal/lobby"},
	"internal/controller/sshlink":    {"internal/controller/bootstrap/login", "internal/fault"},
	"internal/controller/swarm":      {"internal/fault", "internal/host", "internal/pki"},
	"internal/controller/agentlink":  {"internal/controller/event", "internal/host", "internal/fault", "proto/mctl/agent"},
	"internal/controller/tunnel":     {"internal/host", "internal/frame", "internal/fault", "proto/mctl"},
	"internal/controller/ca":         {"internal/controller/request", "internal/controller/store", "internal/fault", "internal/pki", "proto/mctl/record"},
	"internal/controller/credential": {"internal/controller/store", "internal/controller/request", "internal/fault", "proto/mctl/record"},
	"internal/controller/request":    {"internal/fault", "proto/mctl/record"},
	"internal/controller/event":      {"internal/fault"},
	"internal/controller/store":      {"internal/controller/store", "internal/fault"},
	"internal/agent":                 {"internal/agent", "internal/reaper", "internal/host", "internal/fault", "internal/pki", "internal/buildinfo"},
	"internal/agent/link":            {"internal/agent/identity", "internal/host", "internal/coalesce", "internal/fault", "internal/pki", "internal/buildinfo", "proto/mctl/agent"},
	"internal/agent/identity":        {"internal/fault", "internal/pki", "proto/mctl/agent"},
	"internal/agent/engine":          {"internal/agent/engine", "internal/host", "internal/fault"},
	"internal/agent/front":           {"internal/lobby", "internal/pki", "internal/fault"},
	"internal/agent/tunnel":          {"internal/agent/tunnel", "internal/filetree", "internal/frame", "internal/reaper", "internal/fault", "proto/mctl"},
	"internal/agent/health":          {"internal/agent/health", "internal/host", "internal/fault"},
	"internal/agent/footprint":       {"internal/agent/footprint", "internal/host", "internal/fault"},
	"internal/mctl":                  {"internal/mctl", "internal/filetree", "internal/frame", "internal/coalesce", "proto/mctl/tunnel", "internal/fault", "internal/pki", "internal/buildinfo", "proto/mctl/controller", "proto/mctl/agent"},
	"test":                           {"internal", "proto", "test"},
	"examples":                       {"proto"}, // as anybody else's program
}

// forbidden names modules that the small binaries must not link.
var forbidden = []string{
	"google.golang.org/api", "cloud.google.com/", "github.com/aws/", "github.com/Azure/", "github.com/digitalocean/",
	"github.com/exoscale/", "github.com/vmware/", "go.etcd.io/bbolt", "github.com/google/cel-go", "github.com/moby/",
}

type listed struct {
	ImportPath, Dir        string
	Imports, GoFiles, Deps []string
}

func list(t *testing.T, args ...string) []listed {
	t.Helper()
	command := exec.Command("go", append([]string{"list", "-json=ImportPath,Dir,Imports,GoFiles,Deps"}, args...)...)
	command.Dir = "../.."
	command.Stderr = os.Stderr
	output, err := command.Output()
	if err != nil {
		t.Fatalf("go list: %v", err)
	}
	var packages []listed
	for decoder := json.NewDecoder(bytes.NewReader(output)); ; {
		var p listed
		if err := decoder.Decode(&p); errors.Is(err, io.EOF) {
			return packages
		} else if err != nil {
			t.Fatal(err)
		}
		packages = append(packages, p)
	}
}

func TestEveryImportIsAnArrowOfTheArchitecture(t *testing.T) {
	for _, p := range list(t, "./...") {
		name := strings.TrimPrefix(p.ImportPath, module)
		key, rule := keyOf(name)
		if key == "" {
			t.Errorf("%s is in no row of the architecture", name)
			continue
		}
		for _, imported := range p.Imports {
			own, ours := strings.CutPrefix(imported, module)
			if ours && !slices.ContainsFunc(rule, func(allowed string) bool { return within(own, allowed) }) {
				t.Errorf("%s must not import %s", name, own)
			}
			if ours && strings.HasSuffix(own, "test") && !strings.HasSuffix(name, "test") {
				t.Errorf("%s imports the test package %s", name, own)
			}
		}
	}
}

func TestEveryArrowIsUsed(t *testing.T) {
	used := map[string]bool{}
	for _, p := range list(t, "./...") {
		key, rule := keyOf(strings.TrimPrefix(p.ImportPath, module))
		for _, imported := range p.Imports {
			if own, ours := strings.CutPrefix(imported, module); ours {
				for _, allowed := range rule {
					used[key+" → "+allowed] = used[key+" → "+allowed] || within(own, allowed)
				}
			}
		}
	}
	for key, rule := range arrows {
		if key == "test" {
			continue // tests may look at everything
		}
		for _, allowed := range rule {
			if !used[key+" → "+allowed] {
				t.Errorf("nothing in %s imports %s: take the arrow away", key, allowed)
			}
		}
	}
}

func TestSmallBinariesLinkNoCloudSDK(t *testing.T) {
	for _, p := range list(t, "./cmd/mctl", "./cmd/agent") {
		for _, dep := range p.Deps {
			if slices.ContainsFunc(forbidden, func(f string) bool { return strings.HasPrefix(dep, f) }) {
				t.Errorf("%s links %s", p.ImportPath, dep)
			}
		}
	}
}

// large lists what may be longer than the budget, each with its reason.
var large = map[string]string{
	"internal/controller/driver/google": "one driver, a file for each thing that it makes; what calls and flags are has packages of its own",
	"internal/controller/driver/plugin": "one driver over somebody else's programs, each of whose misbehaviours has an answer, and the records that docker-machine left of them",
	"internal/controller/machine":       "one life in eleven phases, a file each; apart they would share all of their state",
	"internal/controller/api":           "one file a service; the converters are half of it",
	"internal/agent":                    "the wiring of one process, and the one goroutine that brings a host to its wish",
	"internal/controller/ca":            "one set of authorities: made or brought along, what they issue, to whom and for how long",
	"internal/mctl/migrate":             "two verbs and an undo, a file each; they share the lock, the copies and the marks",
	"internal/mctl/legacy":              "one file format: config.json, keys and certificates, each of its defects with a sentence",
	"internal/agent/front":              "one process; a third of it is comment on why the sockets are treated as they are",
	"internal/agent/link":               "one end of one stream: dial, enroll, session, outbox",
	"internal/agent/engine":             "one memory of what is under way, and the acts that it makes good after a crash",
	"internal/agent/engine/daemon":      "a third of it is the table of dockerd's flags",
	"internal/agent/engine/packages":    "one family of distributions a file, and the lock and the script that they share",
	"internal/agent/footprint":          "what goes onto a host and what comes off it again, step by step",
	"internal/controller/bootstrap":     "one contact with a bare host: check, install, reboot, remove, and what is handed to one that boots by itself",
	"internal/mctl/controllertest":      "one pretended controller, a service a file",
	"internal/controller/store/bolt":    "one backend: file, writer, watches, and whom a locked file belongs to",
	"internal/mctl/cli":                 "what every command gets: streams, client, names, failures",
	"internal/mctl/create":              "one verb: its flags, the choice of a driver, keys and files, how it fails",
	"internal/mctl/dial":                "one way to a controller on each of three roads, two systems apart",
	"internal/mctl/machine":             "one verb a file",
	"internal/mctl/state":               "one directory: folders in the making, in use and forgotten, and docker-machine's view of each",
}

func TestFilesAndPackagesStayWithinBudget(t *testing.T) {
	const maxFile, maxPackage, maxDriver = 300, 800, 1500
	for _, p := range list(t, "./internal/...", "./cmd/...") {
		name, total := strings.TrimPrefix(p.ImportPath, module), 0
		for _, file := range p.GoFiles {
			lines := countLines(t, filepath.Join(p.Dir, file))
			total += lines
			if path := name + "/" + file; lines > maxFile && large[path] == "" {
				t.Errorf("%s has %d lines, the budget is %d", path, lines, maxFile)
			}
		}
		limit := maxPackage
		if strings.HasPrefix(name, "internal/controller/driver/") {
			limit = maxDriver
		}
		if total > limit && large[name] == "" {
			t.Errorf("%s has %d lines, the budget is %d", name, total, limit)
		}
	}
}

func TestArchitecturePageNamesEveryPackage(t *testing.T) {
	page, err := os.ReadFile("../../docs/architecture.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range list(t, "./internal/...") {
		name := strings.TrimPrefix(p.ImportPath, module)
		if !strings.Contains(string(page), "`"+name+"`") && !strings.Contains(string(page), "`"+filepath.Base(name)+"`") &&
			!strings.Contains(string(page), "`"+strings.TrimPrefix(name, "internal/controller/")+"`") {
			t.Errorf("docs/architecture.md does not name %s", name)
		}
	}
}

// keyOf finds the row of a package; an empty key for none.
func keyOf(name string) (key string, rule []string) {
	for prefix := name; prefix != "."; prefix = filepath.Dir(prefix) {
		if rule, ok := arrows[prefix]; ok {
			return prefix, rule
		}
	}
	return "", nil
}

func within(name, prefix string) bool { return name == prefix || strings.HasPrefix(name, prefix+"/") }

func countLines(t *testing.T, path string) int {
	t.Helper()
	file, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	lines := 0
	for scanner := bufio.NewScanner(file); scanner.Scan(); {
		lines++
	}
	return lines
}
