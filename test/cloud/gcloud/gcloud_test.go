//go:build linux

package gcloud

import (
	"encoding/json"
	"os/exec"
	"slices"
	"strings"
	"testing"

	"mctl/test/cloud/google"
	"mctl/test/cloud/lab"
)

// olderParameters are what gcloud sends that the document of the API's Go client does not have.
var olderParameters = []string{"returnPartialSuccess"}

func newGcloudWorld(t *testing.T) *world {
	t.Helper()
	if _, err := exec.LookPath("gcloud"); err != nil {
		t.Skip("gcloud is not installed")
	}
	return newWorld(t, google.Config{OlderParameters: olderParameters})
}

func TestGcloudAndAnInstance(t *testing.T) {
	t.Parallel()
	w := newGcloudWorld(t)
	const z = "--zone=" + zone
	external := func() string {
		return w.gcloud("instances", "describe", "web", z, "--format=value(networkInterfaces[0].accessConfigs[0].natIP)")
	}
	w.gcloud("instances", "create", "web", z, "--machine-type=e2-medium", "--image-family=debian-12", "--image-project=debian-cloud",
		"--tags=http-server", "--labels=owner=me", "--metadata=^;^ssh-keys=docker-user:"+w.key)
	var described struct {
		Status string
		Labels map[string]string
		Tags   struct{ Items []string }
		Disks  []struct{ AutoDelete, Boot bool }
	}
	if err := json.Unmarshal([]byte(w.gcloud("instances", "describe", "web", z, "--format=json")), &described); err != nil {
		t.Fatal(err)
	}
	if described.Status != "RUNNING" || described.Labels["owner"] != "me" || !slices.Equal(described.Tags.Items, []string{"http-server"}) || !described.Disks[0].Boot || !described.Disks[0].AutoDelete {
		t.Errorf("described as %+v", described)
	}
	first := external()
	c := w.login(first, "docker-user")
	if name := w.run(c, "hostname"); name != "web" {
		t.Errorf("the host is called %s", name)
	}
	if listed := w.gcloud("instances", "list", "--filter=labels.owner=me", "--format=value(name,status)"); listed != "web\tRUNNING" {
		t.Errorf("listed as %q", listed)
	}
	if said := w.gcloud("instances", "get-serial-port-output", "web", z); !strings.Contains(said, "Startup finished") {
		t.Errorf("its console says %q", said)
	}

	// A rule for its tag lets in, and no longer when it is gone.
	w.serve(c, "8080")
	if reach(first, "8080") == nil {
		t.Error("a port is open without a rule")
	}
	w.gcloud("firewall-rules", "create", "allow-web", "--allow=tcp:8080", "--target-tags=http-server")
	if err := reach(first, "8080"); err != nil {
		t.Errorf("with a rule: %v", err)
	}
	if listed := w.gcloud("firewall-rules", "list", "--filter=name=allow-web", "--format=value(name,sourceRanges.list())"); listed != "allow-web\t0.0.0.0/0" {
		t.Errorf("listed as %q", listed)
	}
	w.gcloud("firewall-rules", "delete", "allow-web")
	if reach(first, "8080") == nil {
		t.Error("a port is open after its rule went")
	}

	w.gcloud("instances", "stop", "web", z)
	if status := w.gcloud("instances", "describe", "web", z, "--format=value(status)"); status != "TERMINATED" || reach(first, "22") == nil {
		t.Errorf("stopped, it is %s", status)
	}
	w.gcloud("instances", "start", "web", z)
	second := external()
	if second == first || second == "" {
		t.Errorf("before at %s, after at %s", first, second)
	}
	w.login(second, "docker-user")
	w.gcloud("instances", "delete", "web", z)
	if _, err := w.tryGcloud("instances", "describe", "web", z); err == nil || !strings.Contains(err.Error(), "was not found") {
		t.Errorf("after it was deleted: %v", err)
	}
}

func TestGcloudAndAddresses(t *testing.T) {
	t.Parallel()
	w := newGcloudWorld(t)
	w.gcloud("addresses", "create", "fixed", "--region="+region)
	address := w.gcloud("addresses", "describe", "fixed", "--region="+region, "--format=value(address)")
	if listed := w.gcloud("addresses", "list", "--format=value(name,address,status)"); listed != "fixed\t"+address+"\tRESERVED" {
		t.Errorf("listed as %q", listed)
	}
	w.gcloud("instances", "create", "web", "--zone="+zone, "--address="+address, "--metadata=^;^ssh-keys=ops:"+w.key)
	w.login(address, "ops")
	if _, err := w.tryGcloud("addresses", "delete", "fixed", "--region="+region); err == nil {
		t.Error("an address in use was released")
	}
	w.gcloud("instances", "delete", "web", "--zone="+zone)
	w.gcloud("addresses", "delete", "fixed", "--region="+region)
}

func TestGcloudSaysWhatWentWrong(t *testing.T) {
	t.Parallel()
	w := newGcloudWorld(t)
	create := []string{"instances", "create", "web", "--zone=" + zone}
	for kind, want := range map[lab.Kind]string{
		lab.StockOut: "does not have enough resources available", lab.Quota: "Quota 'CPUS' exceeded",
	} {
		w.lab.Fail(lab.Fault{Call: "instances.insert", Late: &lab.Error{Kind: kind, Text: "Quota 'CPUS' exceeded.  Limit: 24.0 in region us-central1."}})
		_, err := w.tryGcloud(create...)
		if err == nil || !strings.Contains(strings.Join(strings.Fields(err.Error()), " "), want) {
			t.Errorf("%s: %v", kind, err)
		}
	}
	if _, err := w.tryGcloud(append(create, "--machine-type=huge")...); err == nil || !strings.Contains(err.Error(), "machineTypes/huge") {
		t.Errorf("a machine type that there is not: %v", err)
	}
}
