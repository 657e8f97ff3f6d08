package api

import (
	"context"
	"fmt"
	"strings"

	"mctl/internal/controller/credential"
	machines "mctl/internal/controller/machine"
	"mctl/internal/fault"
	controllerv1 "mctl/proto/mctl/controller/v1"
)

// credentialService implements controllerv1.CredentialServiceServer.
type credentialService struct {
	controllerv1.UnimplementedCredentialServiceServer
	server *Server
}

func (c *credentialService) CreateCredential(ctx context.Context, r *controllerv1.CreateCredentialRequest) (*controllerv1.CreateCredentialResponse, error) {
	if err := checkRequestID(r.GetRequestId()); err != nil {
		return nil, err
	}
	if len(r.GetContent()) > maxContent {
		return nil, usage(fmt.Sprintf("a credential is longer than %d bytes", maxContent))
	}
	if err := mayRun(ctx, r.GetDriver()); err != nil {
		return nil, err
	}
	d, err := c.server.config.Drivers.Driver(r.GetDriver())
	if err != nil {
		return nil, err
	}
	if machines.CredentialFlag(d) == "" {
		return nil, usage(fmt.Sprintf("the driver %s takes no credential", r.GetDriver()))
	}
	stored, err := c.server.config.Credentials.Put(ctx, r.GetRequestId(), r.GetName(), r.GetDriver(), r.GetContent(), r.GetReplace())
	if err != nil {
		return nil, err
	}
	users, err := c.users(ctx)
	return &controllerv1.CreateCredentialResponse{Credential: credentialMessage(stored, users)}, err
}

func (c *credentialService) ListCredentials(ctx context.Context, _ *controllerv1.ListCredentialsRequest) (*controllerv1.ListCredentialsResponse, error) {
	all, err := c.server.config.Credentials.List(ctx)
	if err != nil {
		return nil, err
	}
	users, err := c.users(ctx)
	if err != nil {
		return nil, err
	}
	response := &controllerv1.ListCredentialsResponse{}
	for _, found := range all {
		response.Credentials = append(response.Credentials, credentialMessage(found, users))
	}
	return response, nil
}

func (c *credentialService) DeleteCredential(ctx context.Context, r *controllerv1.DeleteCredentialRequest) (*controllerv1.DeleteCredentialResponse, error) {
	if err := checkRequestID(r.GetRequestId()); err != nil {
		return nil, err
	}
	return &controllerv1.DeleteCredentialResponse{}, c.server.config.Credentials.Delete(ctx, r.GetRequestId(), r.GetName(), func(ctx context.Context) error {
		users, err := c.users(ctx)
		if names := users[r.GetName()]; err == nil && len(names) > 0 {
			err = fault.E("api.DeleteCredential", fault.Precondition, r.GetName(),
				fmt.Errorf("credential %q is used by %s", r.GetName(), strings.Join(names[:min(len(names), 5)], ", "))).
				WithHint("remove the machines first; `mctl credential add --replace` puts another content in its place")
		}
		return err
	})
}

// users are the machines' names by credential.
func (c *credentialService) users(ctx context.Context) (map[string][]string, error) {
	all, _, err := c.server.config.Machines.List(ctx)
	users := map[string][]string{}
	for _, m := range all {
		if m.Spec.Credential != "" {
			users[m.Spec.Credential] = append(users[m.Spec.Credential], m.Name)
		}
	}
	return users, err
}

func credentialMessage(found credential.Credential, users map[string][]string) *controllerv1.Credential {
	return &controllerv1.Credential{
		Name: found.Name, Driver: found.Driver, CreateTime: timestamp(found.Created), UpdateTime: timestamp(found.Updated),
		Machines: users[found.Name],
	}
}
