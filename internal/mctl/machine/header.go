package machine

import (
	"reflect"
	"regexp"
	"strings"

	"mctl/internal/mctl/state"
)

// headerItem stands above the columns: docker-machine's words, which a template reaches as it reaches an Item's fields.
func headerItem() map[string]any {
	return map[string]any{
		"Name": "NAME", "Active": "ACTIVE", "ActiveHost": "ACTIVE_HOST", "ActiveSwarm": "ACTIVE_SWARM", "DriverName": "DRIVER",
		"State": "STATE", "URL": "URL", "Swarm": "SWARM", "DockerVersion": "DOCKER", "Error": "ERRORS", "ResponseTime": "RESPONSE",
		"SwarmOptions": newOptionHeader[state.SwarmOptions]("SWARM_OPTIONS"), "EngineOptions": newOptionHeader[state.EngineOptions]("ENGINE_OPTIONS"),
	}
}

// optionHeader is the word above a column of options, or above one of their fields.
type optionHeader map[string]any

const whole = "" // the key of the word for all of them

func (h optionHeader) String() string { return h[whole].(string) }

// words is a word where the rows have a list, so that range and index find it too.
type words []string

func (w words) String() string { return strings.Join(w, " ") }

func newOptionHeader[Options any](word string) optionHeader {
	header := optionHeader{whole: word}
	for _, field := range reflect.VisibleFields(reflect.TypeFor[Options]()) {
		name := strings.ToUpper(betweenWords.ReplaceAllString(field.Name, "${1}_${2}"))
		header[field.Name] = name
		if field.Type.Kind() == reflect.Slice {
			header[field.Name] = words{name}
		}
	}
	return header
}

var betweenWords = regexp.MustCompile(`([a-z])([A-Z])`)
