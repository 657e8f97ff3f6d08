package google

import (
	"regexp"
)

var (
	labelKey   = regexp.MustCompile(`^[\p{Ll}\p{Lo}][\p{Ll}\p{Lo}\p{N}_-]{0,62}$`)
	labelValue = regexp.MustCompile(`^[\p{Ll}\p{Lo}\p{N}_-]{0,63}$`)
)

// checkLabels refuses labels that the API would.
func checkLabels(labels map[string]string) error {
	if len(labels) > 64 {
		return invalid("resource.labels", "", "There can be at most 64 labels.")
	}
	for key, value := range labels {
		if !labelKey.MatchString(key) {
			return invalid("resource.labels", key, "Label keys must be lowercase and begin with a letter.")
		}
		if !labelValue.MatchString(value) {
			return invalid("resource.labels", value, "Label values can only contain lowercase letters, numbers, hyphens and underscores, at most 63.")
		}
	}
	return nil
}
