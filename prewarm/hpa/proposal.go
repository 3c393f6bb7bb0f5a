package hpa

import (
	"math"
	"time"
)

// The conversions from float to integer and the integer divisions below are the controller's, place by place: where they round,
// wrap or lose bits, so does it. Formulas: pkg/controller/podautoscaler/replica_calculator.go and metrics/utilization.go.

// tolerances are the ratios, usage to target, between which nothing is done; both ends belong to it.
type tolerances struct{ low, high float64 }

func (t tolerances) within(ratio float64) bool { return t.low <= ratio && ratio <= t.high }

// Propose computes what metric i of the spec alone asks for, before windows, rates and bounds. It changes nothing.
func (a *Autoscaler) Propose(now time.Time, i int, w Workload, r Reading) (int32, Failure) {
	return a.propose(now, &a.spec.Metrics[i], &w, &r)
}

func (a *Autoscaler) propose(now time.Time, m *Metric, w *Workload, r *Reading) (int32, Failure) {
	if r.Absent {
		return 0, NotRead
	}
	if m.perPod() {
		if r.Tally != nil {
			return a.proposePerPod(m, w.SpecReplicas, r.Tally)
		}
		t := Count(now, *m, a.flags, w.List, r.Samples, r.Extra)
		return a.proposePerPod(m, w.SpecReplicas, &t)
	}
	if m.Target == AverageValue {
		return a.proposeAverage(m, w.StatusReplicas, r)
	}
	return a.proposeValue(m, w, r)
}

// proposeAverage divides one number among the replicas, ready or not.
func (a *Autoscaler) proposeAverage(m *Metric, statusReplicas int32, r *Reading) (int32, Failure) {
	usage := r.Value
	if m.Kind == External {
		usage = sumShared(r)
	}
	// At 0 replicas the ratio is +Inf or NaN, which is never within.
	ratio := float64(usage) / (float64(m.TargetMilli) * float64(statusReplicas))
	if a.tolerance.within(ratio) {
		return statusReplicas, 0
	}
	want := math.Ceil(float64(usage) / float64(m.TargetMilli))
	if m.Kind == External && want > math.MaxInt32 {
		return math.MaxInt32, 0 // an Object metric has no such guard
	}
	return int32(want), 0
}

// proposeValue scales the ready pods by the ratio.
func (a *Autoscaler) proposeValue(m *Metric, w *Workload, r *Reading) (int32, Failure) {
	usage := r.Value
	if m.Kind == External {
		usage = sumWhole(r)
	}
	ratio := float64(usage) / float64(m.TargetMilli)
	if w.SpecReplicas == 0 {
		return int32(math.Ceil(ratio)), 0
	}
	if a.tolerance.within(ratio) {
		return w.SpecReplicas, 0
	}
	pods, ready := w.counts()
	if pods == 0 {
		return 0, NoPods
	}
	want := ratio * float64(ready)
	if want > math.MaxInt32 {
		return math.MaxInt32, 0
	}
	return int32(math.Ceil(want)), 0
}

// sumShared adds the items up; a sum below 0 counts as an overflow, whatever made it.
func sumShared(r *Reading) int64 {
	if r.Items == nil {
		if r.Value < 0 {
			return math.MaxInt64
		}
		return r.Value
	}
	usage := int64(0)
	for _, v := range r.Items {
		if usage += v; usage < 0 {
			return math.MaxInt64
		}
	}
	return usage
}

// sumWhole adds the items up and stops at the largest number.
func sumWhole(r *Reading) int64 {
	if r.Items == nil {
		return r.Value
	}
	usage := int64(0)
	for _, v := range r.Items {
		if v > 0 && usage > math.MaxInt64-v {
			return math.MaxInt64
		}
		usage += v
	}
	return usage
}

// proposePerPod averages over pods. Those without a sample count so that they damp: at the target on the way down, at 0 on the
// way up; a move that they turn round is no move.
func (a *Autoscaler) proposePerPod(m *Metric, current int32, t *Tally) (int32, Failure) {
	entries := t.Sampled + t.Extra
	switch {
	case t.Pods == 0:
		return 0, NoPods
	case entries == 0:
		return 0, NoSamples
	case m.Target == Utilization && t.NoRequest:
		return 0, NoRequest
	case m.Target == Utilization && t.RequestMilli == 0:
		return 0, NoRequestsAtAll
	}
	sum, requests := t.SumMilli, t.RequestMilli
	ratio := m.ratio(sum, requests, entries)
	upWithUnready := t.Unready > 0 && ratio > 1
	if !upWithUnready && t.Missing == 0 {
		if a.tolerance.within(ratio) {
			return current, 0
		}
		return int32(math.Ceil(ratio * float64(t.Sampled))), 0
	}
	if t.Missing > 0 && ratio != 1 {
		entries += t.Missing
		requests += t.MissingRequestMilli
		if ratio < 1 {
			if m.Target == Utilization {
				sum += t.MissingAtTargetMilli
			} else {
				sum += int64(t.Missing) * m.TargetMilli
			}
		}
	}
	if upWithUnready {
		entries += t.Unready
		requests += t.UnreadyRequestMilli
	}
	damped := m.ratio(sum, requests, entries)
	if a.tolerance.within(damped) || ratio < 1 && damped > 1 || ratio > 1 && damped < 1 {
		return current, 0
	}
	want := int32(math.Ceil(damped * float64(entries)))
	if damped < 1 && want > current || damped > 1 && want < current {
		return current, 0
	}
	return want, 0
}

// ratio is usage to target; the average and the per cent are rounded down to integers first.
func (m *Metric) ratio(sum, requests int64, entries int32) float64 {
	if m.Target == Utilization {
		return float64(int32(sum*100/requests)) / float64(int32(m.TargetMilli))
	}
	return float64(sum/int64(entries)) / float64(m.TargetMilli)
}
