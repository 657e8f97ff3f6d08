package bootstrap

import (
	_ "embed"
)

// What is run on hosts: all of it, word for word. Nothing is ever put together with a value from outside; those go over
// standard input.
const (
	agentPath = "/usr/local/bin/mctl-agent"
	stateDir  = "/var/lib/mctl"
	newAgent  = stateDir + "/agent.new"

	// asRoot runs what follows up to the closing quote as root, whatever shell the user has.
	asRoot = `sh -c 'S=; [ "$(id -u)" = 0 ] || S="env LC_ALL=C sudo -n"; exec $S `

	scriptCommand = asRoot + `sh -s'`
	// A copy that does not fit is taken away again: the host's disk is its owner's.
	uploadCommand = asRoot + `sh -c "umask 077; mkdir -p ` + stateDir + ` && rm -f ` + newAgent + ` && gzip -dc >` + newAgent +
		` && chmod 755 ` + newAgent + ` && sha256sum ` + newAgent + ` || { rm -f ` + newAgent + `; exit 1; }"'`

	// authorizeCommand adds the lines that it reads to those that may log in as this user, once each.
	authorizeCommand = `sh -c 'cd && umask 077 && mkdir -p .ssh && touch .ssh/authorized_keys || exit 1
		[ -z "$(tail -c 1 .ssh/authorized_keys)" ] || echo >>.ssh/authorized_keys || exit 1
		while IFS= read -r line; do
			grep -qxF -e "$line" .ssh/authorized_keys || printf "%s\n" "$line" >>.ssh/authorized_keys || exit 1
		done'`

	installNewCommand     = asRoot + newAgent + ` install'`
	installPresentCommand = asRoot + agentPath + ` install'`

	// It begins after we have logged out.
	rebootCommand = asRoot + `systemd-run -q --on-active=1 --timer-property=AccuracySec=100ms systemctl reboot'`

	uninstallNewCommand     = asRoot + newAgent + ` uninstall'`
	purgeNewCommand         = asRoot + newAgent + ` uninstall --purge-engine'`
	uninstallPresentCommand = asRoot + agentPath + ` uninstall'`
	purgePresentCommand     = asRoot + agentPath + ` uninstall --purge-engine'`

	offerNewCommand        = asRoot + newAgent + ` offer'`
	offerPresentCommand    = asRoot + agentPath + ` offer'`
	handOverNewCommand     = asRoot + newAgent + ` handover'`
	handOverPresentCommand = asRoot + agentPath + ` handover'`
)

//go:embed cloudwait.sh
var cloudWaitScript string

//go:embed tidy.sh
var tidyScript string
