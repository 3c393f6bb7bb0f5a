package rules

import (
	"fmt"
	"strconv"
	"strings"
	"time"
)

// postfix is an operand with its range, offset and @.
func (p *reader) postfix() (*node, error) {
	n, err := p.operand()
	for err == nil {
		switch {
		case p.is("["):
			n, err = p.rangeOf(n)
		case p.keyword("offset") || p.is("@"):
			if n.kind != nodeSelector && n.kind != nodeSubquery {
				return nil, p.unexpected("a selector before a modifier")
			}
			err = p.modify(n)
		default:
			return n, nil
		}
	}
	return nil, err
}

// rangeOf reads [5m] or [1h:30s]; durations may only be literal here.
func (p *reader) rangeOf(n *node) (*node, error) {
	src := p.lex.src
	closing := strings.IndexByte(src[p.tok.end:], ']')
	if closing < 0 {
		return nil, fmt.Errorf("[ at %d is not closed", p.tok.start)
	}
	end := p.tok.end + closing
	span, step, sub := strings.Cut(src[p.tok.end:end], ":")
	window, err := readRange(strings.TrimSpace(span))
	if err == nil && strings.TrimSpace(step) != "" {
		_, err = readRange(strings.TrimSpace(step))
	}
	if err == nil && window <= 0 {
		err = fmt.Errorf("a range is longer than 0")
	}
	if err != nil {
		return nil, fmt.Errorf("range at %d: %w", p.tok.start, err)
	}
	p.lex.pos = end + 1
	if sub {
		n = &node{kind: nodeSubquery, args: []*node{n}, start: n.start}
	} else if n.kind != nodeSelector || n.window > 0 || n.modifier != "" {
		return nil, fmt.Errorf("range at %d does not follow a selector", p.tok.start)
	}
	n.window, n.end = window, end+1
	return n, p.advance()
}

// readRange takes durations, and plain numbers of seconds (Prometheus 3).
func readRange(s string) (time.Duration, error) {
	if seconds, err := strconv.ParseFloat(s, 64); err == nil && seconds > 0 && seconds < 1e9 {
		return time.Duration(seconds * float64(time.Second)), nil
	}
	return parseDuration(s)
}

// modify takes `offset 5m`, `@ 1609746000`, `@ start()`, `@ end()`.
func (p *reader) modify(n *node) error {
	start, at := p.tok.start, p.is("@")
	if err := p.advance(); err != nil {
		return err
	}
	if p.is("-") || p.is("+") {
		if err := p.advance(); err != nil {
			return err
		}
	}
	if at && p.keyword("start", "end") {
		if err := p.advance(); err != nil {
			return err
		}
		if err := p.expect("("); err != nil {
			return err
		}
		if !p.is(")") {
			return p.unexpected(")")
		}
	} else if p.tok.kind != tokenNumber {
		return p.unexpected("a number or a duration")
	}
	n.modifier += " " + p.lex.src[start:p.tok.end]
	n.end = p.tok.end
	return p.advance()
}

func (p *reader) operand() (*node, error) {
	t := p.tok
	switch {
	case t.kind == tokenNumber || t.kind == tokenString || p.keyword("nan", "inf"):
		return &node{kind: nodeScalar, start: t.start, end: t.end}, p.advance()
	case p.is("("):
		return p.parenthesis()
	case p.is("{"):
		n := &node{kind: nodeSelector, start: t.start}
		return n, p.braces(n)
	case t.kind != tokenIdent:
		return nil, p.unexpected("an expression")
	}
	if err := p.advance(); err != nil {
		return nil, err
	}
	word := strings.ToLower(t.text)
	if aggregations[word] != 0 && (p.is("(") || p.keyword("by", "without")) {
		return p.aggregate(word, t.start)
	}
	if p.is("(") {
		n := &node{kind: nodeCall, op: t.text, start: t.start}
		return n, p.arguments(n)
	}
	n := &node{kind: nodeSelector, name: t.text, start: t.start, end: t.end, braceEnd: t.end}
	if p.is("{") {
		return n, p.braces(n)
	}
	return n, nil
}

