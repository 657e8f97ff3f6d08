package login

import (
	"bytes"
	"fmt"
	"net"
	"slices"
	"strings"

	"golang.org/x/crypto/ssh"

	"mctl/internal/fault"
)

// hostKeys checks whom we talk to: one of the pinned keys, or whoever comes first where none is pinned.
type hostKeys struct {
	host   Host
	pinned []ssh.PublicKey
	shown  ssh.PublicKey // what the host showed and we accepted
}

func newHostKeys(host Host) (*hostKeys, error) {
	h := &hostKeys{host: host}
	for _, line := range host.HostKeys {
		key, _, _, _, err := ssh.ParseAuthorizedKey([]byte(line))
		if err != nil {
			return nil, fault.New("login.newHostKeys", fault.Internal, host.Machine, "a pinned host key can't be read")
		}
		h.pinned = append(h.pinned, key)
	}
	return h, nil
}

// algorithms are what we ask the host for: keys of the pinned types first, so that a host with several shows one we know.
// The rest follows, so that a changed host shows what it has and can be told apart. No certificates, for there is nobody to
// vouch for them.
func (h *hostKeys) algorithms() []string {
	var wanted []string
	for _, key := range h.pinned {
		if key.Type() == ssh.KeyAlgoRSA {
			wanted = append(wanted, ssh.KeyAlgoRSASHA512, ssh.KeyAlgoRSASHA256)
		} else {
			wanted = append(wanted, key.Type())
		}
	}
	for _, algorithm := range []string{
		ssh.KeyAlgoED25519, ssh.KeyAlgoECDSA256, ssh.KeyAlgoECDSA384, ssh.KeyAlgoECDSA521, ssh.KeyAlgoRSASHA512, ssh.KeyAlgoRSASHA256,
	} {
		if !slices.Contains(wanted, algorithm) {
			wanted = append(wanted, algorithm)
		}
	}
	return wanted
}

// check is an ssh.HostKeyCallback.
func (h *hostKeys) check(_ string, _ net.Addr, shown ssh.PublicKey) error {
	known := func(key ssh.PublicKey) bool { return bytes.Equal(key.Marshal(), shown.Marshal()) }
	if len(h.pinned) > 0 && !slices.ContainsFunc(h.pinned, known) {
		var prints []string
		for _, key := range h.pinned {
			prints = append(prints, ssh.FingerprintSHA256(key))
		}
		return fault.E("login.hostKey", fault.Denied, h.host.Machine,
			fmt.Errorf("the host key of %s has changed: it shows %s %s, and %s is known", Clean(h.host.Address),
				shown.Type(), ssh.FingerprintSHA256(shown), strings.Join(prints, " or "))).
			WithHint("if the host was set up anew, remove the machine with --force and create it again; if not, somebody may be listening in between")
	}
	h.shown = shown
	return nil
}

// lines are the keys to pin, in authorized_keys format.
func (h *hostKeys) lines() []string {
	keys := h.pinned
	if len(keys) == 0 {
		keys = []ssh.PublicKey{h.shown}
	}
	var lines []string
	for _, key := range keys {
		lines = append(lines, strings.TrimSpace(string(ssh.MarshalAuthorizedKey(key))))
	}
	return lines
}
