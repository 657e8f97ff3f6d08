// Package gcloud proves the Google Compute front with clients that we did not write, on real hosts: the API's Go client,
// and gcloud where it is installed. It needs Linux, root, and what test/packages.sh installs.
package gcloud

import (
	"fmt"
	"os"
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) {
	if os.Getenv("MCTL_E2E") == "" {
		fmt.Fprintln(os.Stderr, "skipped: test/cloud/gcloud (make test runs it)")
		os.Exit(0)
	}
	goleak.VerifyTestMain(m)
}