func (p *reader) parenthesis() (*node, error) {
	start := p.tok.start
	if err := p.advance(); err != nil {
		return nil, err
	}
	inner, err := p.expr(0)
	if err != nil {
		return nil, err
	}
	if !p.is(")") {
		return nil, p.unexpected(")")
	}
	kind := nodeUnary
	if inner.kind == nodeScalar {
		kind = nodeScalar
	}
	n := &node{kind: kind, op: "(", args: []*node{inner}, start: start, end: p.tok.end}
	return n, p.advance()
}

// braces reads {a="b", c=~"d"}; a string alone is the series' name (Prometheus 3).
func (p *reader) braces(n *node) error {
	if err := p.advance(); err != nil {
		return err
	}
	for !p.is("}") {
		if p.tok.kind != tokenIdent && p.tok.kind != tokenString {
			return p.unexpected("a label name or }")
		}
		label := p.tok
		if err := p.advance(); err != nil {
			return err
		}
		m := labelMatcher{label: label.text}
		switch {
		case p.is("=") || p.is("!=") || p.is("=~") || p.is("!~"):
			m.op = p.tok.text
			if err := p.advance(); err != nil {
				return err
			}
			if p.tok.kind != tokenString {
				return p.unexpected("a string")
			}
			m.value = p.tok.text
			if err := p.advance(); err != nil {
				return err
			}
		case label.kind == tokenString:
			m = labelMatcher{"__name__", "=", label.text}
		default:
			return p.unexpected("=, !=, =~ or !~")
		}
		n.matchers = append(n.matchers, m)
		if m.label == "__name__" && m.op == "=" && n.name == "" {
			n.name = m.value
		}
		if !p.is(",") {
			break
		}
		if err := p.advance(); err != nil {
			return err
		}
	}
	if !p.is("}") {
		return p.unexpected(", or }")
	}
	n.end, n.braceEnd = p.tok.end, p.tok.end
	return p.advance()
}

func (p *reader) arguments(n *node) error {
	if err := p.expect("("); err != nil {
		return err
	}
	for !p.is(")") {
		arg, err := p.expr(0)
		if err != nil {
			return err
		}
		n.args = append(n.args, arg)
		if !p.is(",") {
			break
		}
		if err := p.advance(); err != nil {
			return err
		}
	}
	if !p.is(")") {
		return p.unexpected(", or )")
	}
	n.end = p.tok.end
	if n.kind == nodeCall && len(n.args) == 0 && (n.op == "time" || n.op == "pi") {
		n.kind = nodeScalar
	}
	return p.advance()
}

// aggregate reads both orders: sum by (a) (x) and sum (x) by (a).
func (p *reader) aggregate(op string, start int) (*node, error) {
	n := &node{kind: nodeAggregate, op: op, start: start}
	grouped, err := p.grouping(n)
	if err != nil {
		return nil, err
	}
	if err := p.arguments(n); err != nil {
		return nil, err
	}
	if !grouped {
		_, err = p.grouping(n)
	}
	if err == nil && len(n.args) != aggregations[op] {
		err = fmt.Errorf("%s at %d takes %d arguments", op, start, aggregations[op])
	}
	return n, err
}

func (p *reader) grouping(n *node) (bool, error) {
	if !p.keyword("by", "without") {
		return false, nil
	}
	n.without = p.keyword("without")
	if err := p.advance(); err != nil {
		return false, err
	}
	labels, err := p.labelList()
	n.labels = labels
	n.end = p.lastEnd()
	return true, err
}

// lastEnd is where the text before the current token ends, spaces left out.
func (p *reader) lastEnd() int {
	return len(strings.TrimRight(p.lex.src[:p.tok.start], " \t\r\n"))
}
