#!/bin/bash
# Runs the tests: units first, then end-to-end on real hosts, and says at the end what was not checked. With the argument
# e2e, end-to-end alone. Further arguments go to go test. Runs with macOS's bash, too.
set -uo pipefail
cd "$(dirname "$0")/.."

failed=0 notes=() missing=
[ "$(id -u)" -eq 0 ] || missing=root
[ "$(uname -s)" = Linux ] || missing=Linux

if [ "${1:-}" = e2e ]; then
	shift
else
	others='^mctl/test/(e2e|cloud/host|cloud/gcloud)$'
	# What runs on hosts, and the tools that make hosts, are written for Linux alone.
	[ "$missing" = Linux ] && others='^mctl/(test/(e2e|bench|cloud/host|cloud/gcloud)|cmd/agent|internal/agent|internal/controller/driver/nspawn)'
	units=$(go list ./... | grep -Ev "$others")
	# shellcheck disable=SC2086 # a list of words
	go test -race -timeout 15m $units || failed=1
	[ "$missing" != Linux ] || notes+=("skipped: cmd/agent, internal/agent, test/bench (Linux alone)")
	[ -z "$missing" ] || notes+=("skipped: internal/controller/driver/nspawn (real hosts need $missing)")
	[ -x /usr/sbin/sshd ] || notes+=("skipped: internal/controller/bootstrap with this machine's own sshd (there is no /usr/sbin/sshd)")
fi
if [ -z "$missing" ]; then
	# Most of their time these tests wait: for hosts that boot, packages that come, patience that ends.
	MCTL_E2E=1 go test -race -count=1 -timeout 60m -parallel 4 "$@" ./test/e2e || failed=1
	MCTL_E2E=1 go test -race -count=1 -timeout 15m "$@" ./test/cloud/host ./test/cloud/gcloud || failed=1
else
	notes+=("skipped: test/e2e, test/cloud/host, test/cloud/gcloud (real hosts need $missing)")
fi
command -v sshfs >/dev/null || notes+=("not checked: mount on a real host (sshfs not installed)")
[ "$missing" = Linux ] || [ -c /dev/fuse ] || notes+=("not checked: mount on a real host (no /dev/fuse here)")
command -v rsync >/dev/null || notes+=("not checked: scp --delta on a real host (rsync not installed)")
[ -n "${DOCKER_MACHINE_BIN:-}" ] || notes+=("not checked: docker-machine's own drivers as plugins, and stores that it makes and gets back (DOCKER_MACHINE_BIN names no docker-machine)")
[ -n "${RANCHER_MACHINE_BIN:-}" ] || notes+=("not checked: rancher-machine's own drivers as plugins, and stores that it makes and gets back (RANCHER_MACHINE_BIN names no rancher-machine)")
command -v gcloud >/dev/null || notes+=("not checked: gcloud not installed")

for tool in zsh fish docker groff; do command -v $tool >/dev/null || notes+=("not checked: $tool not installed"); done

notes+=(
	"not checked: PowerShell's completion and its function for use (their text alone)"
	"against transcripts only: Ubuntu, the RPM family, Docker's own repository, the install script"
	"by cross-build and choice of binary only: arm64"
)
[ -d /run/systemd/system ] || notes+=(
	"on a host made for it: nspawn hosts that are systemd's units (systemd is not process 1 here)"
	"not checked: the limits of such hosts"
)
echo
printf '%s\n' "${notes[@]}"
[ "$failed" = 0 ] && echo "all tests passed" || echo "some tests FAILED"
exit $failed
