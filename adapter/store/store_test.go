package store

import (
	"errors"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/headroom-autoscaler/headroom/adapter/rules"
)

var (
	start = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	pods  = Key{Kind: rules.Custom, Namespace: "inference", Resource: rules.Resource{Name: "pods"}, Metric: "requests_per_second"}
	lag   = Key{Kind: rules.External, Namespace: "inference", Metric: "kafka_consumer_lag"}
	terms = Terms{MaxStaleness: time.Minute, Window: 2 * time.Minute}
	vllm  = Source{Name: "preset vllm", Rank: 1}
	agent = Source{Name: "agent", Rank: 0}
)

func at(seconds int) time.Time { return start.Add(time.Duration(seconds) * time.Second) }

// fresh is a reading at second now whose raw sample was taken at second sampled.
func fresh(number float64, sampled, now int) Reading {
	return NewReading(number, at(sampled), time.Duration(now-sampled)*time.Second, at(now))
}

// served is what the API would show of an object at a second: its number, or why there is none.
func served(s *Store, key Key, object string, second int) any {
	value, absence := s.View(key).Value(object, at(second))
	if absence != nil {
		return absence.Error()
	}
	return value.Number
}

func rowsServed(s *Store, key Key, second int) any {
	rows, absence := s.View(key).Rows(at(second))
	if absence != nil {
		return absence.Error()
	}
	sum := 0.0
	for _, row := range rows {
		sum += row.Number
	}
	return sum
}

func TestAPodThatStopsAnsweringKeepsItsValueUntilItIsStale(t *testing.T) {
	s := New()
	s.Record(pods, vllm, map[string]Reading{"a": fresh(12, -3, 0), "b": fresh(7, -3, 0)}, terms, at(0))
	for second := 5; second <= 90; second += 5 {
		s.Record(pods, vllm, map[string]Reading{"b": fresh(8, second-3, second)}, terms, at(second))
		want := any(12.0)
		if second > 57 { // its sample was taken at -3
			want = "stale, last seen at 11:59:57Z"
		}
		if got := served(s, pods, "a", second); got != want {
			t.Errorf("second %d: a = %v, want %v", second, got, want)
		}
		if got := served(s, pods, "b", second); got != 8.0 {
			t.Errorf("second %d: b = %v, want 8", second, got)
		}
	}
}

func TestABackendThatStopsAnsweringIsSurvivedUntilStale(t *testing.T) {
	s := New()
	s.Record(pods, vllm, map[string]Reading{"a": fresh(12, -3, 0)}, terms, at(0))
	for second := 5; second <= 90; second += 5 {
		s.Fail(pods, vllm, errors.New("connection refused"), at(second))
	}
	if got := served(s, pods, "a", 57); got != 12.0 {
		t.Errorf("at 60 s of age: %v, want 12", got)
	}
	if got, want := served(s, pods, "a", 58), "backend failed: connection refused, last seen at 11:59:57Z"; got != want {
		t.Errorf("at 61 s of age: %v, want %v", got, want)
	}
	if got, want := served(s, pods, "never", 58), "backend failed: connection refused, never seen"; got != want {
		t.Errorf("a pod never seen: %v, want %v", got, want)
	}
}

func TestUnusableNumbersAreAbsentNeverZero(t *testing.T) {
	for _, test := range []struct {
		name   string
		number float64
		want   string
	}{
		{"not a number", math.NaN(), "NaN, never seen"},
		{"infinite", math.Inf(1), "infinite, never seen"},
		{"negative infinite", math.Inf(-1), "infinite, never seen"},
		{"negative", -0.001, "negative, never seen"},
		{"more than a quantity holds", 1e17, "infinite, never seen"},
	} {
		t.Run(test.name, func(t *testing.T) {
			s := New()
			zero := terms
			zero.EmptyIsZero = true // not even a rule that counts silence as zero may count this as zero
			s.Record(pods, vllm, map[string]Reading{"a": fresh(test.number, -1, 0)}, zero, at(0))
			if got := served(s, pods, "a", 0); got != test.want {
				t.Errorf("first sample: %v, want %v", got, test.want)
			}
			s.Record(pods, vllm, map[string]Reading{"a": fresh(5, 4, 5)}, terms, at(5))
			s.Record(pods, vllm, map[string]Reading{"a": fresh(test.number, 9, 10)}, terms, at(10))
			if got := served(s, pods, "a", 10); got != 5.0 {
				t.Errorf("after a good sample: %v, want the last good 5", got)
			}
			if got := served(s, pods, "a", 65); !strings.HasSuffix(got.(string), "last seen at 12:00:04Z") {
				t.Errorf("once that is stale: %v", got)
			}
		})
	}
}

