// Package daemon knows dockerd's options: which flag is which key of daemon.json, how the two are written and read, and
// what a running dockerd takes without a restart. It touches neither files nor processes.
package daemon

// kind is how a flag's value stands in daemon.json.
type kind int

const (
	text        kind = iota
	number           // a JSON number
	boolean          // a bare flag means true
	list             // repeatable; an array of strings
	mapping          // repeatable name=value; an object of strings
	features         // repeatable name=true|false; an object of booleans
	ulimits          // repeatable name=soft[:hard]
	runtimes         // repeatable name=path
	pools            // repeatable base=CIDR,size=N
	networkOpts      // repeatable driver=option=value
	proxy            // text below the key "proxies"
	flagOnly         // dockerd has no key for it, or one that it refuses itself
	refused          // would serve the engine or move what we manage
)

// setting is one row of the table.
type setting struct {
	key  string
	kind kind
}

// settingOf is the table from dockerd's long flags to daemon.json. A flag that is not there goes into the unit.
func settingOf(flag string) (setting, bool) {
	s, ok := map[string]setting{
		"add-runtime":                      {"runtimes", runtimes},
		"allow-direct-routing":             {"allow-direct-routing", boolean},
		"allow-nondistributable-artifacts": {"allow-nondistributable-artifacts", list},
		"api-cors-header":                  {"api-cors-header", text},
		"authorization-plugin":             {"authorization-plugins", list},
		"bip":                              {"bip", text},
		"bip6":                             {"bip6", text},
		"bridge":                           {"bridge", text},
		"bridge-accept-fwmark":             {"bridge-accept-fwmark", text},
		"cdi-spec-dir":                     {"cdi-spec-dirs", list},
		"cgroup-parent":                    {"cgroup-parent", text},
		"config-file":                      {"", refused},
		"containerd":                       {"containerd", text},
		"containerd-namespace":             {"containerd-namespace", text},
		"containerd-plugins-namespace":     {"", flagOnly},
		"cpu-rt-period":                    {"cpu-rt-period", number},
		"cpu-rt-runtime":                   {"cpu-rt-runtime", number},
		"cri-containerd":                   {"cri-containerd", boolean},
		"data-root":                        {"data-root", text},
		"debug":                            {"debug", boolean},
		"default-address-pool":             {"default-address-pools", pools},
		"default-cgroupns-mode":            {"default-cgroupns-mode", text},
		"default-gateway":                  {"default-gateway", text},
		"default-gateway-v6":               {"default-gateway-v6", text},
		"default-ipc-mode":                 {"default-ipc-mode", text},
		"default-network-opt":              {"default-network-opts", networkOpts},
		"default-runtime":                  {"default-runtime", text},
		"default-shm-size":                 {"default-shm-size", text},
		"default-ulimit":                   {"default-ulimits", ulimits},
		"dns":                              {"dns", list},
		"dns-opt":                          {"dns-opts", list},
		"dns-search":                       {"dns-search", list},
		"exec-opt":                         {"exec-opts", list},
		"exec-root":                        {"exec-root", text},
		"experimental":                     {"experimental", boolean},
		"feature":                          {"features", features},
		"firewall-backend":                 {"firewall-backend", text},
		"fixed-cidr":                       {"fixed-cidr", text},
		"fixed-cidr-v6":                    {"fixed-cidr-v6", text},
		"group":                            {"group", text},
		"help":                             {"", refused},
		"host":                             {"", refused},
		"host-gateway-ip":                  {"host-gateway-ip", text},
		"http-proxy":                       {"http-proxy", proxy},
		"https-proxy":                      {"https-proxy", proxy},
		"icc":                              {"icc", boolean},
		"init":                             {"init", boolean},
		"init-path":                        {"init-path", text},
		"insecure-registry":                {"insecure-registries", list},
		"ip":                               {"ip", text},
		"ip-forward":                       {"ip-forward", boolean},
		"ip-forward-no-drop":               {"ip-forward-no-drop", boolean},
		"ip-masq":                          {"ip-masq", boolean},
		"ip6tables":                        {"ip6tables", boolean},
		"iptables":                         {"iptables", boolean},
		"ipv6":                             {"ipv6", boolean},
		"label":                            {"labels", list},
		"live-restore":                     {"live-restore", boolean},
		"log-driver":                       {"log-driver", text},
		"log-format":                       {"log-format", text},
		"log-level":                        {"log-level", text},
		"log-opt":                          {"log-opts", mapping},
		"max-concurrent-downloads":         {"max-concurrent-downloads", number},
		"max-concurrent-uploads":           {"max-concurrent-uploads", number},
		"max-download-attempts":            {"max-download-attempts", number},
		"metrics-addr":                     {"metrics-addr", text},
		"mtu":                              {"mtu", number},
		"network-control-plane-mtu":        {"network-control-plane-mtu", number},
		"network-diagnostic-port":          {"network-diagnostic-port", number},
		"no-new-privileges":                {"no-new-privileges", boolean},
		"no-proxy":                         {"no-proxy", proxy},
		"node-generic-resource":            {"node-generic-resources", list},
		"oom-score-adjust":                 {"oom-score-adjust", number},
		"pidfile":                          {"", refused},
		"raw-logs":                         {"raw-logs", boolean},
		"registry-mirror":                  {"registry-mirrors", list},
		"rootless":                         {"", flagOnly},
		"seccomp-profile":                  {"seccomp-profile", text},
		"selinux-enabled":                  {"selinux-enabled", boolean},
		"shutdown-timeout":                 {"shutdown-timeout", number},
		"storage-driver":                   {"storage-driver", text},
		"storage-opt":                      {"storage-opts", list},
		"swarm-default-advertise-addr":     {"swarm-default-advertise-addr", text},
		"tls":                              {"", refused},
		"tlscacert":                        {"", refused},
		"tlscert":                          {"", refused},
		"tlskey":                           {"", refused},
		"tlsverify":                        {"", refused},
		"userland-proxy":                   {"userland-proxy", boolean},
		"userland-proxy-path":              {"userland-proxy-path", text},
		"userns-remap":                     {"userns-remap", text},
		"validate":                         {"", refused},
		"version":                          {"", refused},
	}[flag]
	return s, ok
}

// long returns the long name of a one-letter flag, old ones included; empty when there is none.
func long(letter byte) string {
	return map[byte]string{
		'D': "debug", 'G': "group", 'H': "host", 'b': "bridge", 'g': "data-root", 'l': "log-level", 'p': "pidfile",
		'r': "restart", 's': "storage-driver",
	}[letter]
}

// Reloadable reports whether a running dockerd takes over the key of daemon.json on SIGHUP.
func Reloadable(key string) bool {
	switch key {
	case "allow-nondistributable-artifacts", "authorization-plugins", "debug", "default-runtime", "features",
		"insecure-registries", "labels", "live-restore", "max-concurrent-downloads", "max-concurrent-uploads",
		"max-download-attempts", "network-diagnostic-port", "registry-mirrors", "runtimes", "shutdown-timeout":
		return true
	}
	return false
}
