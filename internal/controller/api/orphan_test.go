package api

import (
	"strings"
	"testing"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"mctl/internal/controller/driver"
	controllerv1 "mctl/proto/mctl/controller/v1"
)

func TestOrphansAreListedAndRemovedThroughTheAPI(t *testing.T) {
	w := newWorld(t)
	client := controllerv1.NewDriverServiceClient(w.local())
	w.estate.made = []driver.Resource{{Kind: "disk", ID: "d1", Location: "z1", Machine: "0123"}, {Kind: "firewall", ID: "f1"}}
	scope := &controllerv1.Scope{Driver: "estate", DriverOptions: []*controllerv1.DriverOption{{Name: "estate-key", Content: []byte("secret")}}}
	listed, err := client.ListOrphans(t.Context(), &controllerv1.ListOrphansRequest{Scope: scope})
	if err != nil || len(listed.GetOrphans()) != 2 || listed.GetOrphans()[0].GetMachineUid() != "0123" || w.estate.shown[0] != "secret" {
		t.Fatalf("%v, %v", listed, err)
	}
	for range 2 { // the same request once more
		if _, err := client.DeleteOrphan(t.Context(), &controllerv1.DeleteOrphanRequest{RequestId: "r1", Scope: scope, Orphan: listed.GetOrphans()[0]}); err != nil {
			t.Fatal(err)
		}
	}
	if len(w.estate.made) != 1 || w.estate.made[0].ID != "f1" {
		t.Errorf("left are %v", w.estate.made)
	}
	for name, c := range map[string]struct {
		request *controllerv1.DeleteOrphanRequest
		code    codes.Code
	}{
		"gone":            {&controllerv1.DeleteOrphanRequest{RequestId: "r2", Scope: scope, Orphan: listed.GetOrphans()[0]}, codes.NotFound},
		"nothing":         {&controllerv1.DeleteOrphanRequest{Scope: scope}, codes.NotFound},
		"no driver":       {&controllerv1.DeleteOrphanRequest{}, codes.NotFound},
		"one that cannot": {&controllerv1.DeleteOrphanRequest{Scope: &controllerv1.Scope{Driver: "pretend"}}, codes.FailedPrecondition},
		"long request id": {&controllerv1.DeleteOrphanRequest{RequestId: strings.Repeat("x", 200), Scope: scope}, codes.InvalidArgument},
		"unknown option":  {&controllerv1.DeleteOrphanRequest{Scope: &controllerv1.Scope{Driver: "estate", DriverOptions: []*controllerv1.DriverOption{{Name: "x"}}}}, codes.InvalidArgument},
		"unknown credential": {&controllerv1.DeleteOrphanRequest{Scope: &controllerv1.Scope{Driver: "estate", Credential: "none"}},
			codes.FailedPrecondition},
	} {
		if _, err := client.DeleteOrphan(t.Context(), c.request); status.Code(err) != c.code {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := client.ListOrphans(t.Context(), &controllerv1.ListOrphansRequest{Scope: &controllerv1.Scope{Driver: "pretend"}}); status.Code(err) != codes.FailedPrecondition {
		t.Errorf("a driver that cannot list: %v", err)
	}
}

func TestADriverSaysWhatItCanDo(t *testing.T) {
	w := newWorld(t)
	listed, err := controllerv1.NewDriverServiceClient(w.local()).ListDrivers(t.Context(), &controllerv1.ListDriversRequest{})
	if err != nil || len(listed.GetDrivers()) != 2 || strings.Join(listed.GetDrivers()[0].GetAbilities(), ",") != "list,remove orphans,plan" ||
		!listed.GetDrivers()[0].GetFlags()[0].GetScope() {
		t.Errorf("%v, %v", listed, err)
	}
}

func TestCredentialsGoInAndNeverComeOut(t *testing.T) {
	w := newWorld(t)
	conn := w.local()
	client, machine := controllerv1.NewCredentialServiceClient(conn), controllerv1.NewMachineServiceClient(conn)
	made, err := client.CreateCredential(t.Context(), &controllerv1.CreateCredentialRequest{Name: "team", Driver: "estate", Content: []byte("hunter2")})
	if err != nil || made.GetCredential().GetName() != "team" {
		t.Fatalf("%v, %v", made, err)
	}
	plan, err := machine.CreateMachine(t.Context(), &controllerv1.CreateMachineRequest{
		Name: "web", Spec: &controllerv1.MachineSpec{Driver: "estate", Credential: "team"}, ValidateOnly: true,
	})
	if err != nil || len(plan.GetPlan()) != 1 || plan.GetPlan()[0] != "instance web" {
		t.Errorf("plan %v, %v", plan, err)
	}
	created, err := machine.CreateMachine(t.Context(), &controllerv1.CreateMachineRequest{Name: "web", Spec: &controllerv1.MachineSpec{Driver: "estate", Credential: "team"}})
	if err != nil {
		t.Fatal(err)
	}
	listed, err := client.ListCredentials(t.Context(), &controllerv1.ListCredentialsRequest{})
	if err != nil || len(listed.GetCredentials()) != 1 || strings.Join(listed.GetCredentials()[0].GetMachines(), ",") != "web" {
		t.Errorf("%v, %v", listed, err)
	}
	for _, told := range []string{made.String(), plan.String(), created.String(), listed.String()} {
		if strings.Contains(told, "hunter2") {
			t.Errorf("it comes out: %s", told)
		}
	}
	if _, err := client.DeleteCredential(t.Context(), &controllerv1.DeleteCredentialRequest{Name: "team"}); status.Code(err) != codes.FailedPrecondition {
		t.Errorf("in use: %v", err)
	}
	if _, err := machine.DeleteMachine(t.Context(), &controllerv1.DeleteMachineRequest{Name: "web"}); err != nil {
		t.Fatal(err)
	}
	w.step("web")
	for range 2 {
		if _, err := client.DeleteCredential(t.Context(), &controllerv1.DeleteCredentialRequest{RequestId: "d1", Name: "team"}); err != nil {
			t.Errorf("not in use: %v", err)
		}
	}
}

func TestBadCredentialsAreRefusedWithAReason(t *testing.T) {
	w := newWorld(t)
	client := controllerv1.NewCredentialServiceClient(w.local())
	for name, c := range map[string]struct {
		request *controllerv1.CreateCredentialRequest
		code    codes.Code
	}{
		"bad name":          {&controllerv1.CreateCredentialRequest{Name: "../x", Driver: "estate", Content: []byte("x")}, codes.InvalidArgument},
		"empty":             {&controllerv1.CreateCredentialRequest{Name: "x", Driver: "estate"}, codes.InvalidArgument},
		"too long":          {&controllerv1.CreateCredentialRequest{Name: "x", Driver: "estate", Content: make([]byte, maxContent+1)}, codes.InvalidArgument},
		"unknown driver":    {&controllerv1.CreateCredentialRequest{Name: "x", Driver: "none", Content: []byte("x")}, codes.NotFound},
		"driver takes none": {&controllerv1.CreateCredentialRequest{Name: "x", Driver: "pretend", Content: []byte("x")}, codes.InvalidArgument},
		"long request id":   {&controllerv1.CreateCredentialRequest{RequestId: strings.Repeat("x", 200), Name: "x", Driver: "estate", Content: []byte("x")}, codes.InvalidArgument},
	} {
		if _, err := client.CreateCredential(t.Context(), c.request); status.Code(err) != c.code {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestAnInvitationMayBeAskedForTwice(t *testing.T) {
	w := newWorld(t)
	client := controllerv1.NewAccessServiceClient(w.local())
	invite := func(id, user string) (*controllerv1.CreateInvitationResponse, error) {
		return client.CreateInvitation(t.Context(), &controllerv1.CreateInvitationRequest{RequestId: id, User: user})
	}
	first, err := invite("r1", "alice")
	if err != nil {
		t.Fatal(err)
	}
	again, err := invite("r1", "alice")
	if err != nil || again.GetTicket() != first.GetTicket() || !again.GetExpireTime().AsTime().Equal(first.GetExpireTime().AsTime()) {
		t.Errorf("the same request: %v, %v", again, err)
	}
	if other, err := invite("r2", "alice"); err != nil || other.GetTicket() == first.GetTicket() {
		t.Errorf("another one: %v, %v", other, err)
	}
	for _, user := range []string{"", "local", "../x", "a b", strings.Repeat("x", 65)} {
		if _, err := invite("", user); status.Code(err) != codes.InvalidArgument {
			t.Errorf("%q: %v", user, err)
		}
	}
}
