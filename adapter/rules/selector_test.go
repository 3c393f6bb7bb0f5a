package rules

import (
	"math/rand/v2"
	"testing"
)

func TestSelectorIsCanonical(t *testing.T) {
	tests := []struct {
		name string
		a, b Selector
		same bool
	}{
		{"nothing", nil, Selector{}, true},
		{"order of requirements", Selector{{"a", Equals, []string{"1"}}, {"b", Exists, nil}}, Selector{{"b", Exists, nil}, {"a", Equals, []string{"1"}}}, true},
		{"order of values", Selector{{"a", In, []string{"1", "2"}}}, Selector{{"a", In, []string{"2", "1", "2"}}}, true},
		{"in one is equal", Selector{{"a", In, []string{"1"}}}, Selector{{"a", Equals, []string{"1"}}}, true},
		{"said twice", Selector{{"a", Equals, []string{"1"}}, {"a", Equals, []string{"1"}}}, Selector{{"a", Equals, []string{"1"}}}, true},
		{"not equal to nothing exists", Selector{{"a", NotEquals, []string{""}}}, Selector{{"a", Exists, nil}}, true},
		{"another value", Selector{{"a", Equals, []string{"1"}}}, Selector{{"a", Equals, []string{"2"}}}, false},
		{"a comma in a value", Selector{{"a", In, []string{"1,2"}}}, Selector{{"a", In, []string{"1", "2"}}}, false},
		{"a bar in a value", Selector{{"a", In, []string{"1|2", "3"}}}, Selector{{"a", In, []string{"1", "2", "3"}}}, false},
		{"operators without PromQL", Selector{{"a", GreaterThan, []string{"1"}}}, Selector{{"a", LessThan, []string{"1"}}}, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if a, b := tt.a.String(), tt.b.String(); (a == b) != tt.same {
				t.Errorf("%q and %q", a, b)
			}
		})
	}
}

func TestSelectorMatchesAsPrometheusWould(t *testing.T) {
	g := rand.New(rand.NewPCG(5, 6))
	values := []string{"", "a", "b", "a.b", "axb", "a|b", "(", "\\", "\"", "ü", "a\nb"}
	some := func() (out []string) {
		for range 1 + g.IntN(3) {
			out = append(out, values[g.IntN(len(values))])
		}
		return out
	}
	for range 5000 {
		req := Requirement{Key: "k", Operator: Operator(1 + g.IntN(6))}
		if req.Operator < Exists {
			req.Values = some()
		}
		sel := Selector{req}
		m, err := req.matcher(false)
		if err != nil {
			t.Fatal(err)
		}
		value := values[g.IntN(len(values))]
		data := []testSeries{{labels: labels{"__name__": "x", "k": value}}}
		got, err := evaluate("x{"+m.String()+"}", data)
		if err != nil {
			t.Fatalf("%s: %v", m, err)
		}
		if sel.Matches(labels{"k": value}) != (len(got) == 1) {
			t.Errorf("%s and k=%q: Matches says %v", m, value, len(got) != 1)
		}
		if value == "" && sel.Matches(nil) != sel.Matches(labels{"k": ""}) {
			t.Errorf("%s: a label that is not there differs from an empty one", m)
		}
	}
}

func TestSelectorOfAnOperatorWithoutPromQLMatchesNothing(t *testing.T) {
	for _, req := range []Requirement{{"k", GreaterThan, []string{"1"}}, {"k", Equals, nil}, {"k", Exists, []string{"v"}}, {"", Equals, []string{"v"}}, {"k", 0, nil}} {
		if (Selector{req}).Matches(labels{"k": "2", "": "v"}) {
			t.Errorf("%+v matches", req)
		}
	}
}