func TestAValueWithoutARawSampleIsNoValue(t *testing.T) {
	// rate() goes on answering after its target died: the value is there, the sample behind it is not.
	s := New()
	s.Record(pods, vllm, map[string]Reading{"a": fresh(5, -1, 0)}, terms, at(0))
	for second := 5; second <= 60; second += 5 {
		s.Record(pods, vllm, map[string]Reading{"a": {Invalid: NoRawSample}}, terms, at(second))
	}
	if got := served(s, pods, "a", 59); got != 5.0 {
		t.Errorf("at 60 s of age: %v, want 5", got)
	}
	if got, want := served(s, pods, "a", 60), "no recent raw sample, last seen at 11:59:59Z"; got != want {
		t.Errorf("at 61 s of age: %v, want %v", got, want)
	}
}

func TestTimeDoesNotRunBackwards(t *testing.T) {
	s := New()
	s.Record(pods, vllm, map[string]Reading{"a": fresh(20, 9, 10)}, terms, at(10))
	s.Record(pods, vllm, map[string]Reading{"a": fresh(3, 4, 15)}, terms, at(15)) // the second URL's Prometheus lags
	if got := served(s, pods, "a", 15); got != 20.0 {
		t.Errorf("a = %v, want the newer sample's 20", got)
	}
}

func TestEmptyIsUnknownUnlessTheRuleSaysZero(t *testing.T) {
	s := New()
	s.Record(pods, vllm, nil, terms, at(0))
	s.Record(lag, vllm, nil, terms, at(0))
	if got, want := served(s, pods, "a", 0), "no sample, never seen"; got != want {
		t.Errorf("pods: %v, want %v", got, want)
	}
	if got, want := rowsServed(s, lag, 0), "no sample, never seen"; got != want {
		t.Errorf("external: %v, want %v", got, want)
	}
	zero := terms
	zero.EmptyIsZero = true
	s.Record(pods, vllm, nil, zero, at(5))
	s.Record(lag, vllm, nil, zero, at(5))
	if got := served(s, pods, "a", 5); got != 0.0 {
		t.Errorf("pods with emptyIsZero: %v, want 0", got)
	}
	if got := rowsServed(s, lag, 5); got != 0.0 {
		t.Errorf("external with emptyIsZero: %v, want 0", got)
	}
	if got := rowsServed(s, lag, 66); got == 0.0 {
		t.Error("a zero goes stale like any value, and this one is 61 s old")
	}
}

func TestAnExternalSumWithAnUnknownPartIsUnknown(t *testing.T) {
	row := func(topic string) string { return RowName(map[string]string{"topic": topic}) }
	s := New()
	s.Record(lag, vllm, map[string]Reading{row("a"): fresh(100, -1, 0), row("b"): fresh(40, -1, 0)}, terms, at(0))
	for second := 5; second <= 60; second += 5 {
		s.Record(lag, vllm, map[string]Reading{row("a"): fresh(math.NaN(), second, second), row("b"): fresh(50, second, second)}, terms, at(second))
	}
	if got := rowsServed(s, lag, 59); got != 150.0 {
		t.Errorf("while a's last good value is fresh: %v, want 150", got)
	}
	if got, want := rowsServed(s, lag, 60), "NaN: topic=a, last seen at 11:59:59Z"; got != want {
		t.Errorf("then: %v, want %v", got, want)
	}
	s.Record(lag, vllm, map[string]Reading{row("b"): fresh(50, 65, 65)}, terms, at(65))
	if got := rowsServed(s, lag, 65); got != 50.0 {
		t.Errorf("once the series has ended: %v, want 50", got)
	}
}

func TestAnEmptyExternalAnswerAgesWhatWasThere(t *testing.T) {
	s := New()
	s.Record(lag, vllm, map[string]Reading{"": fresh(100, 0, 0)}, terms, at(0))
	s.Record(lag, vllm, nil, terms, at(30)) // a Prometheus that has just restarted
	if got := rowsServed(s, lag, 60); got != 100.0 {
		t.Errorf("within maxStaleness: %v, want 100", got)
	}
	if got := rowsServed(s, lag, 61); got == 100.0 {
		t.Error("past maxStaleness it is still served")
	}
}

func TestTheBetterSourceWinsUntilItIsStale(t *testing.T) {
	s := New()
	s.Record(pods, vllm, map[string]Reading{"a": fresh(0.3, 0, 0), "b": fresh(0.4, 0, 0)}, terms, at(0))
	s.Record(pods, agent, map[string]Reading{"a": fresh(0.9, 0, 0)}, terms, at(0))
	if got := served(s, pods, "a", 0); got != 0.9 {
		t.Errorf("a = %v, want the better source's 0.9", got)
	}
	if got := served(s, pods, "b", 0); got != 0.4 {
		t.Errorf("b = %v: only the worse source has it, want 0.4", got)
	}
	for second := 5; second <= 65; second += 5 { // the agent is gone
		s.Record(pods, vllm, map[string]Reading{"a": fresh(0.3, second, second)}, terms, at(second))
	}
	if got := served(s, pods, "a", 60); got != 0.9 {
		t.Errorf("a at 60 s = %v: no flapping while the better value is fresh", got)
	}
	if got := served(s, pods, "a", 61); got != 0.3 {
		t.Errorf("a at 61 s = %v, want the worse source's 0.3", got)
	}
}

