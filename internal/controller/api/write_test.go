package api

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"testing"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"mctl/internal/pki"
	agentv1 "mctl/proto/mctl/agent/v1"
	controllerv1 "mctl/proto/mctl/controller/v1"
)

// Every write comes twice: it is carried out once, and both answers have the machine.
func TestEveryWriteIsCarriedOutOnce(t *testing.T) {
	w := newWorld(t)
	c := controllerv1.NewMachineServiceClient(w.local())
	ctx := context.Background()
	type answer interface {
		GetMachine() *controllerv1.Machine
	}
	writes := []struct {
		name  string
		write func(id string) (answer, error)
		holds func(*controllerv1.MachineSpec) bool
	}{
		{"create", func(id string) (answer, error) {
			return c.CreateMachine(ctx, &controllerv1.CreateMachineRequest{RequestId: id, Name: "web", Spec: &controllerv1.MachineSpec{Driver: "pretend"}})
		}, func(*controllerv1.MachineSpec) bool { return true }},
		{"stop", func(id string) (answer, error) {
			return c.StopMachine(ctx, &controllerv1.StopMachineRequest{RequestId: id, Name: "web", Force: true})
		}, func(s *controllerv1.MachineSpec) bool {
			return s.GetPower() == controllerv1.PowerState_POWER_STATE_STOPPED && s.GetForce()
		}},
		{"start", func(id string) (answer, error) {
			return c.StartMachine(ctx, &controllerv1.StartMachineRequest{RequestId: id, Name: "web"})
		}, func(s *controllerv1.MachineSpec) bool {
			return s.GetPower() == controllerv1.PowerState_POWER_STATE_RUNNING && !s.GetForce()
		}},
		{"restart", func(id string) (answer, error) {
			return c.RestartMachine(ctx, &controllerv1.RestartMachineRequest{RequestId: id, Name: "web"})
		}, func(s *controllerv1.MachineSpec) bool { return s.GetCounters().GetRestart() == 1 }},
		{"provision", func(id string) (answer, error) {
			return c.ProvisionMachine(ctx, &controllerv1.ProvisionMachineRequest{RequestId: id, Name: "web"})
		}, func(s *controllerv1.MachineSpec) bool { return s.GetCounters().GetProvision() == 1 }},
		{"upgrade", func(id string) (answer, error) {
			return c.UpgradeMachine(ctx, &controllerv1.UpgradeMachineRequest{RequestId: id, Name: "web"})
		}, func(s *controllerv1.MachineSpec) bool { return s.GetCounters().GetUpgrade() == 1 }},
		{"regenerate", func(id string) (answer, error) {
			return c.RegenerateCertificates(ctx, &controllerv1.RegenerateCertificatesRequest{RequestId: id, Name: "web"})
		}, func(s *controllerv1.MachineSpec) bool { return s.GetCounters().GetRegenerateCerts() == 1 }},
		{"retry", func(id string) (answer, error) {
			return c.RetryMachine(ctx, &controllerv1.RetryMachineRequest{RequestId: id, Name: "web"})
		}, func(s *controllerv1.MachineSpec) bool { return s.GetCounters().GetRetry() == 1 }},
		{"delete", func(id string) (answer, error) {
			return c.DeleteMachine(ctx, &controllerv1.DeleteMachineRequest{RequestId: id, Name: "web", PurgeEngine: true})
		}, func(s *controllerv1.MachineSpec) bool { return s.GetDeletion().GetPurgeEngine() }},
	}
	for i, write := range writes {
		for time := range 2 {
			got, err := write.write("id-" + write.name)
			if err != nil {
				t.Fatalf("%s, time %d: %v", write.name, time, err)
			}
			if m := got.GetMachine(); m.GetGeneration() != uint64(i+1) || !write.holds(m.GetSpec()) {
				t.Errorf("%s, time %d: generation %d, want %d; %v", write.name, time, m.GetGeneration(), i+1, m.GetSpec())
			}
		}
	}
	if _, err := writes[1].write("id-restart"); status.Code(err) != codes.InvalidArgument {
		t.Errorf("an id that did something else: %v", err)
	}
	w.step("web")
	again, err := writes[len(writes)-1].write("id-delete")
	if err != nil || again.GetMachine().GetName() != "web" || again.GetMachine().GetUid() == "" {
		t.Errorf("delete, when it is gone: %v, %v", again, err)
	}
	for _, write := range writes[:len(writes)-1] {
		if _, err := write.write("id-" + write.name); status.Code(err) != codes.NotFound {
			t.Errorf("%s, when it is gone: %v", write.name, err)
		}
	}
}

