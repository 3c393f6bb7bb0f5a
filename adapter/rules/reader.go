package rules

import (
	"fmt"
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

// walk visits an expression and all its parts.
func (n *node) walk(visit func(*node)) {
	visit(n)
	for _, a := range n.args {
		a.walk(visit)
	}
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

// aggregations and how many arguments each takes; the vector is the last.
var aggregations = map[string]int{
	"sum": 1, "avg": 1, "min": 1, "max": 1, "count": 1, "group": 1, "stddev": 1, "stdvar": 1,
	"quantile": 2, "topk": 2, "bottomk": 2, "count_values": 2, "limitk": 2, "limit_ratio": 2,
}
