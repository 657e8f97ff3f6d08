package migrate

import (
	"context"
	"sync"

	"mctl/internal/fault"
	"mctl/internal/mctl/cli"
	"mctl/internal/mctl/dial"
	"mctl/internal/mctl/driverflags"
	controllerv1 "mctl/proto/mctl/controller/v1"
)

// schemas are the flags of the controller's own drivers that docker-machine had, too.
func schemas(ctx context.Context, client *dial.Client) (map[string][]*controllerv1.DriverFlag, error) {
	flags := map[string][]*controllerv1.DriverFlag{}
	for _, name := range []string{"generic", "google", "none"} {
		response, err := client.Drivers.GetDriver(ctx, &controllerv1.GetDriverRequest{Name: name})
		switch {
		case fault.Is(err, fault.NotFound):
		case err != nil:
			return nil, err
		default:
			flags[name] = response.GetDriver().GetFlags()
		}
	}
	return flags, nil
}

// credentialOf finds a driver's credential when the first machine needs it: the stored one that was named, else where the cloud's own tools look.
func credentialOf(ctx context.Context, env *cli.Env, client *dial.Client, name string) func(string) (*controllerv1.DriverOption, string, error) {
	var mu sync.Mutex
	found := map[string]*controllerv1.DriverOption{}
	return func(driver string) (*controllerv1.DriverOption, string, error) {
		if name != "" {
			return nil, name, nil
		}
		mu.Lock()
		defer mu.Unlock()
		if option, ok := found[driver]; ok {
			return option, "", nil
		}
		response, err := client.Drivers.GetDriver(ctx, &controllerv1.GetDriverRequest{Name: driver})
		if err != nil {
			return nil, "", err
		}
		content, err := driverflags.Credential(env, response.GetDriver(), "")
		if err != nil && fault.Is(err, fault.Precondition) {
			return nil, "", nil //nolint:nilerr // the plan says that there is none
		}
		if err != nil {
			return nil, "", err
		}
		for _, f := range response.GetDriver().GetFlags() {
			if f.GetKind() == controllerv1.DriverFlag_KIND_CREDENTIAL {
				found[driver] = &controllerv1.DriverOption{Name: f.GetName(), Content: content}
			}
		}
		return found[driver], "", nil
	}
}
