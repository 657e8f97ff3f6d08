# Waits until cloud-init is done with the host, failed included, at most five minutes.
i=0
while [ "$i" -lt 300 ] && [ ! -e /run/cloud-init/result.json ]; do
	systemctl is-failed --quiet cloud-final.service && break
	sleep 1
	i=$((i + 1))
done
