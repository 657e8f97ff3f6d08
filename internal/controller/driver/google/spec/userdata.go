package spec

import (
	"errors"
	"maps"

	"google.golang.org/api/compute/v1"

	"mctl/internal/controller/driver"
)

// Keys of the metadata of an instance that joins by its user data.
const (
	metaStartup = "startup-script"
	metaBoot    = "mctl-boot"
)

// metadataAddress is where an instance asks for its own metadata.
const metadataAddress = "http://169.254.169.254/computeMetadata/v1/instance/attributes/"

// runValues has a startup script, which Google's guest runs at each boot, go on with the values, which stand under a key of their
// own.
const runValues = `
values=$(curl --silent --show-error --fail --noproxy '*' --retry 20 --max-time 10 --header 'Metadata-Flavor: Google' ` + metadataAddress + metaBoot + `) || exit 1
printf '%s\n' "$values" | mctl_join
`

// parseBootstrap refuses what goes together with no user data of ours.
func (s *Spec) parseBootstrap(opts driver.Options) error {
	const flag = "google-bootstrap"
	joins, err := driver.ParseBootstrap("google", opts)
	switch {
	case err != nil:
		return err
	case joins && s.Existing:
		return refuse(flag, errors.New("an instance that is there already has booted"), "leave --"+FlagExisting+" out, or let the controller log in")
	case joins && s.Metadata[metaStartup] != "":
		return refuse(flag, errors.New("the startup script is mctl's then"), "give yours to cloud-init, with --"+flagUserdata)
	}
	return nil
}

// bootMetadata is what an instance has beside the rest that joins by its user data.
func bootMetadata(data *driver.UserData) map[string]string {
	if data == nil {
		return nil
	}
	return map[string]string{metaStartup: "#!/bin/bash\n" + data.Script + runValues, metaBoot: string(data.Values)}
}

// Rebooted is an instance's metadata with other user data in place of what is there. Nil when that is the same.
func (s *Spec) Rebooted(m driver.Machine, now *compute.Metadata) *compute.Metadata {
	had := metadataOf(now)
	wanted := maps.Clone(had)
	maps.Copy(wanted, bootMetadata(m.UserData))
	if maps.Equal(had, wanted) {
		return nil
	}
	return &compute.Metadata{Fingerprint: now.Fingerprint, Items: itemsOf(wanted)}
}
