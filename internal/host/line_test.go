package host

import (
	"strings"
	"testing"
)

func TestALineOfAHostSteersNothingAndHasAnEnd(t *testing.T) {
	for text, want := range map[string]string{
		"as it is, é": "as it is, é", "a\x1b[31m\nb\u202ec\u0085": "a [31m b c ", "\xff": "\ufffd", strings.Repeat("é", MaxLine): strings.Repeat("é", MaxLine/2),
	} {
		if got := Line(text); got != want {
			t.Errorf("%q became %q", text, got)
		}
	}
}
