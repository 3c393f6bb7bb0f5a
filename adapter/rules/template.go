package rules

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"text/template"
	"text/template/parse"
)

// Templates use << and >>, so that PromQL's braces need no escaping.
const leftDelim, rightDelim = "<<", ">>"

// maxRendered bounds what a template may write. A selector of 5,000 long pod
// names is a tenth of it.
const maxRendered = 4 << 20

var errTooLong = errors.New("the template writes more than 4 MiB")

// parseTemplate refuses what would let a template run on: calls of other
// templates, and loops over anything but the arguments; and arguments that do
// not exist, which would fail at every request.
func parseTemplate(text string, args ...string) (*template.Template, error) {
	t, err := template.New("template").Delims(leftDelim, rightDelim).Parse(text)
	if err != nil {
		return nil, tidyTemplateError(err)
	}
	if t.Tree == nil { // only definitions
		return nil, fmt.Errorf("the template is empty")
	}
	if len(t.Templates()) > 1 {
		return nil, fmt.Errorf("define and block are not supported")
	}
	return t, errors.Join(checkNodes(t.Root, 0), checkArgs(t.Root, args))
}

// checkArgs looks at the fields of the arguments, as far as dot is surely them.
func checkArgs(n parse.Node, args []string) error {
	var pipes []*parse.PipeNode
	var lists []*parse.ListNode
	switch n := n.(type) {
	case *parse.ListNode:
		if n == nil {
			return nil
		}
		for _, child := range n.Nodes {
			if err := checkArgs(child, args); err != nil {
				return err
			}
		}
	case *parse.ActionNode:
		pipes = append(pipes, n.Pipe)
	case *parse.IfNode:
		pipes, lists = append(pipes, n.Pipe), append(lists, n.List, n.ElseList)
	case *parse.RangeNode:
		pipes, lists = append(pipes, n.Pipe), append(lists, n.ElseList)
	case *parse.WithNode:
		pipes, lists = append(pipes, n.Pipe), append(lists, n.ElseList)
	}
	for _, p := range pipes {
		for _, cmd := range p.Cmds {
			for _, arg := range cmd.Args {
				if f, ok := arg.(*parse.FieldNode); ok && !slices.Contains(args, f.Ident[0]) {
					return fmt.Errorf("there is no .%s; %s", f.Ident[0], suggest(f.Ident[0], args))
				}
			}
		}
	}
	for _, l := range lists {
		if err := checkArgs(l, args); err != nil {
			return err
		}
	}
	return nil
}

func checkNodes(n parse.Node, loops int) error {
	switch n := n.(type) {
	case *parse.ListNode:
		if n == nil {
			return nil
		}
		for _, child := range n.Nodes {
			if err := checkNodes(child, loops); err != nil {
				return err
			}
		}
	case *parse.IfNode:
		return errors.Join(checkNodes(n.List, loops), checkNodes(n.ElseList, loops))
	case *parse.WithNode:
		return errors.Join(checkNodes(n.List, loops), checkNodes(n.ElseList, loops))
	case *parse.RangeNode:
		if simplePipe(n.Pipe) == "" || loops == 2 {
			return fmt.Errorf("range is for .GroupBySlice and .LabelValuesByName, at most two deep")
		}
		return errors.Join(checkNodes(n.List, loops+1), checkNodes(n.ElseList, loops+1))
	case *parse.TemplateNode:
		return fmt.Errorf("template is not supported")
	}
	return nil
}

// simplePipe is the field that a pipe is: "Series" of <<.Series>>; else "".
func simplePipe(pipe *parse.PipeNode) string {
	if pipe == nil || len(pipe.Cmds) != 1 || len(pipe.Cmds[0].Args) != 1 {
		return ""
	}
	if f, ok := pipe.Cmds[0].Args[0].(*parse.FieldNode); ok && len(f.Ident) == 1 {
		return f.Ident[0]
	}
	return ""
}

// piece of a template that is only text and fields.
type piece struct{ text, field string }

// pieces takes such a template apart; nil when it has anything else.
func pieces(t *template.Template) []piece {
	out := []piece{}
	for _, n := range t.Root.Nodes {
		switch n := n.(type) {
		case *parse.TextNode:
			out = append(out, piece{text: string(n.Text)})
		case *parse.CommentNode:
		case *parse.ActionNode:
			field := simplePipe(n.Pipe)
			if field == "" || len(n.Pipe.Decl) > 0 {
				return nil
			}
			out = append(out, piece{field: field})
		default:
			return nil
		}
	}
	return out
}