func TestDockerClientsGetCertificatesOfTheirMachinesAuthority(t *testing.T) {
	w := newWorld(t)
	conn := w.local()
	create(t, controllerv1.NewMachineServiceClient(conn), "web")
	key, err := pki.NewKey()
	if err != nil {
		t.Fatal(err)
	}
	csr, err := pki.NewRequest(key)
	if err != nil {
		t.Fatal(err)
	}
	client := controllerv1.NewAccessServiceClient(conn)
	issue := func(machine string, csr []byte) (*controllerv1.IssueClientCertificateResponse, error) {
		return client.IssueClientCertificate(t.Context(), &controllerv1.IssueClientCertificateRequest{Machine: machine, Csr: csr})
	}
	if _, err := issue("web", csr); status.Code(err) != codes.Unavailable { // it is named in the first step
		t.Errorf("before there is an authority: %v", err)
	}
	w.step("web")
	got, err := issue("web", csr)
	if err != nil {
		t.Fatal(err)
	}
	certificates, err := pki.DecodeCertificates(got.GetCertificate())
	if err != nil {
		t.Fatal(err)
	}
	authorities, err := pki.DecodeCertificates(got.GetCa())
	if err != nil {
		t.Fatal(err)
	}
	leaf := certificates[0]
	if _, err := leaf.Verify(x509.VerifyOptions{Roots: pki.Pool(authorities...), KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}}); err != nil {
		t.Error(err)
	}
	if !key.PublicKey.Equal(leaf.PublicKey) || leaf.Subject.CommonName != "user:local" || !leaf.NotAfter.Equal(got.GetExpireTime().AsTime()) {
		t.Errorf("%s until %s", leaf.Subject, leaf.NotAfter)
	}
	if _, err := issue("none", csr); status.Code(err) != codes.NotFound {
		t.Errorf("an unknown machine: %v", err)
	}
	if _, err := issue("web", []byte("x")); status.Code(err) != codes.InvalidArgument {
		t.Errorf("a bad request: %v", err)
	}
}

func TestAUserEnrollsAndRenewsOverTCP(t *testing.T) {
	w := newWorld(t)
	invited, err := controllerv1.NewAccessServiceClient(w.local()).CreateInvitation(t.Context(), &controllerv1.CreateInvitationRequest{User: "alice"})
	if err != nil {
		t.Fatal(err)
	}
	key, err := pki.NewKey()
	if err != nil {
		t.Fatal(err)
	}
	csr, err := pki.NewRequest(key)
	if err != nil {
		t.Fatal(err)
	}
	enrolled, err := agentv1.NewEnrollmentServiceClient(w.remote(nil)).Enroll(t.Context(), &agentv1.EnrollRequest{Ticket: invited.GetTicket(), Csr: csr})
	if err != nil {
		t.Fatal(err)
	}
	own := &tls.Certificate{Certificate: enrolled.GetCertificates()[:1], PrivateKey: key}
	conn := w.remote(own)
	if _, err := controllerv1.NewMachineServiceClient(conn).ListMachines(t.Context(), &controllerv1.ListMachinesRequest{}); err != nil {
		t.Errorf("as alice: %v", err)
	}
	renewed, err := agentv1.NewEnrollmentServiceClient(conn).Renew(t.Context(), &agentv1.RenewRequest{Csr: csr})
	if err != nil || string(renewed.GetCertificates()[0]) == string(enrolled.GetCertificates()[0]) {
		t.Errorf("renewed: %v", err)
	}
	if _, err := agentv1.NewEnrollmentServiceClient(w.local()).Renew(t.Context(), &agentv1.RenewRequest{Csr: csr}); status.Code(err) != codes.PermissionDenied {
		t.Errorf("without a certificate: %v", err)
	}
}
