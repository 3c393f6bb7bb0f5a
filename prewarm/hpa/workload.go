package hpa

import "time"

// Workload is the scale target at one sync: its two replica counts and its pods, as counts or as a list.
type Workload struct {
	SpecReplicas   int32 // spec.replicas of the scale subresource
	StatusReplicas int32 // status.replicas: what AverageValue of Object and External metrics divides by
	// Pods are all that the selector matches, whatever their state; Ready those Running and Ready. Only Value targets ask for
	// them. They are counted from List when there is one.
	Pods, Ready int32
	List        []Pod
	// Conflict says that a pod is matched by another HPA too.
	Conflict bool
}

// Pod is what the controller looks at.
type Pod struct {
	Phase        Phase
	Deleting     bool
	Ready        Readiness
	ReadyChanged time.Time // the Ready condition's last transition
	Started      time.Time // status.startTime; zero: none
}

// Reading is one metric's answer at one sync. The zero Reading is a value of 0: absence has to be said.
type Reading struct {
	Absent bool    // the API gave an error or an empty answer
	Value  int64   // Object, and External with one item, in thousandths
	Items  []int64 // External with several items, in thousandths; nil: Value is the one
	// Samples are a per-pod metric's, in the order of Workload.List. Extra are values of pods that the selector does not match:
	// the controller takes them into the average.
	Samples []Sample
	Extra   []int64
	// Tally is a per-pod metric given as sums, in place of Samples and Extra.
	Tally *Tally
}

// Sample is one pod's part of a per-pod metric.
type Sample struct {
	Present bool
	Milli   int64         // the value in thousandths
	At      time.Time     // read for cpu alone
	Window  time.Duration // read for cpu alone
	// RequestMilli is what the pod requests of the resource (of the container that the metric names), in thousandths; below 0:
	// none. Read for Utilization alone, there for pods without a sample too.
	RequestMilli int64
}

// Tally is all that the arithmetic needs of a per-pod metric.
type Tally struct {
	Pods     int32 // that the selector matches, whatever their state
	Sampled  int32 // counted, with a sample
	Missing  int32 // counted, without a sample
	Unready  int32 // Pending; for cpu also those that are not up yet
	Extra    int32 // samples of pods that the selector does not match
	SumMilli int64 // of the samples, those of Extra too (Utilization: without them)

	// For Utilization: the requests of those three, what the missing would use at the target (each rounded down), and whether
	// some pod, of whatever state, has no request.
	RequestMilli, MissingRequestMilli, UnreadyRequestMilli int64
	MissingAtTargetMilli                                   int64
	NoRequest                                              bool
}

// Count is a Tally of pods and their samples (groupPods and calculateRequests in replica_calculator.go). Samples may be shorter
// than pods: the rest have none.
func Count(now time.Time, m Metric, flags Flags, pods []Pod, samples []Sample, extra []int64) Tally {
	t := Tally{Pods: int32(len(pods)), Extra: int32(len(extra))}
	utilization := m.Target == Utilization
	if !utilization {
		for _, v := range extra {
			t.SumMilli += v
		}
	}
	for i := range pods {
		pod := &pods[i]
		sample := Sample{RequestMilli: -1}
		if i < len(samples) {
			sample = samples[i]
		}
		request := int64(0)
		if utilization {
			request = max(0, sample.RequestMilli)
			t.NoRequest = t.NoRequest || sample.RequestMilli < 0
		}
		switch {
		case pod.Deleting || pod.Phase == Failed:
		case pod.Phase == Pending:
			t.Unready++
			t.UnreadyRequestMilli += request
		case !sample.Present:
			t.Missing++
			t.MissingRequestMilli += request
			t.MissingAtTargetMilli += request * max(100, m.TargetMilli) / 100
		case m.CPU && pod.cpuUnready(now, sample, flags):
			t.Unready++
			t.UnreadyRequestMilli += request
		default:
			t.Sampled++
			t.SumMilli += sample.Milli
			t.RequestMilli += request
		}
	}
	return t
}

// cpuUnready says that a pod's cpu is not counted: it is still within the time in which starting burns cpu and is not ready or
// has no whole window of samples since it became so; or it is past that time and has never been ready.
func (p *Pod) cpuUnready(now time.Time, sample Sample, flags Flags) bool {
	if p.Ready == 0 || p.Started.IsZero() {
		return true
	}
	if p.Started.Add(flags.CPUInitializationPeriod).After(now) {
		return p.Ready == NotReady || sample.At.Before(p.ReadyChanged.Add(sample.Window))
	}
	return p.Ready == NotReady && p.Started.Add(flags.InitialReadinessDelay).After(p.ReadyChanged)
}

// pods and ready pods, from the list when there is one.
func (w *Workload) counts() (pods, ready int32) {
	if w.List == nil {
		return w.Pods, w.Ready
	}
	for i := range w.List {
		if w.List[i].Phase == Running && w.List[i].Ready == Ready {
			ready++
		}
	}
	return int32(len(w.List)), ready
}
