package nodeagent

import (
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/headroom-autoscaler/headroom/adapter/collect"
	"github.com/headroom-autoscaler/headroom/adapter/rules"
	"github.com/headroom-autoscaler/headroom/adapter/store"
	"github.com/headroom-autoscaler/headroom/dcgm"
	"github.com/headroom-autoscaler/headroom/dcgm/stream"
)

var noon = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

func key(metric string) store.Key {
	return store.Key{Kind: rules.Custom, Namespace: "ns", Resource: podResource, Metric: metric}
}

// desk is a client without a network: streams are spoken into it.
type desk struct {
	*Client
	t   *testing.T
	now time.Time
}

func newDesk(t *testing.T, bound func(node, namespace, pod string) bool, wanted ...string) *desk {
	d := &desk{t: t, now: noon}
	var wants []collect.Want
	for _, name := range wanted {
		k := key(name)
		k.Objects = store.SelectorPrefix + "app=llama" // as an HPA asks
		wants = append(wants, collect.Want{Key: k})
	}
	d.Client = &Client{
		opts: Options{Store: store.New(), Wanted: func() []collect.Want { return wants }, Bound: bound, Log: slog.New(slog.DiscardHandler), Now: func() time.Time { return d.now }},
		own:  newOwn(prometheus.NewRegistry()), began: noon, watched: map[string]*watched{},
	}
	return d
}

// voice is an agent that is spoken for.
type voice struct {
	desk    *desk
	watched *watched
	encoder *stream.Encoder
	reader  *reader
}

// agent adds one whose clock began at start.
func (d *desk) agent(node string, interval time.Duration, start time.Time) *voice {
	v := &voice{desk: d, watched: &watched{client: d.Client, address: node}}
	d.watched[node] = v.watched
	v.open(node, interval, start)
	return v
}

// open begins the stream anew.
func (v *voice) open(node string, interval time.Duration, start time.Time) {
	v.encoder, v.reader = stream.NewEncoder(node, interval, start), newReader(v.desk.began)
}

// say sends a message that has been under way for so long, and returns how long the client thinks it was.
func (v *voice) say(delay time.Duration, readings ...dcgm.PodReading) time.Duration {
	v.desk.t.Helper()
	thought, err := v.reader.take(v.encoder.Update(stream.State{Readings: readings}, v.desk.now.Add(-delay)), v.desk.now)
	if err != nil {
		v.desk.t.Fatal(err)
	}
	v.watched.reader.Store(v.reader)
	return thought
}

func (d *desk) reading(pod string, slice dcgm.Slice, signal dcgm.Signal, value float64, age time.Duration) dcgm.PodReading {
	return dcgm.PodReading{
		Pod: dcgm.Pod{Namespace: "ns", Name: pod, Container: "main"}, Sharing: dcgm.MIG, Basis: dcgm.Own,
		Reading: dcgm.Reading{Slice: slice, Signal: signal, Value: value, At: d.now.Add(-age), Source: dcgm.GPM, Quality: dcgm.Exact},
	}
}

// is what the store says of a pod.
func (d *desk) is(metric, pod string) string {
	view := d.opts.Store.View(key(metric))
	if view == nil {
		return "nothing"
	}
	v, absence := view.Value(pod, d.now)
	if absence != nil {
		return absence.Cause.String()
	}
	return fmt.Sprintf("%.3g, %s old", v.Number, v.Age(d.now).Round(time.Millisecond))
}

func (d *desk) want(metric, pod, want string) {
	d.t.Helper()
	if is := d.is(metric, pod); is != want {
		d.t.Errorf("%s of %s is %q, want %q", metric, pod, is, want)
	}
}

const sm = "gpu_sm_active_ratio"

var (
	one = dcgm.Compute("GPU-a", 1, 0)
	two = dcgm.Compute("GPU-a", 2, 0)
)

func TestAValueAgesByTheAgentsClockAndTheDelay(t *testing.T) {
	d := newDesk(t, nil, sm)
	a := d.agent("n1", time.Second, noon.Add(-time.Hour)) // an hour ago by a clock of its own
	a.say(0, d.reading("a", one, dcgm.SMActive, 0.5, 100*time.Millisecond))
	d.now = d.now.Add(time.Second)
	a.say(0, d.reading("a", one, dcgm.SMActive, 0.6, 100*time.Millisecond))
	d.Deliver(d.now)
	d.want(sm, "a", "0.6, 100ms old")
	d.now = d.now.Add(2900 * time.Millisecond)
	d.Deliver(d.now)
	d.want(sm, "a", "0.6, 3s old")
	d.now = d.now.Add(time.Millisecond)
	d.Deliver(d.now)
	d.want(sm, "a", "stale")
}

