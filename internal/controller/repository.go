package controller

import (
	"context"
	"net/http"
)

// DockerRepositoryKey is where Docker's own package repository shows that it can be reached. --docker-repository-key
// names another; an empty one is never asked.
const DockerRepositoryKey = "https://download.docker.com/linux/debian/gpg"

// probeRepository reports whether the address answers. The context has the limit.
func probeRepository(address string) func(context.Context) bool {
	return func(ctx context.Context) bool {
		if address == "" {
			return false
		}
		request, err := http.NewRequestWithContext(ctx, http.MethodHead, address, nil)
		if err != nil {
			return false
		}
		response, err := http.DefaultClient.Do(request)
		if err != nil {
			return false
		}
		response.Body.Close()
		return response.StatusCode == http.StatusOK
	}
}
