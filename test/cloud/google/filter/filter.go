// Package filter understands the filter expressions of Compute's lists: comparisons such as `labels.owner = "me"` or
// `name eq web.*`, with AND, OR, NOT and parentheses.
package filter

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"
)

// Match reports whether an object, as encoding/json reads it, is wanted.
type Match func(object map[string]any) bool

// Parse reads an expression. An empty one matches everything.
func Parse(expression string) (Match, error) {
	tokens, err := split(expression)
	if err != nil {
		return nil, err
	}
	if len(tokens) == 0 {
		return func(map[string]any) bool { return true }, nil
	}
	p := &parser{tokens: tokens}
	match, err := p.or()
	if err == nil && len(p.tokens) > 0 {
		err = fmt.Errorf("%q is not expected", p.tokens[0].text)
	}
	return match, err
}

type token struct {
	text   string
	quoted bool
}

var word = regexp.MustCompile(`^(?:[()]|!=|<=|>=|[=<>:]|[^\s()=<>:!"']+)`)

// split makes tokens. What follows eq and ne is a pattern up to the next space or closing parenthesis.
func split(expression string) ([]token, error) {
	var tokens []token
	for rest := strings.TrimSpace(expression); rest != ""; rest = strings.TrimSpace(rest) {
		if quote := rest[0]; quote == '"' || quote == '\'' {
			text, n := unquote(rest, quote)
			if n < 0 {
				return nil, fmt.Errorf("a quote is not closed")
			}
			tokens, rest = append(tokens, token{text, true}), rest[n:]
			continue
		}
		text := word.FindString(rest)
		if n := len(tokens); n > 0 && !tokens[n-1].quoted && (tokens[n-1].text == "eq" || tokens[n-1].text == "ne") {
			text = pattern(rest)
		}
		if text == "" {
			return nil, fmt.Errorf("%q is not expected", rest)
		}
		tokens, rest = append(tokens, token{text: text}), rest[len(text):]
	}
	return tokens, nil
}

// pattern is an unquoted regular expression: up to a space, or a parenthesis that closes one from outside.
func pattern(rest string) string {
	depth := 0
	for i, c := range rest {
		switch {
		case c == ' ', c == ')' && depth == 0:
			return rest[:i]
		case c == '(':
			depth++
		case c == ')':
			depth--
		}
	}
	return rest
}

func unquote(rest string, quote byte) (string, int) {
	var text strings.Builder
	for i := 1; i < len(rest); i++ {
		switch {
		case rest[i] == '\\' && i+1 < len(rest) && (rest[i+1] == quote || rest[i+1] == '\\'):
			i++
			text.WriteByte(rest[i])
		case rest[i] == quote:
			return text.String(), i + 1
		default:
			text.WriteByte(rest[i])
		}
	}
	return "", -1
}

type parser struct{ tokens []token }

func (p *parser) peek(text string) bool {
	return len(p.tokens) > 0 && !p.tokens[0].quoted && p.tokens[0].text == text
}

func (p *parser) accept(text string) bool {
	if p.peek(text) {
		p.tokens = p.tokens[1:]
		return true
	}
	return false
}

func (p *parser) or() (Match, error) {
	left, err := p.and()
	for err == nil && p.accept("OR") {
		var right Match
		first := left
		if right, err = p.and(); err == nil {
			left = func(o map[string]any) bool { return first(o) || right(o) }
		}
	}
	return left, err
}

func (p *parser) and() (Match, error) {
	left, err := p.not()
	for err == nil && len(p.tokens) > 0 && !p.peek("OR") && !p.peek(")") {
		p.accept("AND")
		var right Match
		first := left
		if right, err = p.not(); err == nil {
			left = func(o map[string]any) bool { return first(o) && right(o) }
		}
	}
	return left, err
}

func (p *parser) not() (Match, error) {
	if p.accept("NOT") {
		match, err := p.not()
		return func(o map[string]any) bool { return !match(o) }, err
	}
	if p.accept("(") {
		match, err := p.or()
		if err == nil && !p.accept(")") {
			err = fmt.Errorf("a parenthesis is not closed")
		}
		return match, err
	}
	return p.comparison()
}

func (p *parser) comparison() (Match, error) {
	if len(p.tokens) < 3 {
		return nil, fmt.Errorf("a comparison is not complete")
	}
	field, operator, literal := p.tokens[0].text, p.tokens[1].text, p.tokens[2]
	p.tokens = p.tokens[3:]
	path := strings.Split(field, ".")
	compare, err := comparer(operator, literal)
	if err != nil {
		return nil, err
	}
	return func(o map[string]any) bool { return compare(values(o, path)) }, nil
}

// values are what a field has: none, one, or those of a list.
func values(value any, path []string) []string {
	switch v := value.(type) {
	case []any:
		var found []string
		for _, item := range v {
			found = append(found, values(item, path)...)
		}
		return found
	case map[string]any:
		if len(path) == 0 {
			return []string{"{}"}
		}
		// A label's key may have dots.
		if whole, ok := v[strings.Join(path, ".")]; ok {
			return values(whole, nil)
		}
		return values(v[path[0]], path[1:])
	case nil:
		return nil
	case float64:
		return []string{strconv.FormatFloat(v, 'f', -1, 64)}
	default:
		return []string{fmt.Sprint(v)}
	}
}

func comparer(operator string, literal token) (func([]string) bool, error) {
	some := func(test func(string) bool) func([]string) bool {
		return func(values []string) bool {
			for _, v := range values {
				if test(v) {
					return true
				}
			}
			return false
		}
	}
	none := func(test func(string) bool) func([]string) bool {
		has := some(test)
		return func(values []string) bool { return !has(values) }
	}
	want := literal.text
	switch operator {
	case "eq", "ne":
		re, err := regexp.Compile("^(?:" + want + ")$")
		if err != nil {
			return nil, err
		}
		if operator == "eq" {
			return some(re.MatchString), nil
		}
		return none(re.MatchString), nil
	case "=", "!=":
		// An asterisk stands for anything.
		re := regexp.MustCompile("^" + strings.ReplaceAll(regexp.QuoteMeta(want), `\*`, ".*") + "$")
		if operator == "=" {
			return some(re.MatchString), nil
		}
		return none(re.MatchString), nil
	case ":":
		if want == "*" && !literal.quoted {
			return func(values []string) bool { return len(values) > 0 }, nil
		}
		return some(func(v string) bool { return strings.Contains(strings.ToLower(v), strings.ToLower(want)) }), nil
	case "<", "<=", ">", ">=":
		return some(func(v string) bool { return ordered(operator, order(v, want)) }), nil
	}
	return nil, fmt.Errorf("%q is no operator", operator)
}

// order compares numbers as numbers and the rest as text.
func order(a, b string) int {
	x, errA := strconv.ParseFloat(a, 64)
	y, errB := strconv.ParseFloat(b, 64)
	switch {
	case errA != nil || errB != nil:
		return strings.Compare(a, b)
	case x < y:
		return -1
	case x > y:
		return 1
	}
	return 0
}

func ordered(operator string, order int) bool {
	switch operator {
	case "<":
		return order < 0
	case "<=":
		return order <= 0
	case ">":
		return order > 0
	}
	return order >= 0
}
