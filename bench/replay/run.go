package replay

import (
	"fmt"
	"math"
	"time"

	"github.com/headroom-autoscaler/headroom/prewarm/hpa"
)

// beginner is a Floors that wants to see the scenario first.
type beginner interface {
	begin(s *Scenario, signal []float64)
}

// Run lives one policy through a scenario. record, when there is one, is filled in by the minute. It is an error when the scenario
// cannot be, and when the books do not balance, which is a mistake in this package.
func Run(s *Scenario, p Policy, record *Timeline) (Result, error) {
	if err := s.Validate(); err != nil {
		return Result{}, fmt.Errorf("replay: %w", err)
	}
	spec, sources := s.autoscaler(&p)
	scaler, err := hpa.New(spec, s.Flags)
	if err != nil {
		return Result{}, fmt.Errorf("replay %s: %w", p.Name, err)
	}
	signal := s.signal()
	if b, ok := p.Floors.(beginner); ok {
		b.begin(s, signal)
	}
	r := &run{s: s, p: &p, spec: spec, sources: sources, scaler: scaler, signal: signal, readings: make([]hpa.Reading, len(sources)), record: record}
	r.fleet = newFleet(s, r.first())
	r.queue.begin(s)
	r.days = make([]day, (len(s.Offered)-s.ScoreFrom)/stepsPerDay+2)
	r.live()
	return r.result()
}

// run is one run under way.
type run struct {
	s        *Scenario
	p        *Policy
	spec     hpa.Spec
	sources  []Source
	scaler   *hpa.Autoscaler
	signal   []float64
	readings []hpa.Reading
	tally    hpa.Tally
	fleet    *fleet
	queue    queue
	chance   chance
	record   *Timeline

	offered, late, carried float64 // load × steps
	known, steps           int
	podSteps               int
	minutesShort           int
	shortMinute            int // the last minute with a shortfall, so that each counts once
	most                   int
	rescales               int
	startedAtScore         int
	floor                  Floor
	days                   []day
}

type day struct{ offered, late float64 }

// first is how many pods there are when a run begins: what demand takes then, within the HPA's bounds.
func (r *run) first() int {
	for k := r.s.RunFrom; k < len(r.s.Offered); k++ {
		if v := r.s.Offered[k]; v == v {
			return min(max(need(v, r.s.PerReplica), int(r.spec.MinReplicas), 1), int(r.spec.MaxReplicas))
		}
	}
	return max(int(r.spec.MinReplicas), 1)
}

func (r *run) live() {
	s, f := r.s, r.fleet
	now := s.at(s.RunFrom)
	r.shortMinute = -1
	for k := s.RunFrom; k < len(s.Offered); k++ {
		f.mature(k)
		if k == s.ScoreFrom {
			r.startedAtScore = f.created
		}
		r.sync(k, now)
		if k >= s.ScoreFrom {
			r.account(k)
		}
		if r.record != nil {
			r.record.note(s, k, f, r.floor)
		}
		now = now.Add(Step)
	}
}

// sync asks the policy, then the HPA, and scales.
func (r *run) sync(k int, now time.Time) {
	f := r.fleet
	replicas := int32(f.pods())
	if r.p.Floors != nil {
		r.floor = r.p.Floors.At(k, Pods{Ready: f.ready, NotReady: len(f.starting) + f.waiting, Unschedulable: f.waiting})
		if r.p.Actuation == ByMinReplicas {
			r.raiseMinimum()
		}
	}
	for i := range r.sources {
		r.read(i, k, replicas)
	}
	result := r.scaler.Step(now, hpa.Workload{SpecReplicas: replicas, StatusReplicas: replicas, Pods: replicas, Ready: int32(f.ready)}, r.readings)
	if result.Replicas != replicas {
		f.scale(k, int(result.Replicas))
		r.rescales++
	}
}

// raiseMinimum is the actuator in mode MinReplicas: it lowers the minimum only with a valid decision.
func (r *run) raiseMinimum() {
	r.scaler.SetBounds(min(max(r.floor.AtLeast, r.s.HPA.MinReplicas), r.spec.MaxReplicas), r.spec.MaxReplicas)
}

// read fills in metric i as its API would answer.
func (r *run) read(i, k int, replicas int32) {
	reading := &r.readings[i]
	switch source := &r.sources[i]; source.Kind {
	case FloorSource:
		reading.Absent = !r.floor.Valid
		floor := r.floor.AtLeast
		if r.p.Lift {
			floor = hpa.Lift(floor, replicas)
		}
		reading.Value = int64(floor) * 1000
	case ScheduleSource:
		reading.Value = int64(r.floor.Schedule) * 1000
	default:
		v := r.signal[k]
		reading.Absent = v != v
		if reading.Absent {
			return
		}
		m := &r.spec.Metrics[i]
		if m.Target == hpa.Value {
			v /= float64(max(r.fleet.ready, 1)) // a Value is about one replica: it scales those that are Ready
		}
		milli := int64(math.Round(v * source.Scale * 1000))
		switch m.Kind {
		case hpa.Pods:
			r.tally = hpa.Tally{Pods: replicas, Sampled: int32(r.fleet.ready), Missing: int32(len(r.fleet.starting)), Unready: int32(r.fleet.waiting), SumMilli: milli}
			reading.Tally = &r.tally
		case hpa.Resource, hpa.ContainerResource:
			r.resource(m, milli)
			reading.Tally = &r.tally
		default:
			reading.Value = milli
		}
	}
}

// resource is a resource metric that follows demand: the pods' usage is the demand in thousandths, and a pod requests one. What a
// pod uses is what it carries, so usage ends at all of its request: a busy replica does not say how much more is offered.
func (r *run) resource(m *hpa.Metric, milli int64) {
	f := r.fleet
	const request = 1000
	r.tally = hpa.Tally{Pods: int32(f.pods()), Sampled: int32(f.ready), Unready: int32(len(f.starting) + f.waiting), SumMilli: milli}
	if m.Target == hpa.Utilization {
		r.tally.SumMilli = min(milli, int64(f.ready)*request)
		r.tally.RequestMilli = int64(f.ready) * request
		r.tally.UnreadyRequestMilli = int64(r.tally.Unready) * request
	}
}

// account books the step that begins at k.
func (r *run) account(k int) {
	f := r.fleet
	pods := f.pods()
	r.steps++
	r.podSteps += pods
	r.most = max(r.most, pods)
	offered := r.s.Offered[k]
	if offered != offered {
		return
	}
	r.known++
	capacity := float64(f.ready) * r.s.PerReplica
	r.offered += offered
	d := &r.days[(k-r.s.ScoreFrom)/stepsPerDay]
	d.offered += offered
	if short := offered - capacity; short > offered*1e-9 {
		r.late += short
		r.carried += capacity
		d.late += short
		if minute := k / stepsPerMinute; minute != r.shortMinute {
			r.shortMinute = minute
			r.minutesShort++
		}
	} else {
		r.carried += offered
	}
	if rates := r.s.Service.Rate; rates != nil {
		capacity = float64(f.ready) * rates[k]
		if slots := r.s.Service.Slots; slots != nil && r.queue.empty() && offered <= capacity {
			r.queue.byChance(offered)
			r.chance.add(&r.queue.waits, offered, f.ready, rates[k], slots[k])
			return
		}
	}
	r.queue.step(k, offered, capacity)
}
