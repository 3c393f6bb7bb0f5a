package prewarm

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// fleet is a made-up target: pods with the times of what happens to them, seen by looks every 15 s.
type fleet struct {
	pods []fakePod
}

type fakePod struct {
	uid     string
	created time.Time
	ready   time.Duration // after creation; negative: never
	deleted time.Duration // after creation; 0: never
	failed  time.Duration // after creation; 0: never
	node    time.Duration // the node's creation, after the pod's; negative: it was there; 0: none was ever found
	flapped time.Duration // when it lost Ready for a moment, after creation; 0: never
}

func (f *fleet) raise(at time.Time, pods ...fakePod) {
	for _, p := range pods {
		p.uid, p.created = fmt.Sprintf("pod-%d", len(f.pods)), at
		f.pods = append(f.pods, p)
	}
}

func warm(ready time.Duration) fakePod  { return fakePod{ready: ready, node: -time.Hour} }
func fresh(ready time.Duration) fakePod { return fakePod{ready: ready, node: ready / 2} }

func (f *fleet) views(now time.Time) (views []PodView) {
	for _, p := range f.pods {
		age := now.Sub(p.created)
		if age < 0 || p.deleted > 0 && age >= p.deleted {
			continue
		}
		v := PodView{UID: p.uid, Created: p.created, Failed: p.failed > 0 && age >= p.failed}
		if p.node < 0 || p.node > 0 && age >= p.node {
			v.Node, v.NodeCreated = "node", p.created.Add(p.node)
		}
		if p.ready >= 0 && age >= p.ready && !v.Failed {
			v.Ready, v.ReadySince = true, p.created.Add(p.ready)
			if p.flapped > 0 && age >= p.flapped {
				v.ReadySince = p.created.Add(p.flapped)
			}
		}
		views = append(views, v)
	}
	return views
}

const look = 15 * time.Second

func (f *fleet) watch(t *Tracker, from, to time.Time) {
	for now := from; !now.After(to); now = now.Add(look) {
		t.Update(now, f.views(now))
	}
}

func minutes(n float64) time.Duration { return time.Duration(n * float64(time.Minute)) }

