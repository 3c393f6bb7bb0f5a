package controller

import (
	"fmt"
	"slices"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/types"
)

// A minimum that is put back is an owner's re-applied manifest once, and a program's work when it happens again and again: a
// GitOps controller that heals what it calls drift, or an operator that made the HPA. Each round between two such programs may
// delete pods, so the weaker claim gives way, and that is Headroom's.
const (
	feudWindow = 10 * time.Minute
	feudLimit  = 3 // values put back within the window
	// truce is how long Headroom stays away. After it, it tries once, and a single value put back within the window ends that
	// try. A change of the Headroom's spec ends the truce at once, since somebody has then done something about it.
	truce = time.Hour
)

// feuds remembers who puts values back. It is the leader's memory alone: another leader finds out anew, with at most as many
// writes.
type feuds struct {
	mu sync.Mutex
	of map[types.UID]*feud
}

// feud is the history of one object.
type feud struct {
	putBack    []time.Time // within the window, oldest first
	why        *Problem    // nil: not stopped
	since      time.Time   // of the stop, or of the try after it
	trying     bool        // the truce is over
	generation int64       // of the Headroom when it stopped
}

// stopped says why nothing is written to an object; nil when something may be.
func (f *feuds) stopped(uid types.UID, now time.Time, generation int64) *Problem {
	f.mu.Lock()
	defer f.mu.Unlock()
	one := f.of[uid]
	switch {
	case one == nil || one.why == nil:
		return nil
	case one.generation != generation:
		delete(f.of, uid)
		return nil
	case now.Sub(one.since) >= truce:
		*one = feud{since: now, trying: true}
		return nil
	}
	return one.why
}

// wouldStop says that a value put back now is one too many.
func (f *feuds) wouldStop(uid types.UID, now time.Time) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	one := f.of[uid]
	if one == nil {
		return false
	}
	if one.trying && now.Sub(one.since) < feudWindow {
		return true
	}
	return len(one.recent(now)) >= feudLimit-1
}

// saw notes a value put back that was written over.
func (f *feuds) saw(uid types.UID, now time.Time) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.of == nil {
		f.of = map[types.UID]*feud{}
	}
	for other, one := range f.of { // what is long over: few entries, and only when one is added
		if one.why == nil && len(one.recent(now)) == 0 && now.Sub(one.since) > truce {
			delete(f.of, other)
		}
	}
	one := f.of[uid]
	if one == nil {
		one = &feud{}
		f.of[uid] = one
	}
	one.putBack = append(one.recent(now), now)
}

// stop begins a truce.
func (f *feuds) stop(uid types.UID, now time.Time, generation int64, k kind, b bounds) *Problem {
	f.mu.Lock()
	defer f.mu.Unlock()
	who := "something"
	if b.others != "" {
		who = fmt.Sprintf("something (field manager %q)", b.others)
	}
	why := problem(ForeignOwner,
		"%s puts %s of %s %s back to %d whenever Headroom raises it, so Headroom has stopped. It tries again at %s, or when the spec of this Headroom changes. "+
			"Take %s out of what that program keeps (Argo CD: ignoreDifferences with RespectIgnoreDifferences; Flux: leave it out of the manifest), or use actuation mode Metric.",
		who, k.minField, k.Kind, b.name, k.effective(b.min), now.Add(truce).UTC().Format(time.RFC3339), k.minField)
	f.of[uid] = &feud{why: why, since: now, generation: generation}
	return why
}

// recent are the values put back within the window.
func (f *feud) recent(now time.Time) []time.Time {
	i := slices.IndexFunc(f.putBack, func(at time.Time) bool { return now.Sub(at) < feudWindow })
	if i < 0 {
		return nil
	}
	return slices.Clone(f.putBack[i:])
}