func TestAMessageThatLayAboutIsOld(t *testing.T) {
	d := newDesk(t, nil, sm)
	a := d.agent("n1", time.Second, noon.Add(-time.Hour))
	for _, delay := range []time.Duration{0, 0, 2 * time.Second} {
		d.now = d.now.Add(time.Second + delay)
		if thought := a.say(delay, d.reading("a", one, dcgm.SMActive, 0.5, delay+100*time.Millisecond)); thought != delay {
			t.Errorf("a message that was under way for %s is thought to have taken %s", delay, thought)
		}
	}
	d.Deliver(d.now)
	d.want(sm, "a", "0.5, 2.1s old")
}

func TestOnlyWhatIsWantedIsKept(t *testing.T) {
	d := newDesk(t, nil, "gpu_dram_active_ratio", "http_requests")
	a := d.agent("n1", time.Second, noon)
	a.say(0, d.reading("a", one, dcgm.SMActive, 0.5, 0), d.reading("a", one, dcgm.DRAMActive, 0.25, 0))
	d.Deliver(d.now)
	d.want("gpu_dram_active_ratio", "a", "0.25, 0s old")
	if n := d.opts.Store.Keys(); n != 1 {
		t.Errorf("%d keys in the store, want 1", n)
	}
}

func TestABetterQualityComesFirstAndAWorseOnlyWhenItIsStale(t *testing.T) {
	d := newDesk(t, nil, sm)
	a := d.agent("n1", time.Second, noon)
	say := func(quality dcgm.Quality, source dcgm.Source, value float64) {
		d.now = d.now.Add(time.Second)
		r := d.reading("a", one, dcgm.SMActive, value, 0)
		r.Quality, r.Source = quality, source
		a.say(0, r)
		d.Deliver(d.now)
		d.opts.Store.Record(key(sm), store.Source{Name: "dcgm-exporter[0]", Rank: 0}, map[string]store.Reading{"a": store.NewReading(0.31, d.now, 0, d.now)}, store.Terms{MaxStaleness: time.Minute}, d.now)
	}
	say(dcgm.Exact, dcgm.GPM, 0.9)
	d.want(sm, "a", "0.9, 0s old")
	for _, second := range []string{"0.9, 1s old", "0.9, 2s old", "0.9, 3s old", "0.3, 0s old"} {
		say(dcgm.Aggregate, dcgm.DCGMExporter, 0.3)
		d.want(sm, "a", second)
	}
	for _, second := range []string{"0.3, 1s old", "0.3, 2s old", "0.3, 3s old", "0.31, 0s old"} { // a rule knows more than a duty cycle
		say(dcgm.Duty, dcgm.Utilization, 1)
		d.want(sm, "a", second)
	}
	say(dcgm.Exact, dcgm.GPM, 0.8)
	d.want(sm, "a", "0.8, 0s old")
}

func TestAMetricThatNoRuleGives(t *testing.T) {
	d := newDesk(t, nil, sm)
	a := d.agent("n1", time.Second, noon)
	for range 2 { // the collector says so at each round
		d.opts.Store.Fail(key(sm), store.Source{}, &store.Absence{Cause: store.NoRule}, d.now)
		d.opts.Store.Expect(key(sm), nil)
		a.say(0, d.reading("a", one, dcgm.SMActive, 0.5, 0))
		d.Deliver(d.now)
		if !d.opts.Store.View(key(sm)).Answered() {
			t.Error("not answered")
		}
		d.want(sm, "a", "0.5, 0s old")
		d.now = d.now.Add(time.Second)
	}
	d.opts.Store.Fail(key(sm), store.Source{}, &store.Absence{Cause: store.NoRule}, d.now)
	d.want(sm, "a", "0.5, 1s old")
}

func TestNodesThatDisagree(t *testing.T) {
	d := newDesk(t, nil, sm)
	a, b := d.agent("n1", time.Second, noon), d.agent("n2", time.Second, noon)
	a.say(0, d.reading("a", one, dcgm.SMActive, 0.5, 0), d.reading("b", two, dcgm.SMActive, 0.6, 0))
	b.say(0, d.reading("a", dcgm.Compute("GPU-b", 1, 0), dcgm.SMActive, 0.9, 0))
	d.Deliver(d.now)
	d.want(sm, "a", "no sample")
	d.want(sm, "b", "0.6, 0s old")

	d.opts.Bound = func(node, _, pod string) bool { return pod != "a" || node == "n2" }
	d.Deliver(d.now)
	d.want(sm, "a", "0.9, 0s old")
}

func TestAgentsOfTwoIntervals(t *testing.T) {
	d := newDesk(t, nil, sm)
	slow, quick := d.agent("n1", 10*time.Second, noon), d.agent("n2", time.Second, noon)
	slow.say(0, d.reading("a", one, dcgm.SMActive, 0.5, 0))
	quick.say(0, d.reading("b", one, dcgm.SMActive, 0.6, 0))
	d.Deliver(d.now)
	d.now = d.now.Add(3 * time.Second)
	d.want(sm, "b", "0.6, 30s old") // counted so that it ends with the table's limit, which is 30 s
	d.now = d.now.Add(time.Millisecond)
	d.want(sm, "b", "stale")
	d.want(sm, "a", "0.5, 3.001s old")
}

