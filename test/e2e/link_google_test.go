package e2e

import (
	"net"
	"testing"

	front "mctl/test/cloud/google"
	cloud "mctl/test/cloud/lab"
)

// ownAddress is one of this computer's that hosts in its own networks reach.
func ownAddress(t *testing.T) string {
	t.Helper()
	addresses, err := net.InterfaceAddrs()
	if err != nil {
		t.Fatal(err)
	}
	for _, address := range addresses {
		if ip, ok := address.(*net.IPNet); ok && ip.IP.To4() != nil && ip.IP.IsGlobalUnicast() {
			return ip.IP.String()
		}
	}
	t.Fatal("this computer has no address")
	return ""
}

// TestGoogleAnInstanceThatNobodyCanLogInToJoinsByItsUserData has an instance whose sshd never answers.
func TestGoogleAnInstanceThatNobodyCanLogInToJoinsByItsUserData(t *testing.T) {
	t.Parallel()
	g := newGoogle(t, true, front.Config{})
	l := newLab(t)
	l.must("ls")
	l.advertise(ownAddress(t))
	g.cloud.Fail(cloud.Fault{Call: "instances.insert", Boot: cloud.NoSSH})
	l.must(g.create("web", "--google-bootstrap", "userdata", "--wait-boot", "2m")...)
	l.mustDocker("web", nil, "version")
	if now := l.link("web"); now.Way != "DIRECT" || !now.Connected {
		t.Errorf("its session is %+v", now)
	}
	l.must("rm", "-y", "web")
	g.nothingLeft("after rm")
}
