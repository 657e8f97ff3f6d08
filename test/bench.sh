#!/bin/bash
# make bench: the figures of docs/benchmarks.md, as a table. Peers' binaries are measured too where DOCKER_MACHINE_BIN and
# RANCHER_MACHINE_BIN name them. Arguments choose among sizes, adopt, create, list, commands, silent, front, events and tunnels;
# MCTL_BENCH_MACHINES="10 100" has commands and silent take those numbers of machines. Needs Linux and root.
set -euo pipefail
cd "$(dirname "$0")/.."
if [ "$(uname -s)" != Linux ] || [ "$(id -u)" -ne 0 ]; then
	echo "not measured: real hosts need Linux and root" >&2
	exit 1
fi
export MCTL_ENGINE_INSTALL=distro
go run ./test/bench "$@"
