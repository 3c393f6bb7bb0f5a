package prewarm

import (
	"cmp"
	"slices"
	"time"
)

// TrackerOptions bound what a Tracker remembers.
type TrackerOptions struct {
	// BatchGap is how far apart in their creation two pods of one raise may be. A ReplicaSet creates its pods at 20 a second
	// or faster, and the HPA's next raise comes 15 s later at the soonest: 5 s lies between.
	BatchGap time.Duration
	// GiveUp is the age at which a pod that is not Ready counts as failed. It also bounds the estimate, so it should lie well
	// above the lead time that the object expects.
	GiveUp     time.Duration
	MaxBatches int           // the latest so many count
	MaxAge     time.Duration // and none that is older
}

// DefaultTrackerOptions suit pods that take from seconds to a quarter of an hour.
func DefaultTrackerOptions() TrackerOptions {
	return TrackerOptions{BatchGap: 5 * time.Second, GiveUp: 30 * time.Minute, MaxBatches: 64, MaxAge: 14 * 24 * time.Hour}
}

// PodView is what is seen of one pod of the target at one look.
type PodView struct {
	UID         string
	Created     time.Time
	Node        string    // empty: not scheduled
	NodeCreated time.Time // zero: unknown, and the node counts as one that was there
	Ready       bool
	ReadySince  time.Time // the Ready condition's transition; it moves when a pod loses Ready and gets it back
	Failed      bool      // the phase
	Deleting    bool
}

// Batch is a number of pods that one raise made.
type Batch struct {
	Began    time.Time     // the creation of its first pod
	Took     time.Duration // to the last pod Ready; or, unless Finished, how long it lasted at least
	Pods     int           // Ready or expected to be
	Failed   int           // pods that never will be; they have no part in Took
	NewNode  bool          // a pod of it ran on a node younger than the batch, or waits for a node
	Finished bool
	// Told says that its pods were Ready before the tracker looked, so that Took is what the pods' conditions say: exact, or
	// too long when a pod has lost Ready since. Such batches count only until there are enough others.
	Told bool
}

// Tracker measures how long batches of pods take to become Ready, from looks at the pods that there are. It is not safe for
// concurrent use.
type Tracker struct {
	options TrackerOptions
	pods    map[string]*trackedPod
	open    []*openBatch
	closed  []Batch // in the order in which they closed; never more than MaxBatches
	looked  time.Time
}

type trackedPod struct {
	created time.Time
	fate    fate
	at      time.Time // when fate came; zero: unknown
	told    bool
	waiting bool // not scheduled
	newNode bool
	seen    bool       // in the look that is under way
	batch   *openBatch // nil once that is closed
}

// fate is what became of a pod.
type fate int

const (
	starting fate = iota + 1
	ready
	failed
	gone    // deleted before it was Ready
	before  // Ready before the tracker looked, nobody knows when
	unknown // old and not Ready when the tracker first looked: it may have been Ready before
)

type openBatch struct {
	first, last time.Time // creations
	pods        []*trackedPod
}

// NewTracker has seen nothing yet.
func NewTracker(options TrackerOptions) *Tracker {
	return &Tracker{options: options, pods: map[string]*trackedPod{}}
}

// Update looks at all pods of the target. A pod that is missing has been deleted, so a look must be complete.
func (t *Tracker) Update(now time.Time, views []PodView) {
	views = slices.SortedFunc(slices.Values(views), func(a, b PodView) int {
		return cmp.Or(a.Created.Compare(b.Created), cmp.Compare(a.UID, b.UID))
	})
	for _, v := range views {
		pod, known := t.pods[v.UID]
		if !known {
			pod = &trackedPod{created: v.Created, fate: starting}
			t.pods[v.UID] = pod
			t.join(pod)
		}
		pod.seen = true
		t.look(pod, v, now, !known)
	}
	for uid, pod := range t.pods {
		if !pod.seen {
			if pod.fate == starting {
				pod.fate, pod.at = gone, now
			}
			delete(t.pods, uid) // an open batch still holds it
		}
		pod.seen = false
	}
	t.open = slices.DeleteFunc(t.open, func(b *openBatch) bool { return t.close(b, now) })
	t.looked = now
}

// look takes in what is seen of a pod that has met no fate yet.
func (t *Tracker) look(pod *trackedPod, v PodView, now time.Time, first bool) {
	if pod.fate != starting {
		return
	}
	pod.waiting = v.Node == ""
	switch {
	case v.Ready:
		pod.fate, pod.at = ready, now
		// Ready came between this look and the last: the condition's time is nearer the truth, if it lies there.
		if v.ReadySince.After(t.looked) && !v.ReadySince.After(now) && !v.ReadySince.Before(pod.created) {
			pod.at = v.ReadySince
		} else if first && pod.created.Before(t.looked) || t.looked.IsZero() {
			pod.fate = before
		}
		pod.told = first && (t.looked.IsZero() || pod.created.Before(t.looked))
	case v.Failed:
		pod.fate, pod.at = failed, now
	case v.Deleting:
		pod.fate, pod.at = gone, now
	case now.Sub(pod.created) > t.options.GiveUp && first:
		pod.fate = unknown // it may well have been Ready
	case now.Sub(pod.created) > t.options.GiveUp:
		pod.fate, pod.at = failed, now
	}
	// The node is known at the latest when the pod is Ready.
	pod.newNode = pod.newNode || v.Node != "" && v.NodeCreated.After(pod.batch.first)
}