func TestTrackerMeasuresBatches(t *testing.T) {
	at := func(m float64) time.Time { return noon.Add(minutes(m)) }
	for _, test := range []struct {
		name   string
		fleet  func(*fleet)
		until  float64 // minutes
		want   []Batch
		failed int
	}{
		{
			name:  "the last pod of a batch counts",
			fleet: func(f *fleet) { f.raise(at(1), warm(minutes(1)), warm(minutes(3)), warm(minutes(2))) },
			until: 10, want: []Batch{{Began: at(1), Took: minutes(3), Pods: 3, Finished: true}},
		},
		{
			name: "two raises of the HPA are two batches, created one by one",
			fleet: func(f *fleet) {
				f.raise(at(1), warm(minutes(1)))
				f.raise(at(1).Add(4*time.Second), warm(minutes(1)))
				f.raise(at(1).Add(8*time.Second), warm(minutes(1)))
				f.raise(at(1).Add(20*time.Second), warm(minutes(1)), warm(minutes(2)))
			},
			until: 10, want: []Batch{
				{Began: at(1), Took: minutes(1) + 8*time.Second, Pods: 3, Finished: true},
				{Began: at(1).Add(20 * time.Second), Took: minutes(2), Pods: 2, Finished: true},
			},
		},
		{
			name: "what a pod does after it was Ready first does not matter",
			fleet: func(f *fleet) {
				f.raise(at(1), fakePod{ready: minutes(1), node: -1, flapped: minutes(4)}, warm(minutes(5)))
			},
			until: 10, want: []Batch{{Began: at(1), Took: minutes(5), Pods: 2, Finished: true}},
		},
		{
			name:  "one pod on a node that had to be made makes it a batch with a new node",
			fleet: func(f *fleet) { f.raise(at(1), warm(minutes(1)), fresh(minutes(6))) },
			until: 10, want: []Batch{{Began: at(1), Took: minutes(6), Pods: 2, Finished: true, NewNode: true}},
		},
		{
			name:  "under way",
			fleet: func(f *fleet) { f.raise(at(8), warm(minutes(1)), warm(minutes(6))) },
			until: 10, want: []Batch{{Began: at(8), Took: minutes(2), Pods: 2}},
		},
		{
			name:  "waiting for a node",
			fleet: func(f *fleet) { f.raise(at(8), warm(minutes(1)), fakePod{ready: -1}) },
			until: 10, want: []Batch{{Began: at(8), Took: minutes(2), Pods: 2, NewNode: true}},
		},
		{
			name: "scaled down before it was whole: at least so long",
			fleet: func(f *fleet) {
				f.raise(at(1), warm(minutes(1)), fakePod{ready: minutes(9), deleted: minutes(4), node: -1})
			},
			until: 10, want: []Batch{{Began: at(1), Took: minutes(4), Pods: 2}},
		},
		{
			name: "a pod that fails is counted apart",
			fleet: func(f *fleet) {
				f.raise(at(1), warm(minutes(2)), fakePod{ready: -1, failed: minutes(4), node: -1})
			},
			until: 10, want: []Batch{{Began: at(1), Took: minutes(2), Pods: 1, Failed: 1, Finished: true}}, failed: 1,
		},
		{
			name:  "a batch that fails whole says nothing of how long one takes",
			fleet: func(f *fleet) { f.raise(at(1), fakePod{ready: -1, failed: minutes(4), node: -1}) },
			until: 10, want: nil, failed: 1,
		},
		{
			name:  "a pod that never gets Ready has failed after half an hour",
			fleet: func(f *fleet) { f.raise(at(1), warm(minutes(2)), fakePod{ready: -1, node: -1}) },
			until: 40, want: []Batch{{Began: at(1), Took: minutes(2), Pods: 1, Failed: 1, Finished: true}}, failed: 1,
		},
		{
			name:  "Ready between two looks: the condition's time",
			fleet: func(f *fleet) { f.raise(at(1).Add(time.Second), warm(2*time.Second)) },
			until: 10, want: []Batch{{Began: at(1).Add(time.Second), Took: 2 * time.Second, Pods: 1, Finished: true}},
		},
		{
			name:  "there before the first look: what the condition says",
			fleet: func(f *fleet) { f.raise(at(-60), warm(minutes(2)), warm(minutes(3))) },
			until: 10, want: []Batch{{Began: at(-60), Took: minutes(3), Pods: 2, Finished: true, Told: true}},
		},
		{
			name: "there before the first look, and it lost Ready since: nothing",
			fleet: func(f *fleet) {
				f.raise(at(-600), fakePod{ready: minutes(2), node: -1, flapped: minutes(500)})
			},
			until: 10, want: nil,
		},
		{
			name:  "under way at the first look: as if it had been watched from the start",
			fleet: func(f *fleet) { f.raise(at(-2), warm(minutes(1)), warm(minutes(4))) },
			until: 10, want: []Batch{{Began: at(-2), Took: minutes(4), Pods: 2, Finished: true}},
		},
		{
			name:  "old and not Ready at the first look: it may have been",
			fleet: func(f *fleet) { f.raise(at(-500), fakePod{ready: minutes(505), node: -1}) },
			until: 10, want: nil,
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			var f fleet
			test.fleet(&f)
			tracker := NewTracker(DefaultTrackerOptions())
			f.watch(tracker, noon, at(test.until))
			got := tracker.batches(at(test.until), 5)
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Errorf("batches (-want +got)\n%s", diff)
			}
			if failed := tracker.failed(at(test.until)); failed != test.failed {
				t.Errorf("%d failed, want %d", failed, test.failed)
			}
		})
	}
}

func TestAPodWithoutATimeIsNotMeasured(t *testing.T) {
	tracker := NewTracker(DefaultTrackerOptions())
	views := []PodView{{UID: "a", Created: noon.Add(-time.Hour), Node: "n", Ready: true}}
	tracker.Update(noon, views)
	tracker.Update(noon.Add(look), nil)     // an informer that forgets a pod
	tracker.Update(noon.Add(2*look), views) // and sees it again
	if got := tracker.batches(noon.Add(2*look), 5); len(got) != 0 {
		t.Errorf("measured %+v", got)
	}
}

