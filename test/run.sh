#!/bin/bash
# Runs the tests: units first, then end-to-end on real hosts, and says at the end what was not checked.
# With the argument e2e, end-to-end alone. Further arguments go to go test.
set -uo pipefail
cd "$(dirname "$0")/.."

failed=0 notes=()
if [ "${1:-}" = e2e ]; then
	shift
else
	mapfile -t units < <(go list ./... | grep -v '^mctl/test/e2e')
	go test -race -timeout 15m "${units[@]}" || failed=1
fi

end_to_end=1
[ "$(uname -s)" = Linux ] || { end_to_end=0; notes+=("skipped: test/e2e (real hosts need Linux)"); }
[ "$end_to_end" = 0 ] || [ "$(id -u)" -eq 0 ] || { end_to_end=0; notes+=("skipped: test/e2e (real hosts need root)"); }
if [ "$end_to_end" = 1 ]; then
	MCTL_E2E=1 go test -race -count=1 -timeout 60m "$@" ./test/e2e || failed=1
fi

notes+=(
	"against transcripts only: Ubuntu, the RPM family, Docker's own repository, the install script"
	"by cross-build and choice of binary only: arm64"
)
[ -d /run/systemd/system ] || notes+=("not checked: nspawn hosts as transient units (systemd is not process 1 here)")
echo
printf '%s\n' "${notes[@]}"
[ "$failed" = 0 ] && echo "all tests passed" || echo "some tests FAILED"
exit $failed
