#!/bin/bash
# Installs the system packages that demo, tests and benchmarks need and this machine lacks, and says which first.
# Does nothing without root or apt-get: then the end-to-end part is reported as skipped.
set -euo pipefail

declare -A provider=(
	[systemd-nspawn]=systemd-container [mmdebstrap]=mmdebstrap [iptables]=iptables [ip]=iproute2 [ssh]=openssh-client
	[curl]=curl [docker]=docker.io [openssl]=openssl [sudo]=sudo [nc]=netcat-openbsd
)
lacking=()
for tool in "${!provider[@]}"; do
	command -v "$tool" >/dev/null || lacking+=("${provider[$tool]}")
done
# The test images hold nothing but busybox, so it must need no libraries.
if ! command -v busybox >/dev/null || ldd "$(command -v busybox)" >/dev/null 2>&1; then lacking+=(busybox-static); fi
[ ${#lacking[@]} -gt 0 ] || exit 0
if [ "$(id -u)" -ne 0 ] || ! command -v apt-get >/dev/null; then
	echo "not installed (needs root and apt-get): ${lacking[*]}" >&2
	exit 0
fi
echo "Installing system packages: ${lacking[*]}"
export DEBIAN_FRONTEND=noninteractive
apt-get update -qq
apt-get install -y -qq -o DPkg::Lock::Timeout=300 --no-install-recommends "${lacking[@]}" >/dev/null