func TestLeadTimeOverBatches(t *testing.T) {
	policy := DefaultLeadPolicy()
	policy.Collection = 20 * time.Second
	batches := func(n int, took func(i int) fakePod) *fleet {
		f := &fleet{}
		for i := range n {
			f.raise(noon.Add(time.Duration(10*i)*time.Minute), took(i))
		}
		return f
	}
	for _, test := range []struct {
		name          string
		fleet         *fleet
		until         float64
		policy        func(*LeadPolicy)
		total         time.Duration
		newNode       time.Duration
		source        LeadSource
		reason        string
		warm, onFresh string
	}{
		{
			name: "nothing yet", fleet: &fleet{}, until: 10, total: 4*time.Minute + 35*time.Second, newNode: 4*time.Minute + 35*time.Second, source: LeadInitial,
			reason: "initial 4m0s, until 5 batches have become Ready (0 so far)", warm: "unknown", onFresh: "unknown",
		},
		{
			name: "too few", fleet: batches(4, func(int) fakePod { return warm(minutes(1)) }), until: 60, total: 4*time.Minute + 35*time.Second, newNode: 4*time.Minute + 35*time.Second,
			source: LeadInitial, reason: "initial 4m0s, until 5 batches have become Ready (4 so far)", warm: "1m0s", onFresh: "unknown",
		},
		{
			name: "too few, and the guess is proven too low", fleet: batches(1, func(int) fakePod { return warm(minutes(20)) }), until: 10, total: 10*time.Minute + 35*time.Second, newNode: 10*time.Minute + 35*time.Second,
			source: LeadInitial, reason: "at least 10m0s: a batch of 1 begun at 12:00:00Z is not Ready by then; fewer than 5 batches have become so (0 so far)", warm: "at least 10m0s", onFresh: "unknown",
		},
		{
			name: "enough", fleet: batches(10, func(i int) fakePod { return warm(minutes(1) + time.Duration(i)*15*time.Second) }), until: 110, total: 3*time.Minute + 35*time.Second, newNode: 3*time.Minute + 35*time.Second,
			source: LeadMeasured, reason: "P90 of 10 batches: 3m0s", warm: "3m0s", onFresh: "unknown",
		},
		{
			name: "with the policies of an HPA", fleet: batches(5, func(int) fakePod { return warm(minutes(1)) }), until: 110, policy: func(p *LeadPolicy) { p.Policies = minutes(1) },
			total: 2*time.Minute + 35*time.Second, newNode: 2*time.Minute + 35*time.Second, source: LeadMeasured, reason: "P90 of 5 batches: 1m0s", warm: "1m0s", onFresh: "unknown",
		},
		{
			name: "some wait for a node", fleet: batches(10, func(i int) fakePod {
				if i%3 == 0 {
					return fresh(minutes(7))
				}
				return warm(minutes(1))
			}), until: 110, total: 7*time.Minute + 35*time.Second, newNode: 7*time.Minute + 35*time.Second, source: LeadMeasured, reason: "P90 of 10 batches: 7m0s", warm: "1m0s", onFresh: "7m0s",
		},
		{
			name: "some wait for a node, and spare nodes are kept", fleet: batches(10, func(i int) fakePod {
				if i%3 == 0 {
					return fresh(minutes(7))
				}
				return warm(minutes(1))
			}), until: 110, policy: func(p *LeadPolicy) { p.NodesKept = true }, total: minutes(1) + 35*time.Second, newNode: 7*time.Minute + 35*time.Second, source: LeadMeasured,
			reason: "P90 of 6 batches on nodes that were there: 1m0s", warm: "1m0s", onFresh: "7m0s",
		},
		{
			name: "trouble now", fleet: batches(8, func(i int) fakePod {
				if i >= 6 {
					return warm(minutes(29))
				}
				return warm(minutes(1))
			}), until: 80, total: 20*time.Minute + 35*time.Second, newNode: 20*time.Minute + 35*time.Second, source: LeadMeasured,
			reason: "P90 of 8 batches: at least 20m0s (2 of them not Ready so far)", warm: "at least 20m0s", onFresh: "unknown",
		},
		{
			name: "fixed", fleet: batches(5, func(int) fakePod { return warm(minutes(1)) }), until: 110, policy: func(p *LeadPolicy) { p.Fixed = minutes(3) },
			total: minutes(3), newNode: minutes(3), source: LeadFixed, reason: "set to 3m0s", warm: "1m0s", onFresh: "unknown",
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			tracker := NewTracker(DefaultTrackerOptions())
			until := noon.Add(minutes(test.until))
			test.fleet.watch(tracker, noon, until)
			p := policy
			if test.policy != nil {
				test.policy(&p)
			}
			lead := tracker.LeadTime(until, p)
			if lead.Total() != test.total || lead.NewNodeTotal() != test.newNode || lead.Source != test.source || lead.Reason != test.reason {
				t.Errorf("%v, new node %v, %v: %q\nwant %v, %v, %v: %q", lead.Total(), lead.NewNodeTotal(), lead.Source, lead.Reason, test.total, test.newNode, test.source, test.reason)
			}
			if lead.Warm.String() != test.warm || lead.NewNode.String() != test.onFresh {
				t.Errorf("warm %v, new node %v; want %s, %s", lead.Warm, lead.NewNode, test.warm, test.onFresh)
			}
		})
	}
}