func TestFormulas(t *testing.T) {
	d := newDesk(t, nil)
	part := func(r dcgm.PodReading, container string) dcgm.PodReading {
		r.Basis, r.Sharing, r.Pod.Container = dcgm.Part, dcgm.TimeSliced, container
		return r
	}
	device := func(r dcgm.PodReading) dcgm.PodReading {
		r.Basis, r.Sharing = dcgm.SharedDevice, dcgm.TimeSliced
		return r
	}
	beside := func(r dcgm.PodReading) dcgm.PodReading { r.Pod.Container = "side"; return r }
	corrected := func(r dcgm.PodReading) dcgm.PodReading { r.Quality = dcgm.Corrected; return r }
	sm := func(slice dcgm.Slice, v float64) dcgm.PodReading { return d.reading("a", slice, dcgm.SMActive, v, 0) }
	bytes := func(slice dcgm.Slice, signal dcgm.Signal, v float64) dcgm.PodReading {
		return d.reading("a", slice, signal, v, 0)
	}
	for _, test := range []struct {
		name       string
		readings   []dcgm.PodReading
		want       []string
		incomplete int
	}{
		{"one device", []dcgm.PodReading{sm(one, 0.5)}, []string{"gpu_sm_active_part_ratio 0.5 exact", "gpu_sm_active_ratio 0.5 exact"}, 0},
		{"two devices: their mean, as good as the worse", []dcgm.PodReading{sm(one, 0.5), corrected(sm(two, 0.9))}, []string{"gpu_sm_active_part_ratio 0.7 corrected", "gpu_sm_active_ratio 0.7 corrected"}, 0},
		{"two devices, one of them unknown", []dcgm.PodReading{sm(one, 0.5), bytes(two, dcgm.MemoryUsed, 1)}, nil, 2},
		{"two containers on one device", []dcgm.PodReading{sm(one, 0.5), beside(sm(one, 0.5))}, []string{"gpu_sm_active_part_ratio 0.5 exact", "gpu_sm_active_ratio 0.5 exact"}, 0},
		{"memory of two devices", []dcgm.PodReading{bytes(one, dcgm.MemoryUsed, 30), bytes(one, dcgm.MemoryTotal, 100), bytes(two, dcgm.MemoryUsed, 30), bytes(two, dcgm.MemoryTotal, 20)}, []string{"gpu_memory_used_ratio 0.5 exact"}, 0},
		{"memory without its total", []dcgm.PodReading{bytes(one, dcgm.MemoryUsed, 30)}, nil, 0},
		{"memory of a total of 0", []dcgm.PodReading{bytes(one, dcgm.MemoryUsed, 0), bytes(one, dcgm.MemoryTotal, 0)}, nil, 0},
		{"a shared device and the part of two containers", []dcgm.PodReading{device(sm(one, 0.8)), part(sm(one, 0.1), "x"), part(sm(one, 0.2), "y")}, []string{"gpu_sm_active_part_ratio 0.3 exact", "gpu_sm_active_ratio 0.8 exact"}, 0},
		{"a shared device whose parts are not known", []dcgm.PodReading{device(sm(one, 0.8))}, []string{"gpu_sm_active_ratio 0.8 exact"}, 0},
	} {
		t.Run(test.name, func(t *testing.T) {
			decoder := stream.NewDecoder()
			if err := decoder.Apply(stream.NewEncoder("n", time.Second, noon.Add(-time.Hour)).Update(stream.State{Readings: test.readings}, noon)); err != nil {
				t.Fatal(err)
			}
			made, incomplete := formulas(decoder.Each)
			var got []string
			for i := range made {
				if v, is := made[i].evaluate(); is {
					got = append(got, strings.TrimSpace(fmt.Sprintf("%s %.3g %s", metrics[v.metric].name, v.number, v.quality)))
				}
			}
			slices.Sort(got)
			if diff := cmp.Diff(test.want, got); diff != "" || incomplete != test.incomplete {
				t.Errorf("%d incomplete, want %d; (-want +got):\n%s", incomplete, test.incomplete, diff)
			}
		})
	}
}

func TestLag(t *testing.T) {
	var l lag
	at := func(s float64) time.Duration { return time.Duration(s * float64(time.Second)) }
	for _, step := range []struct {
		name           string
		sent, received float64
		want           float64
	}{
		{"the first has no delay that could be known", 1000, 10, 0},
		{"slower by half a second", 1001, 11.5, 0.5},
		{"quicker than the first", 1002, 11.9, 0},
		{"as slow as the first", 1003, 13, 0.1},
		{"a minute on, the quickest of the last still counts", 1063, 73, 0.1},
		{"and a minute after that no longer", 1123.1, 133.1, 0},
	} {
		if got := l.of(at(step.sent), at(step.received)); (got - at(step.want)).Abs() > time.Microsecond {
			t.Errorf("%s: %s, want %gs", step.name, got, step.want)
		}
	}
}
