package spec

import (
	"mctl/internal/controller/driver"
)

// The create flags: docker-machine's and rancher-machine's, then those of ours.
const (
	FlagProject        = "google-project"
	FlagZone           = "google-zone"
	FlagMachineType    = "google-machine-type"
	FlagImage          = "google-machine-image"
	flagUser           = "google-username"
	flagServiceAccount = "google-service-account"
	flagScopes         = "google-scopes"
	FlagDiskSize       = "google-disk-size"
	flagDiskType       = "google-disk-type"
	FlagNetwork        = "google-network"
	FlagSubnetwork     = "google-subnetwork"
	FlagAddress        = "google-address"
	flagPreemptible    = "google-preemptible"
	flagTags           = "google-tags"
	flagInternal       = "google-use-internal-ip"
	flagInternalOnly   = "google-use-internal-ip-only"
	FlagExisting       = "google-use-existing"
	flagOpenPort       = "google-open-port"
	flagEncoded        = "google-auth-encoded-json"
	flagExternalPrefix = "google-external-firewall-rule-prefix"
	flagInternalPrefix = "google-internal-firewall-rule-prefix"
	flagUserdata       = "google-userdata"
	flagLabels         = "google-vm-labels"

	flagCredential  = "google-application-credentials" //nolint:gosec // a flag's name
	flagEndpoint    = "google-endpoint"
	flagRanges      = "google-source-ranges"
	FlagReserve     = "google-reserve-address"
	flagSpot        = "google-spot"
	flagAccelerator = "google-accelerator"
	flagMetadata    = "google-metadata"
)

// What a flag is when nobody says otherwise.
const (
	defaultZone        = "us-central1-a"
	defaultMachineType = "e2-medium"
	defaultImage       = "debian-cloud/global/images/family/debian-12"
	defaultUser        = "docker-user"
	defaultNetwork     = "default"
	everywhere         = "0.0.0.0/0"
	scopePrefix        = "https://www.googleapis.com/auth/"
	defaultScopes      = scopePrefix + "devstorage.read_only," + scopePrefix + "logging.write," + scopePrefix + "monitoring.write"
)

// Flags is the schema.
func Flags() []driver.Flag {
	flag := func(name, env string, kind driver.FlagType, usage string, preset ...string) driver.Flag {
		return driver.Flag{Name: name, Env: env, Type: kind, Kind: driver.Value, Usage: usage, Default: preset}
	}
	secret := func(f driver.Flag, kind driver.FlagKind) driver.Flag { f.Kind = kind; return f }
	scope := func(f driver.Flag) driver.Flag { f.Scope = true; return f }
	project := scope(flag(FlagProject, "GOOGLE_PROJECT", driver.String, "Project to make the machine in"))
	project.Required = true
	return []driver.Flag{
		project,
		flag(FlagZone, "GOOGLE_ZONE", driver.String, "Zone to make the machine in", defaultZone),
		flag(FlagMachineType, "GOOGLE_MACHINE_TYPE", driver.String, "Machine type", defaultMachineType),
		flag(FlagImage, "GOOGLE_MACHINE_IMAGE", driver.String, "Image: a whole URL, PROJECT/global/images/NAME or PROJECT/global/images/family/NAME", defaultImage),
		flag(flagUser, "GOOGLE_USERNAME", driver.String, "User to log in as", defaultUser),
		flag(flagServiceAccount, "GOOGLE_SERVICE_ACCOUNT", driver.String, "Service account of the machine, or none", "default"),
		flag(flagScopes, "GOOGLE_SCOPES", driver.String, "Scopes of the machine's service account, with commas between", defaultScopes),
		flag(FlagDiskSize, "GOOGLE_DISK_SIZE", driver.Int, "Size of the disk in GB", "10"),
		flag(flagDiskType, "GOOGLE_DISK_TYPE", driver.String, "Type of the disk", "pd-standard"),
		scope(flag(FlagNetwork, "GOOGLE_NETWORK", driver.String, "Network, by name or URL", defaultNetwork)), // rules are in its project
		scope(flag(FlagSubnetwork, "GOOGLE_SUBNETWORK", driver.String, "Subnetwork, by name or URL")),
		flag(FlagAddress, "GOOGLE_ADDRESS", driver.String, "External address that is reserved already, by name or as an address"),
		flag(flagPreemptible, "GOOGLE_PREEMPTIBLE", driver.Bool, "Make a preemptible machine", "false"),
		flag(flagTags, "GOOGLE_TAGS", driver.String, "Network tags of the machine, with commas between"),
		flag(flagInternal, "GOOGLE_USE_INTERNAL_IP", driver.Bool, "Use the internal address", "false"),
		flag(flagInternalOnly, "GOOGLE_USE_INTERNAL_IP_ONLY", driver.Bool, "Give the machine no external address", "false"),
		flag(FlagExisting, "GOOGLE_USE_EXISTING", driver.Bool, "Take over the instance of this name, which rm then deletes", "false"),
		flag(flagOpenPort, "GOOGLE_OPEN_PORT", driver.StringList, "Open one more port: port[/protocol] or from-to[/protocol]"),
		scope(secret(flag(flagEncoded, "GOOGLE_AUTH_ENCODED_JSON", driver.String, "Credentials' JSON in base64"), driver.Secret)),
		flag(flagExternalPrefix, "GOOGLE_EXTERNAL_FIREWALL_RULE_PREFIX", driver.String, "Prefix to the name of the firewall rule for Docker and open ports"),
		flag(flagInternalPrefix, "GOOGLE_INTERNAL_FIREWALL_RULE_PREFIX", driver.String, "Prefix to the name of the firewall rule for swarm mode"),
		secret(flag(flagUserdata, "GOOGLE_USERDATA", driver.String, "File with user data for cloud-init"), driver.File),
		flag(flagLabels, "GOOGLE_VM_LABELS", driver.String, "Labels of the machine: key:value, with commas between"),

		scope(secret(flag(flagCredential, "GOOGLE_APPLICATION_CREDENTIALS", driver.String,
			"Credentials: file or text of a JSON (default: where Google's own tools look)"), driver.Credential)),
		scope(flag(flagEndpoint, "GOOGLE_COMPUTE_CUSTOM_ENDPOINT", driver.String, "Base URL of the API in place of Google's, /compute/v1/ included")),
		flag(flagRanges, "GOOGLE_SOURCE_RANGES", driver.StringList, "Network that may reach Docker and open ports, or none", everywhere),
		flag(FlagReserve, "GOOGLE_RESERVE_ADDRESS", driver.Bool, "Reserve an external address that the machine keeps until rm", "false"),
		flag(flagSpot, "GOOGLE_SPOT", driver.Bool, "Make a spot machine", "false"),
		flag(flagAccelerator, "GOOGLE_ACCELERATOR", driver.String, "Accelerators: type=TYPE,count=N"),
		driver.BootstrapFlag("google", "GOOGLE_BOOTSTRAP"),
		flag(flagMetadata, "GOOGLE_METADATA", driver.StringList, "Metadata of the instance: key=value"),
	}
}