// Twelve pods each Ready within their P90 are all Ready in 28 % of the cases: a batch's P90 is another number.
func TestAP90OfPodsIsNotOneOfBatches(t *testing.T) {
	random := rand.New(rand.NewPCG(6, 6))
	var f fleet
	var pods []time.Duration
	var batches []observation
	for i := range 60 {
		var batch []fakePod
		var last time.Duration
		for range 12 {
			took := minutes(1 + random.ExpFloat64())
			batch, pods, last = append(batch, warm(took)), append(pods, took), max(last, took)
		}
		batches = append(batches, observation{last, true})
		f.raise(noon.Add(minutes(float64(30*i))), batch...)
	}
	until := noon.Add(minutes(60 * 30))
	tracker := NewTracker(DefaultTrackerOptions())
	f.watch(tracker, noon, until)
	lead := tracker.LeadTime(until, DefaultLeadPolicy())
	want, _ := survivalQuantile(batches, 0.9)
	if lead.Pods.Value != want || lead.Pods.Finished != 60 {
		t.Errorf("%+v, want %v of 60", lead.Pods, want)
	}
	slices.Sort(pods)
	perPod := pods[len(pods)*9/10]
	all := 0
	for _, b := range batches {
		if b.took <= perPod {
			all++
		}
	}
	t.Logf("P90 per pod %v, within which %d of 60 batches are Ready; P90 per batch %v", perPod, all, want)
	if all > 30 || want < perPod*3/2 {
		t.Error("the two are alike: this test tests nothing")
	}
}

func TestANewTrackerGoesOnFromTheStatus(t *testing.T) {
	var f fleet
	random := rand.New(rand.NewPCG(7, 7))
	for i := range 12 {
		took := minutes(1 + float64(random.IntN(8))/4)
		f.raise(noon.Add(minutes(float64(20*i))), warm(took), fresh(took+minutes(1)))
	}
	change := noon.Add(minutes(20*11 + 1)) // the last batch is under way
	one := NewTracker(DefaultTrackerOptions())
	f.watch(one, noon, change)
	text := one.Persist()

	other := NewTracker(DefaultTrackerOptions())
	if err := other.Restore(text); err != nil {
		t.Fatal(err)
	}
	until := noon.Add(minutes(400))
	f.watch(one, change.Add(look), until)
	f.watch(other, change.Add(look), until)
	want, got := one.LeadTime(until, DefaultLeadPolicy()), other.LeadTime(until, DefaultLeadPolicy())
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("after a change of leader (-one that stayed +other)\n%s", diff)
	}
	if got.Pods.Finished != 12 {
		t.Errorf("%d batches, want 12: %s", got.Pods.Finished, text)
	}
	if one.Persist() != other.Persist() {
		t.Errorf("%s\n%s", one.Persist(), other.Persist())
	}
}

