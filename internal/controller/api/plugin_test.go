package api

import (
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	controllerv1 "mctl/proto/mctl/controller/v1"
)

func TestOnlyCallersOfThisComputerNameAProgramToRun(t *testing.T) {
	w := newWorld(t)
	const program = "plugin:x@/usr/sbin/reboot"
	for method, call := range map[string]func(conn *grpc.ClientConn) error{
		"GetDriver": func(conn *grpc.ClientConn) error {
			_, err := controllerv1.NewDriverServiceClient(conn).GetDriver(t.Context(), &controllerv1.GetDriverRequest{Name: program})
			return err
		},
		"ListOrphans": func(conn *grpc.ClientConn) error {
			_, err := controllerv1.NewDriverServiceClient(conn).ListOrphans(t.Context(), &controllerv1.ListOrphansRequest{Scope: &controllerv1.Scope{Driver: program}})
			return err
		},
		"DeleteOrphan": func(conn *grpc.ClientConn) error {
			_, err := controllerv1.NewDriverServiceClient(conn).DeleteOrphan(t.Context(), &controllerv1.DeleteOrphanRequest{Scope: &controllerv1.Scope{Driver: program}})
			return err
		},
		"CreateMachine": func(conn *grpc.ClientConn) error {
			_, err := controllerv1.NewMachineServiceClient(conn).CreateMachine(t.Context(), &controllerv1.CreateMachineRequest{
				Name: "web", Spec: &controllerv1.MachineSpec{Driver: program},
			})
			return err
		},
		"CreateCredential": func(conn *grpc.ClientConn) error {
			_, err := controllerv1.NewCredentialServiceClient(conn).CreateCredential(t.Context(), &controllerv1.CreateCredentialRequest{Name: "c", Driver: program, Content: []byte("x")})
			return err
		},
	} {
		if err := call(w.remote(w.enrolled("user:alice"))); status.Code(err) != codes.PermissionDenied {
			t.Errorf("%s from far away: %v", method, err)
		}
		// The driver table of this test has no such driver, which is asked then.
		if err := call(w.local()); status.Code(err) != codes.NotFound {
			t.Errorf("%s from here: %v", method, err)
		}
	}
}
