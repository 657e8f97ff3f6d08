package plugin

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"regexp"
	"slices"
	"strings"
	"time"
	"unicode"

	"mctl/internal/controller/driver"
	"mctl/internal/controller/driver/plugin/process"
	"mctl/internal/controller/driver/plugin/wire"
	"mctl/internal/fault"
)

const maxSentence = 300

// printable makes one line for people of what others said, cut to a length.
func printable(text string, most int) string {
	text = strings.Map(func(r rune) rune {
		switch {
		case unicode.IsSpace(r):
			return ' '
		case !unicode.IsPrint(r), r == unicode.ReplacementChar:
			return -1
		}
		return r
	}, strings.TrimSpace(text))
	if runes := []rune(text); len(runes) > most {
		return string(runes[:most]) + "…"
	}
	return text
}

// minSecret and, in a file of several lines, minLine spare texts from being mangled: what is shorter than these stands anywhere.
const (
	minSecret = 4
	minLine   = 16
)

// secrets are the texts that must not be in what a plugin says: the lines of each, since it says one line at a time.
type secrets struct{ replacer *strings.Replacer }

func secretsOf(flags []driver.Flag, options driver.Options) secrets {
	var all []string
	for _, flag := range flags {
		for _, text := range options.Contents(flag.Name) {
			least := minSecret
			if text = strings.TrimSpace(text); strings.Contains(text, "\n") {
				least = minLine
			}
			for line := range strings.Lines(text) {
				if line = strings.TrimSpace(line); len(line) >= least {
					all = append(all, line)
				}
			}
		}
	}
	// One may begin with another.
	slices.SortFunc(all, func(a, b string) int { return len(b) - len(a) })
	var pairs []string
	for _, secret := range all {
		pairs = append(pairs, secret, "(redacted)")
	}
	return secrets{strings.NewReplacer(pairs...)}
}

func (s secrets) hide(text string) string { return s.replacer.Replace(text) }

// tidy makes one line for people of what a plugin said.
func (s secrets) tidy(text string) string { return printable(s.hide(text), maxSentence) }

// said is what a driver's answer means, by its words: types do not travel.
var said = []struct {
	kind  fault.Kind
	words *regexp.Regexp
}{
	{fault.NotFound, regexp.MustCompile(`(?i)not[ _-]?found|no such (instance|server|machine|droplet|domain|vm)|does ?n[o']t exist|could not find|cannot find|\b404\b`)},
	{fault.Quota, regexp.MustCompile(`(?i)quota|limit (was )?(exceeded|reached)|too many requests|rate limit|throttl|\b429\b|out of capacity|insufficient .*capacity`)},
	{fault.Denied, regexp.MustCompile(`(?i)unauthori[sz]ed|forbidden|access denied|permission denied|invalid (api )?(token|credentials?|key)|authentication|\b40[13]\b`)},
	{fault.Unavailable, regexp.MustCompile(`(?i)timed? ?out|deadline exceeded|connection (refused|reset)|no such host|network is unreachable|TLS handshake|temporar|try again|service unavailable|\b50[234]\b`)},
}

// kindOf guesses what sort of failure a text is. What nobody knows parks the machine, since a repetition might make a
// second host.
func kindOf(text string) fault.Kind {
	for _, s := range said {
		if s.words.MatchString(text) {
			return s.kind
		}
	}
	return fault.Precondition
}

// gone reports whether a driver's own answer says that there is no host.
func gone(err error) bool {
	var text wire.DriverError
	return errors.As(err, &text) && kindOf(string(text)) == fault.NotFound
}

// hangError is a call that took too long.
type hangError struct {
	method string
	limit  time.Duration
	whole  bool // it had as long as a call may take
}

func (e hangError) Error() string { return "no answer to " + e.method + " within " + e.limit.String() }

func (e hangError) hint() string {
	if e.whole {
		return "look at the provider; give --" + flagLimit + " at create where it needs longer"
	}
	return "look at the provider, if the plugin asks one for that; else it has a mistake"
}

// trouble turns what went wrong with a plugin into a fault.
func (d *Driver) trouble(op, machine string, hidden secrets, err error, reason error) error {
	var known *fault.Error
	var answer wire.DriverError
	var hang hangError
	who := fmt.Sprintf("the plugin %s", d.plugin.label())
	make := func(kind fault.Kind, sentence, hint string) error {
		return fault.New("plugin."+op, kind, machine, sentence).WithHint(hint)
	}
	switch {
	case errors.As(err, &known):
		return err
	case errors.As(err, &answer):
		// The first line alone: a panic's stack follows.
		text, _, _ := strings.Cut(strings.TrimSpace(string(answer)), "\n")
		text = hidden.tidy(text)
		if text == "" {
			text = who + " failed without a word"
		}
		return make(kindOf(text), text, "")
	case errors.As(err, &hang):
		return make(fault.Precondition, fmt.Sprintf("%s gave %s, and was ended", who, hang), hang.hint())
	case errors.Is(reason, process.ErrFlood):
		return make(fault.Precondition, fmt.Sprintf("%s was ended: %s", who, reason), "it has a mistake; ask its maker")
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return err
	case errors.Is(err, wire.ErrGone):
		how := err.Error()
		if reason != nil {
			how += fmt.Sprintf(" (%s)", reason)
		}
		return make(fault.Precondition, fmt.Sprintf("%s broke at %s: %s", who, op, printable(how, maxSentence)),
			"the controller's log has its last words, if it is started with --log-level debug")
	}
	return make(fault.Precondition, fmt.Sprintf("%s can't be used: %s", who, hidden.tidy(err.Error())), "check the file "+d.plugin.path)
}

// noPlugin is the fault of a program that did not begin to speak. What it said before it was told anything has no secret.
func (d *Driver) noPlugin(machine string, err, reason error, last string) error {
	if errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return err
	}
	how, hint := err.Error(), "check that the file is the driver's own program, and made for this computer"
	switch {
	case errors.Is(reason, process.ErrFlood):
		how, last = reason.Error(), "" // which is a part of the flood
	case errors.Is(err, fs.ErrPermission) && d.account != nil:
		how, hint = "the user "+d.account.Name+" may not run it", "`chmod 755` it, and what it runs in turn"
	case errors.Is(err, wire.ErrVersion):
		hint = "install a version of the plugin that is made for docker-machine"
	case reason != nil && (errors.Is(err, process.ErrEnded) || errors.Is(err, wire.ErrGone)):
		how += fmt.Sprintf(" (%s)", reason)
	}
	if last != "" {
		how += "; it says: " + last
	}
	return fault.New("plugin.open", fault.Precondition, machine, fmt.Sprintf("%s can't be used as a docker-machine driver: %s", d.plugin.path, printable(how, 2*maxSentence))).
		WithHint(hint).WithReason(fault.ReasonPrecheck)
}