// What conditions say counts only until there are enough batches that were seen.
func TestToldBatchesGiveWay(t *testing.T) {
	var f fleet
	for i := range 6 {
		f.raise(noon.Add(-minutes(float64(100+10*i))), fakePod{ready: minutes(1), flapped: minutes(25), node: -1})
	}
	for i := range 5 {
		f.raise(noon.Add(minutes(float64(10*i))), warm(minutes(2)))
	}
	tracker := NewTracker(DefaultTrackerOptions())
	f.watch(tracker, noon, noon.Add(minutes(40)))
	if got := tracker.LeadTime(noon.Add(minutes(40)), DefaultLeadPolicy()).Pods; got.Value != minutes(25) {
		t.Errorf("before: %+v", got)
	}
	f.watch(tracker, noon.Add(minutes(40)+look), noon.Add(minutes(60)))
	if got := tracker.LeadTime(noon.Add(minutes(60)), DefaultLeadPolicy()).Pods; got.Value != minutes(2) || got.Finished != 5 {
		t.Errorf("after: %+v", got)
	}
}

func TestTrackerForgets(t *testing.T) {
	options := DefaultTrackerOptions()
	options.MaxAge = 24 * time.Hour
	var f fleet
	for i := range 200 {
		f.raise(noon.Add(minutes(float64(5*i))), fakePod{ready: minutes(1), node: -1, deleted: minutes(3)})
	}
	tracker := NewTracker(options)
	until := noon.Add(minutes(1000))
	f.watch(tracker, noon, until)
	if len(tracker.closed) != options.MaxBatches || len(tracker.pods) != 0 || len(tracker.open) != 0 {
		t.Errorf("%d batches, %d pods and %d open batches are remembered", len(tracker.closed), len(tracker.pods), len(tracker.open))
	}
	if got := tracker.LeadTime(until.Add(25*time.Hour), DefaultLeadPolicy()); got.Source != LeadInitial {
		t.Errorf("a day later: %+v", got)
	}
}

func TestRestoreNamesWhatItCannotRead(t *testing.T) {
	tracker := NewTracker(DefaultTrackerOptions())
	err := tracker.Restore("tabc12:62 nonsense tabd00:412n tabd5k:80+ !:3 tabd5k:-3 tabd5k:999999 tabd5k:3x")
	if err == nil || len(tracker.closed) != 3 {
		t.Fatalf("%v, %d batches", err, len(tracker.closed))
	}
	want := `batch "nonsense": must be BEGAN:SECONDS
batch "!:3": the time before the colon must be seconds since 1970 in base 36
batch "tabd5k:-3": what follows the colon must be whole seconds, then n, + or t
batch "tabd5k:999999": 277h46m39s is longer than a start may take, 30m0s
batch "tabd5k:3x": what follows the colon must be whole seconds, then n, + or t`
	if diff := cmp.Diff(want, err.Error()); diff != "" {
		t.Errorf("error (-want +got)\n%s", diff)
	}
	if got := tracker.Persist(); got != "tabc12:62 tabd00:412n tabd5k:80+" {
		t.Errorf("Persist: %s", got)
	}
}

// What Restore takes in, Persist gives back, and it comes to rest after one round.
func FuzzRestore(f *testing.F) {
	f.Add("tabc12:62 tabd00:412n tabd5k:80+t")
	f.Fuzz(func(t *testing.T, text string) {
		one := NewTracker(DefaultTrackerOptions())
		_ = one.Restore(text) // errors name what was left out; what counts is the rest
		first := one.Persist()
		two := NewTracker(DefaultTrackerOptions())
		if err := two.Restore(first); err != nil {
			t.Fatalf("%q gives %q, which cannot be read: %v", text, first, err)
		}
		if second := two.Persist(); second != first {
			t.Errorf("%q, then %q", first, second)
		}
		if n := len(one.closed); n > one.options.MaxBatches {
			t.Errorf("%d batches", n)
		}
	})
}

func BenchmarkTrackerUpdate(b *testing.B) {
	var f fleet
	for i := range 40 {
		f.raise(noon.Add(minutes(float64(5*i))), warm(minutes(2)))
	}
	tracker := NewTracker(DefaultTrackerOptions())
	f.watch(tracker, noon, noon.Add(minutes(300)))
	now := noon.Add(minutes(300))
	views := f.views(now)
	b.ReportAllocs()
	for b.Loop() {
		now = now.Add(look)
		tracker.Update(now, views)
		tracker.LeadTime(now, DefaultLeadPolicy())
	}
}
