package dcgm

import (
	"bufio"
	"fmt"
	"io"
	"strconv"
	"strings"
)

// Bounds of a scrape that is read: a node of 16 GPUs of 7 slices with 100 fields each is 11,200 rows.
const (
	MaxRows    = 50_000
	MaxRowSize = 16 << 10
)

// ParseExposition reads Prometheus' text format as far as dcgm-exporter writes it, and keeps the rows that wanted says yes to. A row
// that is no such text is an error with its line: half a scrape would look like idle GPUs.
func ParseExposition(text io.Reader, wanted func(name string) bool) ([]Row, error) {
	var rows []Row
	lines := bufio.NewScanner(text)
	lines.Buffer(make([]byte, 0, 4096), MaxRowSize)
	for n := 1; lines.Scan(); n++ {
		line := strings.TrimSpace(lines.Text())
		if line == "" || line[0] == '#' {
			continue
		}
		end := strings.IndexAny(line, "{ \t")
		if end < 1 {
			return nil, fmt.Errorf("line %d: want name{labels} value", n)
		}
		name := line[:end]
		if !wanted(name) {
			continue
		}
		row := Row{Name: name, Labels: map[string]string{}}
		rest, err := row.readLabels(line[end:])
		if err != nil {
			return nil, fmt.Errorf("line %d: %w", n, err)
		}
		fieldsOfRest := strings.Fields(rest) // a value, and perhaps a timestamp
		if len(fieldsOfRest) < 1 || len(fieldsOfRest) > 2 {
			return nil, fmt.Errorf("line %d: want a value after the labels", n)
		}
		if row.Value, err = strconv.ParseFloat(fieldsOfRest[0], 64); err != nil {
			return nil, fmt.Errorf("line %d: value %q is no number", n, fieldsOfRest[0])
		}
		if len(rows) == MaxRows {
			return nil, fmt.Errorf("more than %d rows", MaxRows)
		}
		rows = append(rows, row)
	}
	if err := lines.Err(); err != nil {
		return nil, fmt.Errorf("read exposition: %w", err)
	}
	return rows, nil
}

// readLabels reads {name="value",…} and returns what follows.
func (row *Row) readLabels(text string) (string, error) {
	if text[0] != '{' {
		return text, nil
	}
	text = text[1:]
	for {
		text = strings.TrimLeft(text, " \t,")
		if after, closed := strings.CutPrefix(text, "}"); closed {
			return after, nil
		}
		name, after, ok := strings.Cut(text, `="`)
		if !ok || name == "" || strings.ContainsAny(name, "{}\", \t") {
			return "", fmt.Errorf(`want name="value" at %.40q`, text)
		}
		value, after, ok := unquote(after)
		if !ok {
			return "", fmt.Errorf("label %s: no closing quote", name)
		}
		row.Labels[name] = value
		text = after
	}
}

// unquote reads up to the closing quote: \\, \" and \n are the format's escapes.
func unquote(text string) (value, after string, ok bool) {
	end := strings.IndexAny(text, `\"`)
	if end >= 0 && text[end] == '"' { // nothing escaped: the usual
		return text[:end], text[end+1:], true
	}
	var b strings.Builder
	for i := 0; i < len(text); i++ {
		switch c := text[i]; {
		case c == '"':
			return b.String(), text[i+1:], true
		case c == '\\' && i+1 < len(text):
			i++
			if text[i] == 'n' {
				b.WriteByte('\n')
			} else {
				b.WriteByte(text[i])
			}
		default:
			b.WriteByte(c)
		}
	}
	return "", "", false
}