func TestHalfTheSourcesAreNoAnswer(t *testing.T) {
	s := New()
	s.Expect(pods, []string{vllm.Name, agent.Name})
	s.Record(pods, vllm, map[string]Reading{"a": fresh(0.3, 0, 0)}, terms, at(0))
	select {
	case <-s.Tried(pods):
		t.Error("tried, with a source still to come")
	default:
	}
	if s.View(pods).Answered() {
		t.Error("answered, with a source still to come")
	}
	s.Fail(pods, agent, errors.New("gone"), at(1))
	<-s.Tried(pods)
	if !s.View(pods).Answered() {
		t.Error("not answered, though the other source has failed")
	}
	s.Expect(pods, []string{vllm.Name, agent.Name, "a new rule"})
	s.Record(pods, vllm, map[string]Reading{"a": fresh(0.3, 5, 5)}, terms, at(5))
	if !s.View(pods).Answered() {
		t.Error("a rule that is added takes away what was answered")
	}
}

func TestWhatIsExpectedOfAKeyThatNeverAnsweredMayChange(t *testing.T) {
	s := New()
	s.Fail(pods, Source{}, &Absence{Cause: NoRule}, at(0))
	<-s.Tried(pods)
	s.Expect(pods, []string{vllm.Name, agent.Name}) // rules were added
	s.Record(pods, vllm, map[string]Reading{"a": fresh(0.3, 1, 1)}, terms, at(1))
	if s.View(pods).Answered() {
		t.Error("answered, with a source still to come")
	}
	s.Expect(pods, []string{vllm.Name}) // the other turned out to give something else
	if !s.View(pods).Answered() {
		t.Error("not answered, though nothing is to come")
	}
}

func TestRetainFollowsWhatIsWanted(t *testing.T) {
	s := New()
	s.Record(pods, vllm, nil, terms, at(0))
	s.Record(lag, vllm, nil, terms, at(0))
	s.Retain(func(key Key) bool { return key == lag })
	if s.View(pods) != nil || s.View(lag) == nil || s.Keys() != 1 {
		t.Errorf("kept %d keys, pods %v, lag %v", s.Keys(), s.View(pods), s.View(lag))
	}
}

func TestRowNameDoesNotDependOnMapOrder(t *testing.T) {
	got := RowName(map[string]string{"topic": "t", "consumergroup": "g"})
	if diff := cmp.Diff("consumergroup=g,topic=t", got); diff != "" {
		t.Error(diff)
	}
}

// FuzzNewReading asserts that whatever a backend sends, what is served is a finite number of at least zero that a
// quantity in thousandths holds.
func FuzzNewReading(f *testing.F) {
	f.Add(1.5, int64(3))
	f.Add(math.NaN(), int64(-3))
	f.Add(math.Inf(1), int64(1<<40))
	f.Fuzz(func(t *testing.T, number float64, ageSeconds int64) {
		s := New()
		reading := NewReading(number, at(0), time.Duration(ageSeconds)*time.Second, at(0))
		s.Record(pods, vllm, map[string]Reading{"a": reading}, terms, at(0))
		value, absence := s.View(pods).Value("a", at(0))
		if absence != nil {
			return
		}
		if n := value.Number; math.IsNaN(n) || n < 0 || int64(math.Round(n*1000)) < 0 || n > MaxNumber {
			t.Errorf("%v is served as %v", number, n)
		}
		if value.Age(at(0)) < 0 {
			t.Errorf("age %v is negative", value.Age(at(0)))
		}
	})
}

func BenchmarkRecord(b *testing.B) {
	for _, shape := range []struct {
		name string
		pods int
	}{{"one deployment, 10 pods", 10}, {"one namespace, 5000 pods", 5000}} {
		b.Run(shape.name, func(b *testing.B) {
			s := New()
			readings := make(map[string]Reading, shape.pods)
			for i := range shape.pods {
				readings["pod-"+strings.Repeat("x", 20)+string(rune('a'+i%26))+strings.Repeat("y", i%7)+time.Duration(i).String()] = fresh(float64(i), 0, 0)
			}
			b.ReportAllocs()
			for b.Loop() {
				s.Record(pods, vllm, readings, terms, at(0))
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(shape.pods), "ns/pod")
		})
	}
}
