package hpa

import "fmt"

// MetricKind is where a metric comes from.
type MetricKind uint8

const (
	Pods              MetricKind = iota + 1 // custom.metrics.k8s.io, pod by pod
	Object                                  // custom.metrics.k8s.io, of one object
	External                                // external.metrics.k8s.io, summed
	Resource                                // metrics.k8s.io
	ContainerResource                       // metrics.k8s.io, of one container
)

// TargetKind is what a metric is compared with.
type TargetKind uint8

const (
	Value        TargetKind = iota + 1 // the metric itself; scales the *ready* pods, so pods that load count against it
	AverageValue                       // the metric shared by the replicas
	Utilization                        // per cent of the pods' requests
)

// PolicyKind is the unit of a scaling policy.
type PolicyKind uint8

const (
	PodsPolicy PolicyKind = iota + 1
	PercentPolicy
)

// SelectPolicy says which of several policies counts.
type SelectPolicy uint8

const (
	SelectMax SelectPolicy = iota + 1 // the one that allows the largest change
	SelectMin
	SelectDisabled // no change in this direction
)

// Phase is a pod's phase.
type Phase uint8

const (
	Pending Phase = iota + 1
	Running
	Succeeded // counts as running; the controller makes no difference
	Failed
	UnknownPhase
)

// Readiness is the status of a pod's Ready condition; the zero value says that it has none yet.
type Readiness uint8

const (
	Ready Readiness = iota + 1
	NotReady
	ReadyUnknown
)

// Failure is why a metric gave no proposal; the zero value says that it gave one.
type Failure uint8

const (
	NotRead          Failure = iota + 1 // the metrics API answered with an error or with nothing
	NoPods                              // the selector matches no pod
	NoSamples                           // no pod that counts has a sample
	NoRequest                           // a pod has no request for the resource whose utilization is asked
	NoRequestsAtAll                     // the requests of the pods that count add up to 0
	SelectorConflict                    // a pod is matched by another HPA too
)

// Status is a condition's status; the zero value says that the HPA has no such condition yet.
type Status uint8

const (
	True Status = iota + 1
	False
)

// Reason is a condition's reason, in the controller's own words.
type Reason uint8

const (
	SucceededGetScale Reason = iota + 1
	ReadyForNewScale
	ScaleUpStabilized
	ScaleDownStabilized
	SucceededRescale
	ValidMetricFound
	ScalingDisabled
	AmbiguousSelector
	FailedGetPodsMetric
	FailedGetObjectMetric
	FailedGetExternalMetric
	FailedGetResourceMetric
	FailedGetContainerResourceMetric
	DesiredWithinRange
	TooFewReplicas
	TooManyReplicas
	ScaleUpLimit
	ScaleDownLimit
	ScaledToZero
	NotScaledToZero
)

// Cause is what decided a step.
type Cause uint8

const (
	ByMetrics    Cause = iota + 1 // the metrics, then stabilisation and limits
	AboveMaximum                  // more replicas than maxReplicas: no metric was looked at
	BelowMinimum                  // fewer replicas than minReplicas: no metric was looked at
	AtZero                        // 0 replicas that the HPA did not itself make: it stays off
	Frozen                        // metrics that failed, and nothing that may be done without them
)

var (
	metricKinds  = [...]string{"", "Pods", "Object", "External", "Resource", "ContainerResource"}
	targetKinds  = [...]string{"", "Value", "AverageValue", "Utilization"}
	policyKinds  = [...]string{"", "Pods", "Percent"}
	selections   = [...]string{"", "Max", "Min", "Disabled"}
	phases       = [...]string{"", "Pending", "Running", "Succeeded", "Failed", "Unknown"}
	readinesses  = [...]string{"", "True", "False", "Unknown"}
	failures     = [...]string{"", "the metrics API gave no value", "no pods match the selector", "no pod that counts has a sample", "a pod has no request for the resource", "the pods' requests add up to 0", "another HPA matches the same pods"}
	statuses     = [...]string{"", "True", "False"}
	causes       = [...]string{"", "ByMetrics", "AboveMaximum", "BelowMinimum", "AtZero", "Frozen"}
	reasonsTexts = [...]string{"", "SucceededGetScale", "ReadyForNewScale", "ScaleUpStabilized", "ScaleDownStabilized", "SucceededRescale",
		"ValidMetricFound", "ScalingDisabled", "AmbiguousSelector", "FailedGetPodsMetric", "FailedGetObjectMetric", "FailedGetExternalMetric",
		"FailedGetResourceMetric", "FailedGetContainerResourceMetric", "DesiredWithinRange", "TooFewReplicas", "TooManyReplicas",
		"ScaleUpLimit", "ScaleDownLimit", "ScaledToZero", "NotScaledToZero"}
)

func word[T ~uint8](names []string, v T) string {
	if int(v) < len(names) {
		return names[v]
	}
	return fmt.Sprintf("%T(%d)", v, uint8(v))
}

func (k MetricKind) String() string   { return word(metricKinds[:], k) }
func (k TargetKind) String() string   { return word(targetKinds[:], k) }
func (k PolicyKind) String() string   { return word(policyKinds[:], k) }
func (s SelectPolicy) String() string { return word(selections[:], s) }
func (p Phase) String() string        { return word(phases[:], p) }
func (r Readiness) String() string    { return word(readinesses[:], r) }
func (f Failure) String() string      { return word(failures[:], f) }
func (s Status) String() string       { return word(statuses[:], s) }
func (r Reason) String() string       { return word(reasonsTexts[:], r) }
func (c Cause) String() string        { return word(causes[:], c) }

// failed is the reason that the controller gives for a metric of this kind without a proposal.
func (k MetricKind) failed() Reason {
	switch k {
	case Pods:
		return FailedGetPodsMetric
	case Object:
		return FailedGetObjectMetric
	case External:
		return FailedGetExternalMetric
	case Resource:
		return FailedGetResourceMetric
	default:
		return FailedGetContainerResourceMetric
	}
}
