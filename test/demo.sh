#!/bin/bash
# make demo: a Docker host from nothing to a served page, and everything away again, also after a failure or Ctrl-C.
set -euo pipefail
cd "$(dirname "$0")/.."

if [ "$(uname -s)" != Linux ] || [ "$(id -u)" -ne 0 ]; then
	echo "The demo makes a real host with systemd-nspawn, which needs Linux and root: sudo make demo" >&2
	exit 1
fi

unset DOCKER_HOST DOCKER_TLS_VERIFY DOCKER_CERT_PATH DOCKER_CONTEXT MCTL_CONTEXT MCTL_CONTROLLER_BIN MACHINE_STORAGE_PATH
PATH=$PATH:/usr/local/sbin:/usr/sbin:/sbin
MCTL_HOME=$(mktemp -d)
export MCTL_HOME MCTL_ENGINE_INSTALL=distro DOCKER_CONFIG=$MCTL_HOME/docker
mctl=$PWD/bin/mctl
started=$(date +%s%N)

step() { # step TITLE COMMAND…: runs it and says how long it took
	local title=$1 from
	shift
	from=$(date +%s%N)
	echo "── $title"
	"$@"
	printf '   %.1f s\n\n' "$(((($(date +%s%N) - from) / 1000000)))e-3"
}

cleanup() {
	local status=$? said
	# A second Ctrl-C must not leave half of it, so what removes has a session of its own, where no terminal sends signals.
	trap '' INT TERM HUP
	trap - EXIT
	echo "── clean up"
	if "$mctl" ls -q 2>/dev/null | grep -qx demo; then
		said=$(setsid --wait "$mctl" rm -y demo 2>&1) || { echo "$said" >&2; status=1; }
	fi
	said=$(setsid --wait "$mctl" controller stop 2>&1) || { echo "$said" >&2; status=1; }
	if [ -z "$(ls -A "$MCTL_HOME/mctl/nspawn/hosts" 2>/dev/null)" ]; then
		rm -rf "$MCTL_HOME"
	else
		echo "not everything could be removed: MCTL_HOME=$MCTL_HOME $mctl rm -y demo" >&2
		status=1
	fi
	[ "$status" = 0 ] && printf 'The demo took %.1f s.\n' "$(((($(date +%s%N) - started) / 1000000)))e-3"
	exit "$status"
}
trap cleanup EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP

busybox_image() { # a root file system with a static busybox and its links
	local root=$MCTL_HOME/busybox applet
	mkdir -p "$root/bin" "$root/www" "$root/tmp"
	cp "$(command -v busybox)" "$root/bin/busybox"
	for applet in sh httpd echo cat ls sleep; do ln -sf busybox "$root/bin/$applet"; done
	echo "<h1>Served by a container on a host that did not exist a minute ago.</h1>" >"$root/www/index.html"
	tar -C "$root" -c .
}
import_image() { busybox_image | docker import - busybox:latest; }
fetch() { curl --fail --silent --show-error --retry 10 --retry-connrefused --retry-delay 1 --max-time 10 "http://$("$mctl" ip demo):8080/"; }
health() { # once the container that runs is in it
	local try
	for try in $(seq 30); do
		"$mctl" status --output json demo >"$MCTL_HOME/status"
		grep -q '"containersRunning": [1-9]' "$MCTL_HOME/status" && break
		sleep 0.5
	done
	sed -n '/^    "health": {/,/^    }/p' "$MCTL_HOME/status"
}

step "create a Docker host" "$mctl" create --driver nspawn demo
eval "$("$mctl" env --shell bash demo)"
step "import an image over TLS" import_image
step "run a web container" docker run -d --name web -p 8080:80 busybox httpd -f -p 80 -h /www
step "fetch its page" fetch
step "list the machines" "$mctl" ls
step "look at the host's health" health
step "remove the host" "$mctl" rm -y demo
