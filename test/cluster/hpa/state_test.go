package hpa

import (
	"fmt"
	"math"
	"math/rand/v2"
	"time"

	"github.com/headroom-autoscaler/headroom/prewarm/hpa"
)

// gen makes random HPAs and states that are mostly plausible and sometimes absurd. Values sit on boundaries on purpose.
type gen struct{ *rand.Rand }

func (g gen) chance(oneIn int) bool { return g.IntN(oneIn) == 0 }

func pick[T any](g gen, of ...T) T { return of[g.IntN(len(of))] }

func (g gen) spec() hpa.Spec {
	s := hpa.Spec{MinReplicas: int32(1 + g.IntN(5)), Metrics: g.metrics()}
	s.MaxReplicas = s.MinReplicas + int32(g.IntN(40))
	if g.chance(50) {
		s.MaxReplicas = math.MaxInt32
	}
	for _, m := range s.Metrics {
		if (m.Kind == hpa.Object || m.Kind == hpa.External) && g.chance(3) {
			s.MinReplicas = 0
		}
	}
	s.Behavior = g.behavior()
	return s
}

func (g gen) bounds(s *hpa.Spec) {
	s.MinReplicas = int32(1 + g.IntN(15))
	for _, m := range s.Metrics {
		if (m.Kind == hpa.Object || m.Kind == hpa.External) && g.chance(3) {
			s.MinReplicas = 0
		}
	}
	s.MaxReplicas = max(1, s.MinReplicas) + int32(g.IntN(40))
}

func (g gen) behavior() *hpa.Behavior {
	if g.chance(3) {
		return nil
	}
	return &hpa.Behavior{ScaleUp: g.rules(), ScaleDown: g.rules()}
}

func (g gen) rules() hpa.Rules {
	var r hpa.Rules
	if g.chance(2) {
		w := pick(g, 0, 15, 30, 45, 60, 300, 3600)
		d := time.Duration(w) * time.Second
		r.StabilizationWindow = &d
	}
	if g.chance(2) {
		r.SelectPolicy = pick(g, hpa.SelectMax, hpa.SelectMin, hpa.SelectMin, hpa.SelectMax, hpa.SelectDisabled)
	}
	if g.chance(2) {
		for range 1 + g.IntN(3) {
			r.Policies = append(r.Policies, hpa.Policy{
				Kind:   pick(g, hpa.PodsPolicy, hpa.PercentPolicy),
				Value:  pick(g, 1, 2, 5, 10, 33, 100, 250, int32(1+g.IntN(20))),
				Period: time.Duration(pick(g, 15, 30, 60, 90, 1800, 1+g.IntN(120))) * time.Second,
			})
		}
	}
	if g.chance(2) {
		t := hpa.Tolerance(pick(g, 0, 50, 70, 100, 250, 1000, int64(g.IntN(400))))
		r.Tolerance = &t
	}
	return r
}

// metrics are one to three; of utilizations one at most, so that its requests are the pod's.
func (g gen) metrics() []hpa.Metric {
	var out []hpa.Metric
	utilization, whole := false, map[bool]bool{}
	for i := range pick(g, 1, 1, 1, 2, 3) {
		m := hpa.Metric{Name: fmt.Sprintf("m%d", i), Kind: hpa.MetricKind(1 + g.IntN(5))}
		m.TargetMilli = pick(g, 1, 7, 1000, 3000, 12000, int64(1+g.IntN(50000)))
		switch m.Kind {
		case hpa.Pods:
			m.Target = hpa.AverageValue
		case hpa.Object, hpa.External:
			m.Target = pick(g, hpa.Value, hpa.AverageValue)
		default:
			m.Target, m.CPU = hpa.AverageValue, g.chance(2)
			if m.Kind == hpa.Resource && whole[m.CPU] {
				m.Kind = hpa.ContainerResource // a second one of the same resource would be the same metric
			}
			whole[m.CPU] = whole[m.CPU] || m.Kind == hpa.Resource
			if !utilization && g.chance(2) {
				utilization, m.Target = true, hpa.Utilization
				m.TargetMilli = int64(pick(g, 1, 50, 80, 100, 150, 1+g.IntN(200)))
			}
		}
		out = append(out, m)
	}
	return out
}

// times are where the clock's comparisons turn.
func (g gen) about(now time.Time) time.Time {
	return now.Add(-time.Duration(pick(g, 0, 15, 30, 60, 90, 285, 300, 315, 330, 600, g.IntN(900))) * time.Second)
}

func (g gen) pods(n int) []hpa.Pod { return make([]hpa.Pod, n) }

