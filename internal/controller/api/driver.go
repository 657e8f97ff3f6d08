package api

import (
	"context"

	"mctl/internal/controller/driver"
	"mctl/internal/controller/driver/plugin"
	machines "mctl/internal/controller/machine"
	"mctl/internal/fault"
	controllerv1 "mctl/proto/mctl/controller/v1"
)

// driverService implements controllerv1.DriverServiceServer.
type driverService struct {
	controllerv1.UnimplementedDriverServiceServer
	server *Server
}

func (d *driverService) ListDrivers(_ context.Context, _ *controllerv1.ListDriversRequest) (*controllerv1.ListDriversResponse, error) {
	response := &controllerv1.ListDriversResponse{}
	for _, found := range d.server.config.Drivers.List() {
		response.Drivers = append(response.Drivers, driverMessage(found))
	}
	return response, nil
}

func (d *driverService) GetDriver(ctx context.Context, r *controllerv1.GetDriverRequest) (*controllerv1.GetDriverResponse, error) {
	if err := mayRun(ctx, r.GetName()); err != nil {
		return nil, err
	}
	found, err := d.server.config.Drivers.Driver(r.GetName())
	if err != nil {
		return nil, err
	}
	return &controllerv1.GetDriverResponse{Driver: driverMessage(found)}, nil
}

// mayRun refuses callers from other computers who name a program of the controller's own to run: which ones serve as plugins, its
// owner says.
func mayRun(ctx context.Context, driverName string) error {
	if !plugin.NamesFile(driverName) || identityOf(ctx).local {
		return nil
	}
	return fault.New("api.mayRun", fault.Denied, driverName, "--plugin-binary names a file of the controller's computer, and works there alone").
		WithHint("have the plugin put into the directory of drivers of the controller, and name its driver")
}

func driverMessage(d driver.Driver) *controllerv1.Driver {
	info := d.Info()
	message := &controllerv1.Driver{Name: info.Name, Summary: info.Summary, Unusable: info.Unusable, DefaultRank: int32(info.Rank), Abilities: driver.Abilities(d)}
	for _, flag := range d.Flags() {
		message.Flags = append(message.Flags, &controllerv1.DriverFlag{
			Name: flag.Name, Usage: flag.Usage, Env: flag.Env, DefaultValues: flag.Default, Required: flag.Required, Scope: flag.Scope,
			// The enums are the same numbers on both sides, which a test holds.
			Type: controllerv1.DriverFlag_Type(flag.Type), Kind: controllerv1.DriverFlag_Kind(flag.Kind),
		})
	}
	return message
}

func (d *driverService) ListOrphans(ctx context.Context, r *controllerv1.ListOrphansRequest) (*controllerv1.ListOrphansResponse, error) {
	scope, err := scopeOf(ctx, r.GetScope())
	if err != nil {
		return nil, err
	}
	orphans, err := d.server.config.Machines.Orphans(ctx, scope)
	if err != nil {
		return nil, err
	}
	response := &controllerv1.ListOrphansResponse{}
	for _, o := range orphans {
		response.Orphans = append(response.Orphans, &controllerv1.Orphan{Kind: o.Kind, Id: o.ID, Location: o.Location, MachineUid: o.Machine})
	}
	return response, nil
}

func (d *driverService) DeleteOrphan(ctx context.Context, r *controllerv1.DeleteOrphanRequest) (*controllerv1.DeleteOrphanResponse, error) {
	if err := checkRequestID(r.GetRequestId()); err != nil {
		return nil, err
	}
	scope, err := scopeOf(ctx, r.GetScope())
	if err != nil {
		return nil, err
	}
	o := r.GetOrphan()
	return &controllerv1.DeleteOrphanResponse{}, d.server.config.Machines.RemoveOrphan(ctx, r.GetRequestId(), scope,
		driver.Resource{Kind: o.GetKind(), ID: o.GetId(), Location: o.GetLocation(), Machine: o.GetMachineUid()})
}

func scopeOf(ctx context.Context, m *controllerv1.Scope) (machines.Scope, error) {
	if err := mayRun(ctx, m.GetDriver()); err != nil {
		return machines.Scope{}, err
	}
	spec, err := specOf(&controllerv1.MachineSpec{Driver: m.GetDriver(), DriverOptions: m.GetDriverOptions(), Credential: m.GetCredential()})
	return machines.Scope{Driver: spec.Driver, Options: spec.Options, Credential: spec.Credential}, err
}
