package e2e

import (
	"path/filepath"
	"strings"
	"testing"
	"time"
)

const day = 24 * time.Hour

// restartIssuing starts the lab's controller anew; it issues certificates as if it did so some time ago.
func (l *lab) restartIssuing(ago time.Duration) {
	l.t.Helper()
	l.must("controller", "stop")
	r := l.execEnv([]string{"MCTL_DEV_ISSUED_EARLIER=" + ago.String()}, nil, filepath.Join(l.bin, "mctl"), "controller", "start")
	if r.code != 0 {
		l.t.Fatal(r)
	}
}

// identityEnds is when the certificate that a host's agent shows ends.
func (l *lab) identityEnds(name string) time.Time {
	l.t.Helper()
	text := l.ssh(name, "openssl x509 -noout -enddate -in /var/lib/mctl/identity/certificate.pem")
	end, err := time.Parse("Jan _2 15:04:05 2006 MST", strings.TrimPrefix(text, "notAfter="))
	if err != nil {
		l.t.Fatal(err)
	}
	return end
}

// identityIssued waits until an agent's certificate has been issued so long ago.
func (l *lab) identityIssued(name string, ago time.Duration) {
	l.t.Helper()
	const life = 90 * day
	eventually(l.t, time.Minute, "the certificate of "+name+" is as old as asked for", func() bool {
		return time.Until(l.identityEnds(name).Add(ago-life)).Abs() < day
	})
}

// TestALaptopsMonth has a controller that was off for 100 days, and one of its hosts for 300: their certificates are as if.
func TestALaptopsMonth(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	l.restartIssuing(301 * day) // so old are the authorities
	l.restartIssuing(0)
	l.create("laptop")
	l.create("shelf")
	l.identityIssued("shelf", 0)

	l.restartIssuing(300 * day) // agents renew at once what would live longer than what they get
	l.identityIssued("shelf", 300*day)
	l.identityIssued("laptop", 300*day)
	l.must("regenerate-certs", "-f", "shelf", "laptop")
	l.must("stop", "shelf")
	l.restartIssuing(100 * day)
	l.identityIssued("laptop", 100*day) // with a certificate that had ended, nothing but renewal is allowed
	l.must("controller", "stop")

	began := time.Now()
	l.must("start", "shelf") // and nothing else; the controller is started by it
	for _, name := range []string{"shelf", "laptop"} {
		l.cameBy(name, "DIRECT", time.Minute-time.Since(began))
		l.lsSaysNothing(name, 20*time.Second)
		l.mustDocker(name, nil, "version")
		l.identityIssued(name, 0)
	}
	eventually(t, time.Minute, "the engine's certificate is a new one", func() bool {
		return time.Until(l.servedCertificate("shelf").NotAfter) > 399*day
	})
}
