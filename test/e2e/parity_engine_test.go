package e2e

import (
	"crypto/sha256"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// engineOptionsArrive is core/engine-options: what create was told is what the engine has.
func engineOptionsArrive(s subject) {
	info := s.mustDocker(s.name, nil, "info", "--format", "{{.Driver}} {{.Labels}} {{.RegistryConfig.InsecureRegistryCIDRs}} {{range .RegistryConfig.IndexConfigs}}{{.Name}} {{end}}")
	for _, want := range []string{"overlay2 ", "spam=eggs", "provider=" + s.driver, "registry.example:5000"} {
		if !strings.Contains(info, want) {
			s.t.Errorf("docker info lacks %q: %s", want, info)
		}
	}
	// As the suite asked, which counts on there being one such process. Debian's is not in the PATH of everybody.
	if found := s.on("pgrep -f $(sudo which dockerd)"); found == "" || strings.ContainsAny(found, " \n") || found != s.on("pidof dockerd") {
		s.t.Errorf("pgrep -f of dockerd finds %q", found)
	}
	if environment := s.on("sudo cat /proc/$(pgrep -f $(sudo which dockerd))/environ"); !slices.Contains(strings.Split(environment, "\x00"), "TEST=VALUE") {
		s.t.Errorf("dockerd's environment is %q", environment)
	}
	s.mustDocker(s.name, nil, "run", "--name", "logless", "busybox", "true")
	if driver := s.mustDocker(s.name, nil, "inspect", "-f", "{{.HostConfig.LogConfig.Type}}", "logless"); driver != "none\n" {
		s.t.Errorf("the log driver is %q", driver)
	}
}

// environmentIsExact is core/env_shell.
func environmentIsExact(s subject) {
	address := strings.TrimSpace(s.ok("ip", s.name))
	values := [][2]string{{"DOCKER_TLS_VERIFY", "1"}, {"DOCKER_HOST", "tcp://" + address + ":2376"}, {"DOCKER_CERT_PATH", s.state + "/machines/" + s.name}, {"DOCKER_MACHINE_NAME", s.name}}
	for _, shell := range []struct{ name, set, unset string }{
		{"bash", `export %s="%s"`, "unset %s"},
		{"fish", `set -gx %s "%s";`, "set -e %s;"},
		{"powershell", `$Env:%s = "%s"`, `Remove-Item Env:\\%s`},
		{"cmd", "SET %s=%s", "SET %s="},
		{"tcsh", `setenv %s "%s";`, "unsetenv %s;"},
		{"emacs", `(setenv "%s" "%s")`, `(setenv "%s" nil)`},
	} {
		var set, unset []string
		for _, pair := range append(values, [2]string{"NO_PROXY", address}) {
			set = append(set, fmt.Sprintf(shell.set, pair[0], pair[1]))
			unset = append(unset, fmt.Sprintf(shell.unset, pair[0]))
		}
		for _, asked := range []struct {
			args []string
			want []string
		}{
			{[]string{"env", "--shell", shell.name, s.name}, set[:4]},
			{[]string{"env", "--shell", shell.name, "--no-proxy", s.name}, set},
			{[]string{"env", "--shell", shell.name, "-u"}, unset[:4]},
			{[]string{"env", "--shell", shell.name, "-u", "--no-proxy"}, unset},
		} {
			lines := strings.Split(s.ok(asked.args...), "\n")
			if n := len(asked.want); len(lines) != n+3 || !slices.Equal(lines[:n], asked.want) {
				s.t.Errorf("%v: %q, want %q and a hint of two lines", asked.args, lines, asked.want)
			}
		}
	}
	s.no("Error: Expected no machine name when the -u flag is present", "env", "-u", s.name)
	r := s.sh(`NO_PROXY=one.example "$0" env --no-proxy "$1"; NO_PROXY=one.example "$0" env -u --no-proxy; [ "$DOCKER_CERT_PATH" = "" ]`)
	if r.code != 0 || !strings.Contains(r.stdout, `export NO_PROXY="one.example,`+address+`"`) || !strings.Contains(r.stdout, "\nunset NO_PROXY\n") {
		s.t.Errorf("with a NO_PROXY: %s", r)
	}
	// As scripts compare it, byte for byte.
	if r := s.sh(`eval "$("$0" env "$1")" && [ "$DOCKER_CERT_PATH" = "$MACHINE_STORAGE_PATH/machines/$1" ] && docker version`); r.code != 0 {
		s.t.Errorf("DOCKER_CERT_PATH is another one: %s", r)
	}
}

// inspectFormats is core/inspect_format.
func inspectFormats(s subject) {
	for template, want := range map[string]string{
		"{{.DriverName}}": s.driver, "{{json .DriverName}}": `"` + s.driver + `"`, "{{.Driver.SSHUser}}": s.user, "{{.Driver.MachineName}}": s.name,
		"{{.HostOptions.AuthOptions.StorePath}}": s.state + "/machines/" + s.name, "{{.HostOptions.EngineOptions.StorageDriver}}": "overlay2",
	} {
		for _, args := range [][]string{{"inspect", "-f", template, s.name}, {"inspect", s.name, "--format", template}} {
			if got := s.ok(args...); got != want+"\n" {
				s.t.Errorf("%v: %q", args, got)
			}
		}
	}
	if pretty := s.ok("inspect", "-f", "{{prettyjson .HostOptions.EngineOptions}}", s.name); !strings.HasPrefix(pretty, "{\n    \"ArbitraryFlags\"") {
		s.t.Errorf("prettyjson: %q", pretty)
	}
}

// certificatesAreRenewed is core/certs-extra-san, core/regenerate-certs and virtualbox/certs-checksum, and that a renewal is
// no reason for a container to end.
func certificatesAreRenewed(s subject) {
	s.mustDocker(s.name, nil, "run", "-d", "--name", "going", "busybox", "sleep", "100000")
	alive := func() string {
		return s.on("pgrep -x dockerd; pgrep -x sleep -a; sudo docker inspect -f '{{.State.StartedAt}}' going")
	}
	folder := filepath.Join(s.state, "machines", s.name)
	covers := func() {
		s.t.Helper()
		served := s.servedCertificate(s.name)
		ca, err := os.ReadFile(filepath.Join(folder, "ca.pem"))
		if err != nil {
			s.t.Fatal(err)
		}
		names := append(served.DNSNames, strings.Fields(strings.Trim(fmt.Sprint(served.IPAddresses), "[]"))...)
		for _, want := range []string{"10.42.42.42", "foo.bar.example", "localhost", s.name, strings.TrimSpace(s.ok("ip", s.name))} {
			if !slices.Contains(names, want) {
				s.t.Errorf("served is a certificate for %v, not %s", names, want)
			}
		}
		// What is served is what lies where docker-machine's users look.
		found := s.on("openssl x509 -noout -fingerprint -sha256 -in /etc/docker/server.pem; sha256sum </etc/docker/ca.pem; stat -c '%n %a %U' /etc/docker/*.pem")
		want := fmt.Sprintf("sha256 Fingerprint=%s\n%x  -\n/etc/docker/ca.pem 644 root\n/etc/docker/server-key.pem 600 root\n/etc/docker/server.pem 644 root",
			strings.ReplaceAll(fmt.Sprintf("% X", sha256.Sum256(served.Raw)), " ", ":"), sha256.Sum256(ca))
		if found != want {
			s.t.Errorf("/etc/docker has %q, want %q", found, want)
		}
		s.mustDocker(s.name, nil, "version")
	}
	covers()
	was, first := alive(), s.servedCertificate(s.name).SerialNumber
	if said := s.ok("regenerate-certs", "-f", s.name); said != "Regenerating TLS certificates\n" {
		s.t.Errorf("regenerate-certs says %q", said)
	}
	covers()
	second := s.servedCertificate(s.name).SerialNumber
	if second.Cmp(first) == 0 {
		s.t.Error("the certificate is the one before")
	}
	client, err := os.ReadFile(filepath.Join(folder, "cert.pem"))
	if err != nil {
		s.t.Fatal(err)
	}
	// Nobody can answer, somebody says no, somebody says yes and wants the client's anew, too.
	const question = "Regenerate TLS machine certs?  Warning: this is irreversible. (y/n): "
	s.no("EOF", "regenerate-certs", s.name)
	if r := s.sh(`echo nay | "$0" regenerate-certs "$1"`); r.code != 0 || r.stdout != question || r.stderr != "" {
		s.t.Errorf("refused: %s", r)
	}
	if now := s.servedCertificate(s.name).SerialNumber; now.Cmp(second) != 0 {
		s.t.Error("without a yes there is another certificate")
	}
	if r := s.sh(`echo Yes | "$0" regenerate-certs --client-certs "$1"`); r.code != 0 || r.stdout != question+"Regenerating TLS certificates\nRegenerating local certificates\n" || r.stderr != "" {
		s.t.Errorf("granted: %s", r)
	}
	if now, err := os.ReadFile(filepath.Join(folder, "cert.pem")); err != nil || string(now) == string(client) {
		s.t.Errorf("the client's certificate is the one before (%v)", err)
	}
	covers()
	if now := alive(); now != was {
		s.t.Errorf("dockerd and container were %s, are %s", was, now)
	}
	s.mustDocker(s.name, nil, "rm", "-f", "going")
}
