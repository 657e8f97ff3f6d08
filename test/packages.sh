#!/bin/bash
# Installs the system packages that demo, tests and benchmarks need and this machine lacks, and says which first. With the
# argument compiler also what the race detector needs. Does nothing without root or apt-get: then the end-to-end part is
# reported as skipped. Runs with macOS's bash, too.
set -euo pipefail
[ "$(uname -s)" = Linux ] || exit 0
PATH=$PATH:/usr/local/sbin:/usr/sbin:/sbin

lacking=()
for tool in systemd-nspawn=systemd-container mmdebstrap iptables ip=iproute2 ssh=openssh-client curl docker=docker.io openssl sudo \
	nc=netcat-openbsd pgrep=procps sshfs rsync; do
	command -v "${tool%%=*}" >/dev/null || lacking+=("${tool#*=}")
done
# The test images hold nothing but busybox, so it must need no libraries.
if ! command -v busybox >/dev/null || ldd "$(command -v busybox)" >/dev/null 2>&1; then lacking+=(busybox-static); fi
compiles() { printf '#include <stdlib.h>\nint main(void) { return 0; }\n' | $(go env CC) -x c -o /dev/null - 2>/dev/null; }
if [ "${1:-}" = compiler ] && ! compiles; then lacking+=(gcc libc6-dev); fi
[ ${#lacking[@]} -gt 0 ] || exit 0
if [ "$(id -u)" -ne 0 ] || ! command -v apt-get >/dev/null; then
	echo "not installed (needs root and apt-get): ${lacking[*]}" >&2
	exit 0
fi
echo "Installing system packages: ${lacking[*]}"
export DEBIAN_FRONTEND=noninteractive
apt-get update -qq
apt-get install -y -qq -o DPkg::Lock::Timeout=300 --no-install-recommends "${lacking[@]}" >/dev/null