type limitedText struct{ strings.Builder }

func (l *limitedText) Write(p []byte) (int, error) {
	if l.Len()+len(p) > maxRendered {
		return 0, errTooLong
	}
	return l.Builder.Write(p)
}

func render(t *template.Template, args any) (string, error) {
	var out limitedText
	if err := t.Execute(&out, args); err != nil {
		return "", tidyTemplateError(err)
	}
	return out.String(), nil
}

// tidyTemplateError drops the library's words about where its template lives:
// `template: template:1:5: executing "template" at <.X>: can't …`.
func tidyTemplateError(err error) error {
	if errors.Is(err, errTooLong) {
		return errTooLong
	}
	text := strings.TrimPrefix(err.Error(), "template: template:")
	if m := regexp.MustCompile(`^\d+(?::\d+)?: (?:executing "template" )?`).FindString(text); m != "" {
		text = text[len(m):]
	}
	return errors.New(text)
}

// queryArgs are what a metricsQuery may use. The names are the language.
type queryArgs struct {
	Series            string
	LabelMatchers     string
	LabelValuesByName map[string]string
	GroupBy           string
	GroupBySlice      []string
}

// queryTemplate is a metricsQuery.
type queryTemplate struct {
	tmpl   *template.Template
	pieces []piece // nil: has more than text and fields
	// comma: `{<<.LabelMatchers>>,a="b"}` would begin with a comma when there are
	// no matchers, which PromQL refuses.
	comma bool
}

// noMatchers stands for no matchers until the comma behind it is taken out with
// it. A matcher that holds for every series would be no substitute: PromQL allows
// none on the name where the name stands before the braces, and any other label
// may be one that the series have.
const noMatchers = "\x00"

var noMatchersAndComma = regexp.MustCompile(noMatchers + `(\s*,)?`)

func parseQueryTemplate(text string) (*queryTemplate, error) {
	t, err := parseTemplate(text, "Series", "LabelMatchers", "LabelValuesByName", "GroupBy", "GroupBySlice")
	if err != nil {
		return nil, err
	}
	q := &queryTemplate{tmpl: t, pieces: pieces(t)}
	for i, n := range t.Root.Nodes[:max(0, len(t.Root.Nodes)-1)] {
		action, isAction := n.(*parse.ActionNode)
		after, isText := t.Root.Nodes[i+1].(*parse.TextNode)
		if isAction && isText && simplePipe(action.Pipe) == "LabelMatchers" && strings.HasPrefix(strings.TrimSpace(string(after.Text)), ",") {
			q.comma = true
		}
	}
	return q, nil
}

func (q *queryTemplate) uses(field string) bool {
	for _, p := range q.pieces {
		if p.field == field {
			return true
		}
	}
	return false
}

func (q *queryTemplate) render(series string, matchers []matcher, groupBy []string) (string, error) {
	texts := make([]string, len(matchers))
	values := make(map[string]string, len(matchers))
	for i, m := range matchers {
		texts[i] = m.String()
		values[m.label] = m.joined()
	}
	args := queryArgs{Series: series, LabelMatchers: strings.Join(texts, ","), LabelValuesByName: values,
		GroupBy: strings.Join(groupBy, ","), GroupBySlice: groupBy}
	gap := args.LabelMatchers == "" && q.comma
	if gap {
		args.LabelMatchers = noMatchers
	}
	out, err := render(q.tmpl, args)
	if gap {
		out = noMatchersAndComma.ReplaceAllString(out, "")
	}
	if err == nil && strings.TrimSpace(out) == "" {
		err = ErrEmptyQuery
	}
	return out, err
}

// joined is the values for <<index .LabelValuesByName "pod">>, which stands
// between quotes, with = for one value and =~ for several.
func (m matcher) joined() string {
	if m.raw {
		return strings.Join(m.values, "|")
	}
	text := m.values[0]
	if len(m.values) > 1 {
		text = alternation(m.values, false)
	}
	quoted := strconv.Quote(text)
	return quoted[1 : len(quoted)-1]
}
