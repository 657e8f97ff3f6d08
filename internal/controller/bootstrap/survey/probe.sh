# Tells what first contact has to know about a host, as key=value lines. It changes nothing.
LC_ALL=C
PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin:$PATH
export LC_ALL PATH

echo probe=1
echo "uid=$(id -u)"
echo "arch=$(uname -m)"
if [ -r /etc/os-release ]; then release=/etc/os-release; else release=/usr/lib/os-release; fi
head -c 4096 "$release" 2>/dev/null | grep -E '^(ID|ID_LIKE|PRETTY_NAME)=' | sed 's/^/os_/'
[ -d /run/systemd/system ] && echo systemd=1
[ -e /run/cloud-init/enabled ] && [ ! -e /run/cloud-init/result.json ] && echo cloud_init=1

# What is ours.
[ -e /var/lib/mctl ] && echo state=1
{ [ -e /var/lib/mctl/config.json ] || [ -e /var/lib/mctl/footprint.json ]; } && echo installed=1
head -c 65536 /var/lib/mctl/config.json 2>/dev/null | tr ',{}' '\n\n\n' |
	sed -n 's/^[[:space:]]*"machine_uid"[[:space:]]*:[[:space:]]*"\([^"]*\)".*/agent_uid=\1/p'
[ -e /usr/local/bin/mctl-agent ] && echo "agent=$(sha256sum /usr/local/bin/mctl-agent | cut -d ' ' -f 1)"
systemctl show -p Listen mctl-front.socket 2>/dev/null | sed 's/^/front_/'

# The engine: dockerd of this host, not of a container on it.
command -v dockerd >/dev/null && echo docker=1
for p in /proc/[0-9]*; do
	read -r name 2>/dev/null <"$p/comm" || continue
	[ "$name" = dockerd ] || continue
	[ "$(readlink "$p/ns/pid")" = "$(readlink /proc/self/ns/pid)" ] || continue
	echo docker=1
	ls -l "$p/fd" 2>/dev/null | sed -n 's/.*socket:\[\([0-9]*\)\].*/dockerd_socket=\1/p' | head -n 2000
done

# The swarm that the engine is in: what its node's certificate says, for as long as it has not left.
[ -e /var/lib/docker/swarm/docker-state.json ] && head -c 16384 /var/lib/docker/swarm/certificates/swarm-node.crt 2>/dev/null | sed 's/^/swarm=/'

# Who listens: state 0A.
cat /proc/net/tcp /proc/net/tcp6 2>/dev/null | grep ' 0A ' | head -n 2000 | sed 's/^/tcp=/'
ss -Hltnp 2>/dev/null | head -n 2000 | sed 's/^/ss=/'

# Kilobytes that are free.
for d in /usr/local /var/lib; do
	df -Pk "$d" 2>/dev/null | sed 1d | sed 's/^/df=/'
done
echo end=1
