package api

import (
	"context"

	"mctl/internal/controller/driver"
	controllerv1 "mctl/proto/mctl/controller/v1"
)

// driverService implements controllerv1.DriverServiceServer.
type driverService struct {
	controllerv1.UnimplementedDriverServiceServer
	server *Server
}

func (d *driverService) ListDrivers(_ context.Context, _ *controllerv1.ListDriversRequest) (*controllerv1.ListDriversResponse, error) {
	response := &controllerv1.ListDriversResponse{}
	for _, name := range d.server.config.Drivers.Names() {
		found, err := d.server.config.Drivers.Driver(name)
		if err != nil {
			return nil, err
		}
		response.Drivers = append(response.Drivers, driverMessage(found))
	}
	return response, nil
}

func (d *driverService) GetDriver(_ context.Context, r *controllerv1.GetDriverRequest) (*controllerv1.GetDriverResponse, error) {
	found, err := d.server.config.Drivers.Driver(r.GetName())
	if err != nil {
		return nil, err
	}
	return &controllerv1.GetDriverResponse{Driver: driverMessage(found)}, nil
}

func driverMessage(d driver.Driver) *controllerv1.Driver {
	info := d.Info()
	message := &controllerv1.Driver{Name: info.Name, Summary: info.Summary, Unusable: info.Unusable, DefaultRank: int32(info.Rank), Abilities: driver.Abilities(d)}
	for _, flag := range d.Flags() {
		message.Flags = append(message.Flags, &controllerv1.DriverFlag{
			Name: flag.Name, Usage: flag.Usage, Env: flag.Env, DefaultValues: flag.Default, Required: flag.Required,
			// The enums are the same numbers on both sides, which a test holds.
			Type: controllerv1.DriverFlag_Type(flag.Type), Kind: controllerv1.DriverFlag_Kind(flag.Kind),
		})
	}
	return message
}
