package app

import "testing"

func TestTwoAdaptersAnswersAreJudged(t *testing.T) {
	value := func(sum float64, items int) side { return side{Sum: sum, Items: items} }
	for _, test := range []struct {
		name         string
		ours, theirs side
		want         string
	}{
		{"equal", value(10, 2), value(10, 2), verdictSame},
		{"as far apart as two instants can be", value(10, 2), value(9.1, 2), verdictSame},
		{"further apart", value(10, 2), value(8, 2), verdictDiffer},
		{"the same sum over fewer pods, which the HPA averages differently", value(10, 2), value(10, 1), verdictDiffer},
		{"both zero", value(0, 1), value(0, 1), verdictSame},
		{"NaN there was a zero, and is an absence here", side{Error: "NaN"}, value(0, 1), verdictTheirs},
		{"theirs is down", value(1, 1), side{Error: "503"}, verdictOurs},
		{"nobody knows", side{Error: "stale"}, side{Error: "404"}, verdictNeither},
	} {
		t.Run(test.name, func(t *testing.T) {
			c := comparison{Ours: test.ours, Theirs: &test.theirs}
			c.judge()
			if c.Verdict != test.want {
				t.Errorf("%+v against %+v: %s, want %s", test.ours, test.theirs, c.Verdict, test.want)
			}
		})
	}
}
