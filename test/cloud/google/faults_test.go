package google_test

import (
	"errors"
	"net/http"
	"strings"
	"testing"
	"time"

	"google.golang.org/api/compute/v1"
	"google.golang.org/api/googleapi"

	"mctl/test/cloud/google"
	"mctl/test/cloud/lab"
)

func TestRefusalsAreInTheAPIsWords(t *testing.T) {
	w := newWorld(t, lab.Config{}, google.Config{})
	for kind, want := range map[lab.Kind]struct {
		code   int
		reason string
	}{
		lab.RateLimited: {429, "rateLimitExceeded"}, lab.Unavailable: {503, "backendError"}, lab.Internal: {500, "internalError"},
		lab.Quota: {403, "quotaExceeded"}, lab.Denied: {403, "forbidden"},
	} {
		w.lab.Fail(lab.Fault{Call: "instances.get", Subject: "web", Error: &lab.Error{Kind: kind, Text: "no", RetryAfter: 1500 * time.Millisecond}})
		_, err := w.client.Instances.Get(project, zone, "web").Do()
		refused(t, err, want.code, want.reason)
		if e := (*googleapi.Error)(nil); errors.As(err, &e) && e.Header.Get("Retry-After") != "2" {
			t.Errorf("Retry-After is %q", e.Header.Get("Retry-After"))
		}
	}
}

func TestOperationsFailAsTheAPIs(t *testing.T) {
	w := newWorld(t, lab.Config{}, google.Config{})
	for kind, want := range map[lab.Kind]struct {
		code   string
		status int64
	}{
		lab.Quota: {"QUOTA_EXCEEDED", 403}, lab.StockOut: {"ZONE_RESOURCE_POOL_EXHAUSTED", 503}, lab.Internal: {"INTERNAL_ERROR", 500},
	} {
		w.lab.Fail(lab.Fault{Call: "instances.insert", Scope: project + "/zones/" + zone, Late: &lab.Error{Kind: kind, Text: "Quota 'CPUS' exceeded.  Limit: 24.0 in region us-central1."}})
		o := w.await(w.client.Instances.Insert(project, zone, instance("web")).Do())
		if o.Error == nil || o.Error.Errors[0].Code != want.code || o.HttpErrorStatusCode != want.status || o.Error.Errors[0].Message == "" {
			t.Errorf("%s: %+v", kind, o)
		}
		if kind == lab.StockOut && !strings.Contains(o.Error.Errors[0].Message, "projects/lab-project/zones/us-central1-a") {
			t.Errorf("it does not say where: %s", o.Error.Errors[0].Message)
		}
		w.nothingLeft()
	}
}

func TestWaitReturnsEarlyWhileAnOperationIsStuck(t *testing.T) {
	w := newWorld(t, lab.Config{}, google.Config{WaitLimit: 50 * time.Millisecond})
	w.lab.Fail(lab.Fault{Call: "instances.insert", Stuck: true})
	o, err := w.client.Instances.Insert(project, zone, instance("web")).Do()
	if err != nil {
		t.Fatal(err)
	}
	for range 3 {
		if o, err = w.client.ZoneOperations.Wait(project, zone, o.Name).Do(); err != nil || o.Status != "RUNNING" {
			t.Fatalf("%+v %v", o, err)
		}
	}
	if got, err := w.client.ZoneOperations.Get(project, zone, o.Name).Do(); err != nil || got.Status != "RUNNING" || got.TargetLink == "" {
		t.Errorf("%+v %v", got, err)
	}
	w.lab.Unstick()
	w.must(o, nil)
	all, err := w.client.ZoneOperations.List(project, zone).Filter(`operationType = "insert"`).Do()
	if err != nil || len(all.Items) != 1 || all.Items[0].Name != o.Name {
		t.Errorf("%+v %v", all, err)
	}
	_, err = w.client.ZoneOperations.Get(project, zone, "operation-1").Do()
	refused(t, err, 404, "notFound")
}

func TestReadsMayBeBehindWhileAnOperationIsPending(t *testing.T) {
	w := newWorld(t, lab.Config{}, google.Config{})
	w.lab.Fail(lab.Fault{Call: "instances.insert", Behind: 2})
	w.must(w.client.Instances.Insert(project, zone, instance("web")).Do())
	_, err := w.client.Instances.Get(project, zone, "web").Do()
	refused(t, err, 404, "notFound")
	if list, err := w.client.Instances.List(project, zone).Do(); err != nil || len(list.Items) > 0 {
		t.Errorf("%+v %v", list, err)
	}
	w.get("web")
}

func TestAnswersMayBeGarbageOrNothing(t *testing.T) {
	w := newWorld(t, lab.Config{}, google.Config{})
	w.lab.Fail(lab.Fault{Call: "instances.get", Raw: &lab.Raw{Status: http.StatusOK, ContentType: "text/html", Body: "<html>"}})
	if _, err := w.client.Instances.Get(project, zone, "web").Do(); err == nil {
		t.Error("HTML was understood")
	}
	w.lab.Fail(lab.Fault{Call: "disks.insert", LoseAnswer: true})
	if _, err := w.client.Disks.Insert(project, zone, &compute.Disk{Name: "data", SizeGb: 10}).Do(); err == nil {
		t.Error("the answer was not lost")
	}
	if disk, err := w.client.Disks.Get(project, zone, "data").Do(); err != nil || disk.SizeGb != 10 {
		t.Errorf("it has not acted: %+v %v", disk, err)
	}
	w.must(w.client.Disks.Delete(project, zone, "data").Do())
	w.nothingLeft()
}

func TestAnInstanceMayGoBehindOnesBack(t *testing.T) {
	w := newWorld(t, lab.Config{}, google.Config{})
	ref := lab.Ref{Scope: project + "/zones/" + zone, Name: "web"}
	w.must(w.client.Instances.Insert(project, zone, instance("web")).Do())
	if err := w.lab.CutPower(t.Context(), ref); err != nil {
		t.Fatal(err)
	}
	if i := w.get("web"); i.Status != "TERMINATED" {
		t.Errorf("preempted, it is %s", i.Status)
	}
	if err := w.lab.Vanish(t.Context(), ref); err != nil {
		t.Fatal(err)
	}
	_, err := w.client.Instances.Get(project, zone, "web").Do()
	refused(t, err, 404, "notFound")
	w.nothingLeft()
}