func (g gen) workload(now time.Time, replicas int32) hpa.Workload {
	n := int(min(replicas, 60))
	if g.chance(4) {
		n = max(0, n+g.IntN(9)-4)
	}
	w := hpa.Workload{SpecReplicas: replicas, StatusReplicas: int32(n), List: g.pods(n)}
	if g.chance(4) {
		w.StatusReplicas = max(0, replicas+int32(g.IntN(5))-2)
	}
	sick := pick(g, 2, 4, 20, 1000) // one pod in so many is in an odd state
	for i := range w.List {
		p := &w.List[i]
		p.Phase, p.Ready = hpa.Running, hpa.Ready
		p.Started, p.ReadyChanged = g.about(now), g.about(now)
		if g.chance(sick) {
			p.Phase = hpa.Phase(1 + g.IntN(5))
		}
		if g.chance(sick) {
			p.Ready = hpa.Readiness(g.IntN(4))
		}
		p.Deleting = g.chance(sick * 3)
		if g.chance(sick * 3) {
			p.Started = time.Time{}
		}
	}
	return w
}

// readings of all metrics, near the target most of the time.
func (g gen) readings(now time.Time, s hpa.Spec, w hpa.Workload) []hpa.Reading {
	out := make([]hpa.Reading, len(s.Metrics))
	failing := pick(g, 3, 20, 20)
	for i, m := range s.Metrics {
		r := &out[i]
		if g.chance(failing) {
			r.Absent = true
			continue
		}
		switch {
		case m.Kind == hpa.Object || m.Kind == hpa.External:
			pods := float64(max(1, w.StatusReplicas))
			if m.Target == hpa.Value {
				pods = 1
			}
			r.Value = g.near(m.TargetMilli, pods)
			if m.Kind == hpa.External && g.chance(3) {
				r.Items = []int64{r.Value}
				for g.chance(2) {
					r.Items = append(r.Items, g.near(m.TargetMilli, 1))
				}
			}
		default:
			g.samples(now, m, w, r)
		}
	}
	return out
}

func (g gen) samples(now time.Time, m hpa.Metric, w hpa.Workload, r *hpa.Reading) {
	missing := pick(g, 3, 10, 1000)
	level := g.level()
	r.Samples = make([]hpa.Sample, len(w.List))
	request, without := pick(g, int64(1000), 250, 100, 1), g.chance(30)
	for i := range r.Samples {
		s := &r.Samples[i]
		s.RequestMilli = request
		if g.chance(10) {
			s.RequestMilli = int64(g.IntN(2000))
		}
		if without && g.chance(5) {
			s.RequestMilli = -1
		}
		s.Present = !g.chance(missing)
		s.At, s.Window = g.about(now), time.Duration(pick(g, 0, 15, 30, 60))*time.Second
		at := float64(m.TargetMilli)
		if m.Target == hpa.Utilization {
			at *= float64(max(s.RequestMilli, 0)) / 100
		}
		s.Milli = int64(at * level)
		if g.chance(4) {
			s.Milli = int64(at * g.level())
		}
		if g.chance(500) {
			s.Milli = pick(g, int64(math.MaxInt64), math.MinInt64, -1000)
		}
	}
	if g.chance(8) {
		for range 1 + g.IntN(3) {
			r.Extra = append(r.Extra, g.near(m.TargetMilli, 1))
		}
	}
}

// level is a ratio of usage to target, often on or beside the edge of a tolerance.
func (g gen) level() float64 {
	switch g.IntN(6) {
	case 0:
		return pick(g, 1, 1.1, 0.9, 1.05, 0.95, 1.07, 0.93, 1.25, 0.75, 2)
	case 1:
		return pick(g, 0.0, 0.0, 0.1, 1.0000001, 0.9999999)
	case 2:
		return 0.85 + 0.3*g.Float64()
	case 3:
		return 4 * g.Float64()
	default:
		return 0.5 + g.Float64()
	}
}

func (g gen) near(target int64, times float64) int64 {
	if g.chance(300) {
		return pick(g, int64(math.MaxInt64), math.MinInt64, -5, math.MaxInt64/2+1, math.MaxInt32*target)
	}
	return int64(float64(target) * times * g.level())
}

// step is how long until the next sync.
func (g gen) step() time.Duration {
	switch g.IntN(8) {
	case 0:
		return time.Duration(g.IntN(60000)) * time.Millisecond
	case 1:
		return pick(g, 0, 1, time.Second, 5*time.Minute, 30*time.Minute, time.Hour)
	default:
		return 15 * time.Second
	}
}
