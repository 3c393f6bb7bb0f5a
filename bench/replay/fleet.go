package replay

import (
	"math"
	"math/rand/v2"
)

// fleet is the pods of one workload. Ready ones are alike and only counted.
type fleet struct {
	ready    int
	starting []pod // in order of creation
	waiting  int   // created, and without a GPU
	gpus     int   // 0: no limit
	next     int   // the first step at which one of starting is Ready

	lead func() int // steps from a GPU to Ready, of the next pod
	// batches is how many steps each raise took until its last pod was Ready, had none been deleted: the lead time that counts.
	batches []int

	created, deleted, failed int

	hazard float64 // failures of one Ready pod per step
	budget float64 // of hazard until the next failure
	random *rand.Rand
}

// pod is one that loads.
type pod struct{ readyAt int }

const never = math.MaxInt

func newFleet(s *Scenario, ready int) *fleet {
	f := &fleet{ready: ready, created: ready, gpus: s.GPUs, next: never, random: rand.New(rand.NewPCG(s.Seed, 0x9e3779b97f4a7c15))}
	if s.GPUs > 0 {
		f.ready = min(ready, s.GPUs)
		f.waiting = ready - f.ready
	}
	f.lead = func() int { return int((s.Lead.draw(f.random) + Step - 1) / Step) }
	if s.Lead.Max == s.Lead.Min && len(s.Lead.Measured) == 0 {
		fixed := int((s.Lead.Min + Step - 1) / Step)
		f.lead = func() int { return fixed }
	}
	f.hazard = s.Fails * stepSeconds / 3600
	f.budget = f.random.ExpFloat64()
	return f
}

// pods is how many there are: what is paid for.
func (f *fleet) pods() int { return f.ready + len(f.starting) + f.waiting }

// mature makes those Ready whose time has come, and lets pods fail.
func (f *fleet) mature(k int) {
	if k >= f.next {
		kept := f.starting[:0]
		f.next = never
		for _, p := range f.starting {
			if p.readyAt <= k {
				f.ready++
				continue
			}
			f.next = min(f.next, p.readyAt)
			kept = append(kept, p)
		}
		f.starting = kept
	}
	if f.hazard > 0 {
		f.fail(k)
	}
	if f.waiting > 0 {
		f.assign(k)
	}
}

// fail takes Ready pods away at an exponential rate; the workload makes new ones at once.
func (f *fleet) fail(k int) {
	f.budget -= f.hazard * float64(f.ready)
	for f.budget < 0 && f.ready > 0 {
		f.budget += f.random.ExpFloat64()
		f.ready--
		f.deleted++
		f.failed++
		f.create(k, 1)
	}
	f.budget = max(f.budget, 0)
}

// assign gives free GPUs to pods that wait for one.
func (f *fleet) assign(k int) {
	free := f.gpus - f.ready - len(f.starting)
	for ; free > 0 && f.waiting > 0; free-- {
		f.waiting--
		f.start(k)
	}
}

// start begins a pod on a GPU and says how many steps it will take.
func (f *fleet) start(k int) int {
	lead := f.lead()
	if lead == 0 {
		f.ready++
		return 0
	}
	f.starting = append(f.starting, pod{readyAt: k + lead})
	f.next = min(f.next, k+lead)
	return lead
}

func (f *fleet) create(k, n int) {
	f.created += n
	longest := 0
	for range n {
		if f.gpus > 0 && f.ready+len(f.starting) >= f.gpus {
			f.waiting++
			continue
		}
		longest = max(longest, f.start(k))
	}
	if longest > 0 {
		f.batches = append(f.batches, longest)
	}
}

// scale brings the number of pods to n, at step k.
func (f *fleet) scale(k, n int) {
	switch excess := f.pods() - n; {
	case excess < 0:
		f.create(k, -excess)
	case excess > 0:
		f.delete(excess)
	}
}

// delete takes pods away in the order of a ReplicaSet: unscheduled, not Ready (the youngest first), Ready.
func (f *fleet) delete(n int) {
	f.deleted += n
	unscheduled := min(n, f.waiting)
	f.waiting -= unscheduled
	n -= unscheduled
	loading := min(n, len(f.starting))
	f.starting = f.starting[:len(f.starting)-loading]
	f.ready -= n - loading
	if loading > 0 {
		f.next = never
		for _, p := range f.starting {
			f.next = min(f.next, p.readyAt)
		}
	}
}
