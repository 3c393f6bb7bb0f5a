package rules

import (
	"fmt"
	"sort"
	"strings"
)

// Problem is one thing that is wrong, or doubtful, in a configuration file.
type Problem struct {
	File    string
	Line    int    // 1-based; 0 when the problem has no place
	Path    string // "rules[2].resources.overrides.pod"
	Value   string // what stands there; "" when nothing does
	Message string // what is allowed, and the way out
}

// String is "file:line: path: value: message"; parts that are empty are left out.
func (p Problem) String() string {
	var b strings.Builder
	if p.File != "" {
		b.WriteString(p.File)
		if p.Line > 0 {
			fmt.Fprintf(&b, ":%d", p.Line)
		}
		b.WriteString(": ")
	}
	if p.Path != "" {
		b.WriteString(p.Path + ": ")
	}
	if p.Value != "" {
		fmt.Fprintf(&b, "%s: ", quoteShort(p.Value))
	}
	b.WriteString(p.Message)
	return b.String()
}

// quoteShort keeps a message on one line: a query may be long and have many.
func quoteShort(s string) string {
	const most = 120 // runes; enough to recognise a query, short enough for a log line
	if r := []rune(s); len(r) > most {
		s = string(r[:most]) + "…"
	}
	return fmt.Sprintf("%q", s)
}

// Problems is every problem of a file at once.
type Problems []Problem

func (p Problems) Error() string {
	lines := make([]string, len(p))
	for i := range p {
		lines[i] = p[i].String()
	}
	return strings.Join(lines, "\n")
}

// sorted puts problems in the order of the file: the order of checking is not a reader's.
func (p Problems) sorted() Problems {
	sort.SliceStable(p, func(i, j int) bool { return p[i].Line < p[j].Line })
	return p
}