// join puts a new pod into the batch of the raise that made it.
func (t *Tracker) join(pod *trackedPod) {
	for _, b := range t.open {
		if !pod.created.Before(b.first.Add(-t.options.BatchGap)) && !pod.created.After(b.last.Add(t.options.BatchGap)) {
			b.pods = append(b.pods, pod)
			pod.batch = b
			if pod.created.Before(b.first) {
				b.first = pod.created
			}
			if pod.created.After(b.last) {
				b.last = pod.created
			}
			return
		}
	}
	pod.batch = &openBatch{first: pod.created, last: pod.created, pods: []*trackedPod{pod}}
	t.open = append(t.open, pod.batch)
}

// close turns a batch of which nothing more is to be expected into one that is remembered.
func (t *Tracker) close(b *openBatch, now time.Time) bool {
	if now.Before(b.last.Add(t.options.BatchGap)) {
		return false
	}
	batch, settled, known := b.sum(now)
	if !settled {
		return false
	}
	for _, pod := range b.pods {
		pod.batch = nil
	}
	switch {
	case batch.Pods == 0 && batch.Failed == 0, batch.Pods > 0 && !known: // nothing was learned
		return true
	case batch.Took > t.options.GiveUp+t.options.BatchGap: // no start takes so long: what was told is of a pod that lost Ready later
		return true
	case batch.Told && t.remembers(b):
		return true
	}
	t.remember(batch)
	return true
}

// sum is the batch as it looks at now; settled when every pod has met its fate, known when Took means something.
func (b *openBatch) sum(now time.Time) (batch Batch, settled, known bool) {
	batch = Batch{Began: b.first, Finished: true}
	settled = true
	var lastSeen, readyBefore, lost bool // the batch's end was seen; or lies where nobody looked
	end := b.first
	for _, pod := range b.pods {
		batch.NewNode = batch.NewNode || pod.newNode
		switch pod.fate {
		case starting:
			settled, batch.Finished = false, false
			batch.Pods++
			batch.NewNode = batch.NewNode || pod.waiting // a pod that finds no node waits for one to be made
			end = now
		case ready:
			batch.Pods++
			lastSeen = lastSeen || !pod.told
			if !pod.at.Before(end) {
				end, batch.Told = pod.at, pod.told
			}
		case gone:
			batch.Pods++
			batch.Finished, lastSeen = false, true
			if pod.at.After(end) {
				end = pod.at
			}
		case failed:
			batch.Failed++
		case before:
			batch.Pods++
			readyBefore = true
		case unknown:
			lost = true
		}
	}
	if !settled || !batch.Finished {
		batch.Told = false
	}
	batch.Took = max(0, end.Sub(b.first))
	return batch, settled, !lost && (lastSeen || !readyBefore)
}

func (t *Tracker) remember(batch Batch) {
	if len(t.closed) >= t.options.MaxBatches {
		t.closed = slices.Delete(t.closed, 0, len(t.closed)-t.options.MaxBatches+1)
	}
	t.closed = append(t.closed, batch)
}

// remembers says that a batch whose pods were Ready at the first look is one that was restored: its first pods may be gone.
func (t *Tracker) remembers(b *openBatch) bool {
	const slack = time.Minute
	return slices.ContainsFunc(t.closed, func(c Batch) bool {
		return !c.Began.Before(b.first.Add(-slack)) && !c.Began.After(b.last.Add(t.options.BatchGap))
	})
}

// batches are those that count at now: finished, ended early, and still under way. Told ones only while fewer than enough
// others have finished.
func (t *Tracker) batches(now time.Time, enough int) []Batch {
	var all []Batch
	var seen int
	for _, b := range t.closed {
		if b.Pods > 0 && now.Sub(b.Began) <= t.options.MaxAge {
			all = append(all, b)
			if b.Finished && !b.Told {
				seen++
			}
		}
	}
	if seen >= enough {
		all = slices.DeleteFunc(all, func(b Batch) bool { return b.Told })
	}
	for _, b := range t.open {
		if batch, settled, _ := b.sum(now); !settled {
			all = append(all, batch)
		}
	}
	return all
}

// failed is how many pods of the remembered batches never became Ready.
func (t *Tracker) failed(now time.Time) int {
	var n int
	for _, b := range t.closed {
		if now.Sub(b.Began) <= t.options.MaxAge {
			n += b.Failed
		}
	}
	return n
}
