package dcgm

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// names are an enum's words, for values from 1 up: what it prints as, and what it is in JSON and on the wire. The zero value is
// the empty word.
type names[T ~int] struct {
	kind  string
	words []string
}

func (n names[T]) text(v T) string {
	if v < 1 || int(v) > len(n.words) {
		return n.kind + " " + strconv.Itoa(int(v))
	}
	return n.words[v-1]
}

func (n names[T]) marshal(v T) ([]byte, error) {
	switch {
	case v == 0:
		return nil, nil
	case v < 0 || int(v) > len(n.words):
		return nil, fmt.Errorf("no %s %d", n.kind, int(v))
	}
	return []byte(n.words[v-1]), nil
}

func (n names[T]) unmarshal(v *T, text []byte) error {
	if len(text) == 0 {
		*v = 0
		return nil
	}
	at := slices.Index(n.words, string(text))
	if at < 0 {
		return fmt.Errorf("no %s %q: want one of %s", n.kind, text, strings.Join(n.words, ", "))
	}
	*v = T(at + 1)
	return nil
}
