package driverflags

import (
	"net/url"
	"os"
	"path/filepath"
	"runtime"
	"strings"

	"github.com/spf13/pflag"

	"mctl/internal/fault"
	"mctl/internal/mctl/cli"
	"mctl/internal/mctl/credential"
	controllerv1 "mctl/proto/mctl/controller/v1"
)

// fileOf is the file that a cloud's own tools would use where no credential is named; empty where there is none.
func fileOf(env *cli.Env, driver string) string {
	if driver == "google" {
		return googleDefault(env)
	}
	return ""
}

// isIdentity reports whether a flag says as whom the driver works.
func isIdentity(f *controllerv1.DriverFlag) bool {
	return f.GetKind() == controllerv1.DriverFlag_KIND_CREDENTIAL || f.GetScope() && f.GetKind() == controllerv1.DriverFlag_KIND_SECRET
}

// plainEndpoint reports whether the driver is sent to an endpoint without encryption.
func plainEndpoint(env *cli.Env, flags *pflag.FlagSet, driver *controllerv1.Driver) bool {
	for _, f := range driver.GetFlags() {
		if f.GetScope() && strings.HasSuffix(f.GetName(), "-endpoint") {
			endpoint, err := url.Parse(env.Text(flags, f.GetName()))
			return err == nil && endpoint.Scheme == "http"
		}
	}
	return false
}

// found is the credential that the cloud's own tools would use; nil where there is none.
func found(env *cli.Env, driver *controllerv1.Driver, f *controllerv1.DriverFlag) (*controllerv1.DriverOption, error) {
	path := fileOf(env, driver.GetName())
	if path == "" {
		return nil, nil
	}
	content, err := credential.ReadFile(f.GetName(), path)
	if err != nil {
		return nil, err
	}
	return &controllerv1.DriverOption{Name: f.GetName(), Content: content}, nil
}

// Credential reads a driver's credential on its own: from a path or text, else from the variable of the driver's flag, else where
// the cloud's own tools look. fault.Precondition when there is none.
func Credential(env *cli.Env, driver *controllerv1.Driver, pathOrText string) ([]byte, error) {
	for _, f := range driver.GetFlags() {
		if f.GetKind() != controllerv1.DriverFlag_KIND_CREDENTIAL {
			continue
		}
		if pathOrText == "" {
			pathOrText = env.Getenv(f.GetEnv())
		}
		if pathOrText != "" {
			return textOrFile(env, f.GetName(), pathOrText)
		}
		option, err := found(env, driver, f)
		if err != nil || option != nil {
			return option.GetContent(), err
		}
		return nil, fault.New("driverflags.Credential", fault.Precondition, driver.GetName(), "no credential for "+driver.GetName()+" is to be found").
			WithHint("name its file, or set " + f.GetEnv())
	}
	return nil, cli.Usagef("the driver %s takes no credential", driver.GetName()).WithHint("`mctl drivers` lists the drivers")
}

func textOrFile(env *cli.Env, flag, pathOrText string) ([]byte, error) {
	if strings.HasPrefix(strings.TrimSpace(pathOrText), "{") {
		return []byte(pathOrText), nil
	}
	return credential.ReadFile(flag, expandHome(env, pathOrText))
}

// googleDefault looks for application default credentials, then for those of the account that gcloud is logged in with.
func googleDefault(env *cli.Env) string {
	dir := env.Getenv("CLOUDSDK_CONFIG")
	switch {
	case dir != "":
	case runtime.GOOS == "windows":
		dir = filepath.Join(env.Getenv("APPDATA"), "gcloud")
	default:
		dir = filepath.Join(env.Getenv("HOME"), ".config", "gcloud")
	}
	candidates := []string{filepath.Join(dir, "application_default_credentials.json")}
	if account := gcloudAccount(env, dir); filepath.IsLocal(account) {
		candidates = append(candidates, filepath.Join(dir, "legacy_credentials", account, "adc.json"))
	}
	for _, path := range candidates {
		if info, err := os.Stat(path); err == nil && info.Mode().IsRegular() {
			return path
		}
	}
	return ""
}

// gcloudAccount is the account of gcloud's active configuration; empty for none.
func gcloudAccount(env *cli.Env, dir string) string {
	if account := env.Getenv("CLOUDSDK_CORE_ACCOUNT"); account != "" {
		return account
	}
	active := env.Getenv("CLOUDSDK_ACTIVE_CONFIG_NAME")
	if active == "" {
		text, _ := os.ReadFile(filepath.Join(dir, "active_config"))
		active = strings.TrimSpace(string(text))
	}
	if active == "" {
		active = "default"
	}
	if !filepath.IsLocal(active) {
		return ""
	}
	text, _ := os.ReadFile(filepath.Join(dir, "configurations", "config_"+active))
	section := ""
	for line := range strings.Lines(string(text)) {
		line = strings.TrimSpace(line)
		if strings.HasPrefix(line, "[") {
			section = line
		}
		if key, value, ok := strings.Cut(line, "="); ok && section == "[core]" && strings.TrimSpace(key) == "account" {
			return strings.TrimSpace(value)
		}
	}
	return ""
}
