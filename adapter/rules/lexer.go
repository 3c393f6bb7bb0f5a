package rules

import (
	"fmt"
	"strconv"
	"strings"
	"time"
)

// tokenKind of PromQL. Only what the reader needs is told apart.
type tokenKind int

const (
	tokenEnd    tokenKind = iota + 1
	tokenIdent            // names, functions, keywords
	tokenNumber           // 1, 0x1f, 1e3, and durations: 5m
	tokenString
	tokenPunct // operators and brackets
)

type token struct {
	kind       tokenKind
	text       string // as it stands; of a string, its value
	start, end int
}

// lexer cuts PromQL into tokens, one at a time.
type lexer struct {
	src string
	pos int
}

func (l *lexer) next() (token, error) {
	l.skipSpace()
	if l.pos >= len(l.src) {
		return token{kind: tokenEnd, start: l.pos, end: l.pos}, nil
	}
	start, c := l.pos, l.src[l.pos]
	switch {
	case isLetter(c) || c == ':':
		for l.pos < len(l.src) && isNameByte(l.src[l.pos]) {
			l.pos++
		}
		return l.token(tokenIdent, start), nil
	case isDigit(c) || c == '.' && l.pos+1 < len(l.src) && isDigit(l.src[l.pos+1]):
		l.number()
		return l.token(tokenNumber, start), nil
	case c == '"' || c == '\'' || c == '`':
		return l.str(c)
	}
	for _, op := range []string{"=~", "!~", "==", "!=", "<=", ">="} {
		if strings.HasPrefix(l.src[l.pos:], op) {
			l.pos += 2
			return l.token(tokenPunct, start), nil
		}
	}
	if strings.IndexByte("+-*/%^<>=(){}[],@", c) < 0 {
		return token{}, fmt.Errorf("character %q at %d is not PromQL", c, l.pos)
	}
	l.pos++
	return l.token(tokenPunct, start), nil
}

func isNameByte(c byte) bool { return isLetter(c) || isDigit(c) || c == ':' }

func (l *lexer) token(kind tokenKind, start int) token {
	return token{kind: kind, text: l.src[start:l.pos], start: start, end: l.pos}
}

func (l *lexer) skipSpace() {
	for l.pos < len(l.src) {
		switch c := l.src[l.pos]; {
		case c == ' ' || c == '\t' || c == '\n' || c == '\r':
			l.pos++
		case c == '#': // to the end of the line
			if nl := strings.IndexByte(l.src[l.pos:], '\n'); nl >= 0 {
				l.pos += nl
			} else {
				l.pos = len(l.src)
			}
		default:
			return
		}
	}
}

// number takes digits, a fraction, an exponent, and the units of durations.
func (l *lexer) number() {
	start := l.pos
	hex := strings.HasPrefix(l.src[start:], "0x") || strings.HasPrefix(l.src[start:], "0X")
	for l.pos < len(l.src) {
		c := l.src[l.pos]
		exponentSign := !hex && (c == '+' || c == '-') && l.pos > start && (l.src[l.pos-1] == 'e' || l.src[l.pos-1] == 'E')
		if !isDigit(c) && !isLetter(c) && c != '.' && !exponentSign {
			return
		}
		l.pos++
	}
}

func (l *lexer) str(quote byte) (token, error) {
	start := l.pos
	for l.pos++; l.pos < len(l.src); l.pos++ {
		switch c := l.src[l.pos]; {
		case c == quote:
			l.pos++
			raw := l.src[start:l.pos]
			value, ok := unquote(raw)
			if !ok {
				return token{}, fmt.Errorf("string %s at %d is not closed or has a bad escape", raw, start)
			}
			return token{kind: tokenString, text: value, start: start, end: l.pos}, nil
		case c == '\\' && quote != '`':
			l.pos++
		}
	}
	return token{}, fmt.Errorf("string at %d is not closed", start)
}

// unquote differs from strconv.Unquote in one thing: single quotes hold strings.
func unquote(raw string) (string, bool) {
	if raw[0] != '\'' {
		value, err := strconv.Unquote(raw)
		return value, err == nil
	}
	var b strings.Builder
	for rest := raw[1 : len(raw)-1]; rest != ""; {
		c, multibyte, tail, err := strconv.UnquoteChar(rest, '\'')
		if err != nil {
			return "", false
		}
		if c < 0x80 || multibyte {
			b.WriteRune(c)
		} else {
			b.WriteByte(byte(c))
		}
		rest = tail
	}
	return b.String(), true
}

// parseDuration reads Prometheus durations: units from y to ms, each at most
// once and in that order; "0" alone is zero.
func parseDuration(s string) (time.Duration, error) {
	if s == "0" {
		return 0, nil
	}
	units := []struct {
		name string
		d    time.Duration
	}{{"y", 365 * 24 * time.Hour}, {"w", 7 * 24 * time.Hour}, {"d", 24 * time.Hour},
		{"h", time.Hour}, {"m", time.Minute}, {"s", time.Second}, {"ms", time.Millisecond}}
	var total time.Duration
	rest, next := s, 0
	for rest != "" {
		digits := len(rest) - len(strings.TrimLeft(rest, "0123456789"))
		letters := digits
		for letters < len(rest) && isLetter(rest[letters]) {
			letters++
		}
		n, err := strconv.ParseInt(rest[:digits], 10, 64)
		unit := rest[digits:letters]
		found := false
		for ; next < len(units) && !found; next++ {
			if units[next].name == unit {
				found = true
				part := time.Duration(n) * units[next].d
				if err != nil || n > int64(1<<62)/int64(units[next].d) || total+part < total {
					return 0, fmt.Errorf("duration %q is out of range", s)
				}
				total += part
			}
		}
		if digits == 0 || !found {
			return 0, fmt.Errorf("%q is not a duration such as 30s, 5m or 1h30m", s)
		}
		rest = rest[letters:]
	}
	if s == "" {
		return 0, fmt.Errorf("a duration such as 30s, 5m or 1h30m is missing")
	}
	return total, nil
}
