package footprint

import (
	"fmt"
	"os"
	"regexp"
	"strings"

	"mctl/internal/fault"
)

const (
	hostnameFile = "/etc/hostname"
	hostsFile    = "/etc/hosts"
)

// validHostname is RFC 1123, and short enough for the kernel.
func validHostname(name string) bool {
	const label = `[a-zA-Z0-9]([a-zA-Z0-9-]*[a-zA-Z0-9])?`
	ok, err := regexp.MatchString(`^`+label+`(\.`+label+`)*$`, name)
	return ok && err == nil && len(name) <= 64
}

// rename gives the host its machine's name: for the next boot, for now, and so that it finds itself.
func (c Config) rename(name string) error {
	hosts, err := os.ReadFile(c.at(hostsFile))
	if err != nil && !os.IsNotExist(err) {
		return fault.E("footprint.rename", fault.Precondition, hostsFile, err)
	}
	journal := OpenJournal(c.Root)
	for _, file := range []struct{ path, content string }{{hostnameFile, name + "\n"}, {hostsFile, naming(string(hosts), name)}} {
		if present, err := os.ReadFile(c.at(file.path)); err == nil && string(present) == file.content {
			continue
		}
		if err := journal.File(file.path); err != nil {
			return err
		}
		if err := c.write(file.path, []byte(file.content), 0o644); err != nil {
			return err
		}
		if err := journal.Written(file.path); err != nil {
			return err
		}
	}
	return c.tellKernel(name)
}

// tellKernel makes a name the running host's.
func (c Config) tellKernel(name string) error {
	if err := c.SetHostname(name); err != nil {
		return fault.E("footprint.rename", fault.Precondition, name, fmt.Errorf("can't set the host name: %w", err))
	}
	return nil
}

// naming returns /etc/hosts with name on 127.0.1.1, as Debian has it, and the rest as it was.
func naming(hosts, name string) string {
	const address = "127.0.1.1"
	own := address + "\t" + name + "\n"
	var lines strings.Builder
	found := false
	for text := range strings.Lines(hosts) {
		if fields := strings.Fields(text); len(fields) > 0 && fields[0] == address {
			if !found {
				lines.WriteString(own)
			}
			found = true
			continue
		}
		lines.WriteString(text)
	}
	if found {
		return lines.String()
	}
	if hosts != "" && !strings.HasSuffix(hosts, "\n") {
		lines.WriteByte('\n')
	}
	return lines.String() + own
}
