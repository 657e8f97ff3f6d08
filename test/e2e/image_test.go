package e2e

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"

	"github.com/hashicorp/go-hclog"

	"mctl/internal/controller/driver/nspawn"
	"mctl/internal/controller/driver/nspawn/rootfs"
)

// dockerImage is where the base image with the distribution's Docker in it is; TestMain removes it. Tests that are about
// something else than installing save some seconds for each host.
var dockerImage = sync.OnceValues(buildDockerImage)

// withDocker are the flags for a host that has Docker from the start.
func withDocker(t *testing.T) []string {
	t.Helper()
	image, err := dockerImage()
	if err != nil {
		t.Fatal(err)
	}
	return []string{"--driver", "nspawn", "--nspawn-image", image}
}

// create creates a machine whose host has Docker from the start.
func (l *lab) create(args ...string) {
	l.t.Helper()
	l.must(append(append([]string{"create"}, withDocker(l.t)...), args...)...)
}

func imageDir() string {
	return filepath.Join(os.TempDir(), fmt.Sprintf("mctl-e2e-image-%d", os.Getpid()))
}

func buildDockerImage() (string, error) {
	cache := rootfs.Cache{Dir: nspawn.DefaultCacheDir, Logger: hclog.NewNullLogger()}
	base, err := cache.Image(context.Background(), "", func(string) {})
	if err != nil {
		return "", err
	}
	// Nothing is started meanwhile, and what was in spite of that ends with the container.
	const install = `
		printf '#!/bin/sh\nexit 101\n' >/usr/sbin/policy-rc.d && chmod +x /usr/sbin/policy-rc.d &&
		apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends docker.io &&
		apt-get clean && rm /usr/sbin/policy-rc.d`
	for _, command := range [][]string{
		{"cp", "-a", "--reflink=auto", base, imageDir()},
		{"systemd-nspawn", "--quiet", "--register=no", "--keep-unit", "--pipe", "--resolv-conf=replace-host", "-D", imageDir(), "sh", "-c", install},
	} {
		if output, err := exec.Command(command[0], command[1:]...).CombinedOutput(); err != nil {
			return "", fmt.Errorf("image with Docker: %s: %w\n%s", command[0], err, output)
		}
	}
	return imageDir(), nil
}
