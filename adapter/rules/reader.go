package rules

import (
	"fmt"
	"strconv"
	"strings"
	"time"
)

// nodeKind is what an expression is made of.
type nodeKind int

const (
	nodeScalar    nodeKind = iota + 1 // a number, a string, or arithmetic on numbers
	nodeSelector                      // series{…}, perhaps with a range
	nodeSubquery                      // (…)[5m:30s]
	nodeCall                          // f(…)
	nodeAggregate                     // sum by (…) (…)
	nodeUnary                         // -…, and parentheses (op "(")
	nodeBinary                        // … + …
)

// node is an expression. Its text is src[start:end] of the query.
type node struct {
	kind       nodeKind
	start, end int
	op         string // the function, aggregation or operator
	args       []*node

	// of a selector and a subquery
	name     string // "" when the series' name is not a literal
	matchers []labelMatcher
	braceEnd int           // where the selector ends before its range; of {…}: after the brace
	window   time.Duration // 0: no range
	modifier string        // " offset 5m", " @ end()"

	// of an aggregation
	labels  []string
	without bool

	// of a binary operator between vectors
	matching matching
}

// labelMatcher as the query has it, with the value unquoted.
type labelMatcher struct{ label, op, value string }

// matching is `on (…) group_left (…)`; text is how it stands.
type matching struct {
	on, ignoring bool
	labels       []string
	group        string // "group_left", "group_right" or ""
	include      []string
	isBool       bool
}

// reader is a recursive-descent reader of PromQL. It knows the grammar but not
// the types: what Prometheus would refuse may pass here, what passes nowhere
// else is only a query that fails. What it does not know is an error, and the
// rule then gets the treatment that needs no understanding.
type reader struct {
	lex   lexer
	tok   token
	depth int
}

// maxDepth of nesting: no query of a person comes near, and a fuzzer's stops here.
const maxDepth = 64

func readQuery(src string) (*node, error) {
	p := &reader{lex: lexer{src: src}}
	if err := p.advance(); err != nil {
		return nil, err
	}
	n, err := p.expr(0)
	if err != nil {
		return nil, err
	}
	if p.tok.kind != tokenEnd {
		return nil, p.unexpected("an operator or the end")
	}
	return n, nil
}

func (p *reader) advance() (err error) {
	p.tok, err = p.lex.next()
	return err
}

func (p *reader) unexpected(want string) error {
	if p.tok.kind == tokenEnd {
		return fmt.Errorf("the query ends where %s was expected", want)
	}
	return fmt.Errorf("%q at %d where %s was expected", p.lex.src[p.tok.start:p.tok.end], p.tok.start, want)
}

func (p *reader) is(text string) bool { return p.tok.kind == tokenPunct && p.tok.text == text }

func (p *reader) keyword(words ...string) bool {
	if p.tok.kind != tokenIdent {
		return false
	}
	for _, w := range words {
		if strings.EqualFold(p.tok.text, w) {
			return true
		}
	}
	return false
}

func (p *reader) expect(text string) error {
	if !p.is(text) {
		return p.unexpected(text)
	}
	return p.advance()
}

// binding powers, weakest first, as in the PromQL manual's table.
func (p *reader) power() (op string, power int) {
	if p.tok.kind == tokenIdent {
		switch op = strings.ToLower(p.tok.text); op {
		case "or":
			return op, 1
		case "and", "unless":
			return op, 2
		case "atan2":
			return op, 5
		}
		return "", 0
	}
	if p.tok.kind != tokenPunct {
		return "", 0
	}
	switch op = p.tok.text; op {
	case "==", "!=", "<=", "<", ">=", ">":
		return op, 3
	case "+", "-":
		return op, 4
	case "*", "/", "%":
		return op, 5
	case "^":
		return op, 6
	}
	return "", 0
}

func (p *reader) expr(least int) (*node, error) {
	if p.depth++; p.depth > maxDepth {
		return nil, fmt.Errorf("nested deeper than %d", maxDepth)
	}
	defer func() { p.depth-- }()
	left, err := p.unary()
	for err == nil {
		op, power := p.power()
		if power == 0 || power < least {
			return left, nil
		}
		if left, err = p.binary(left, op, power); err != nil {
			return nil, err
		}
	}
	return nil, err
}

func (p *reader) binary(left *node, op string, power int) (*node, error) {
	if err := p.advance(); err != nil {
		return nil, err
	}
	m, err := p.matching()
	if err != nil {
		return nil, err
	}
	least := power + 1
	if op == "^" { // binds to the right
		least = power
	}
	right, err := p.expr(least)
	if err != nil {
		return nil, err
	}
	kind := nodeBinary
	if left.kind == nodeScalar && right.kind == nodeScalar {
		kind = nodeScalar
	}
	return &node{kind: kind, op: op, args: []*node{left, right}, matching: m, start: left.start, end: right.end}, nil
}

func (p *reader) matching() (m matching, err error) {
	if p.keyword("bool") {
		m.isBool = true
		if err = p.advance(); err != nil {
			return m, err
		}
	}
	if m.on = p.keyword("on"); m.on || p.keyword("ignoring") {
		m.ignoring = !m.on
		if err = p.advance(); err == nil {
			m.labels, err = p.labelList()
		}
	}
	if err == nil && p.keyword("group_left", "group_right") {
		m.group = strings.ToLower(p.tok.text)
		if err = p.advance(); err == nil && p.is("(") {
			m.include, err = p.labelList()
		}
	}
	return m, err
}

func (p *reader) labelList() (labels []string, err error) {
	if err = p.expect("("); err != nil {
		return nil, err
	}
	for !p.is(")") {
		if p.tok.kind != tokenIdent && p.tok.kind != tokenString {
			return nil, p.unexpected("a label name")
		}
		labels = append(labels, p.tok.text)
		if err = p.advance(); err != nil {
			return nil, err
		}
		if !p.is(",") {
			break
		}
		if err = p.advance(); err != nil {
			return nil, err
		}
	}
	return labels, p.expect(")")
}

func (p *reader) unary() (*node, error) {
	if !p.is("-") && !p.is("+") {
		return p.postfix()
	}
	op, start := p.tok.text, p.tok.start
	if err := p.advance(); err != nil {
		return nil, err
	}
	arg, err := p.expr(6) // weaker than ^ only
	if err != nil {
		return nil, err
	}
	kind := nodeUnary
	if arg.kind == nodeScalar {
		kind = nodeScalar
	}
	return &node{kind: kind, op: op, args: []*node{arg}, start: start, end: arg.end}, nil
}

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

// aggregations and how many arguments each takes; the vector is the last.
var aggregations = map[string]int{
	"sum": 1, "avg": 1, "min": 1, "max": 1, "count": 1, "group": 1, "stddev": 1, "stdvar": 1,
	"quantile": 2, "topk": 2, "bottomk": 2, "count_values": 2, "limitk": 2, "limit_ratio": 2,
}
