package v1alpha1

import (
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// HeadroomStatus is what was decided, from what, and whether it takes effect.
type HeadroomStatus struct {
	// The generation of the spec that this is about.
	// +optional
	ObservedGeneration int64 `json:"observedGeneration,omitempty"`
	// The last valid decision. Older than three minutes it is no longer served.
	// +optional
	Decision *Decision `json:"decision,omitempty"`
	// The demand it was made from; absent while demand is unknown.
	// +optional
	Demand *DemandStatus `json:"demand,omitempty"`
	// The forecast it was made from; absent where there is none.
	// +optional
	Forecast *ForecastStatus `json:"forecast,omitempty"`
	// The lead time in use, and its parts.
	// +optional
	LeadTime *LeadTimeStatus `json:"leadTime,omitempty"`
	// The next window of the calendar to open.
	// +optional
	NextWindow *NextWindow `json:"nextWindow,omitempty"`
	// The target's replicas, as its scale subresource says.
	// +optional
	Replicas int32 `json:"replicas,omitempty"`
	// Those of its pods that are Ready.
	// +optional
	ReadyReplicas int32 `json:"readyReplicas,omitempty"`
	// The target's pods, as a label selector.
	// +optional
	Selector string `json:"selector,omitempty"`
	// What the actuator holds.
	// +optional
	Actuation *ActuationStatus `json:"actuation,omitempty"`
	// Ready, DemandAvailable, ForecastSkilled, FloorEffective.
	// +optional
	// +patchMergeKey=type
	// +patchStrategy=merge
	// +listType=map
	// +listMapKey=type
	Conditions []metav1.Condition `json:"conditions,omitempty" patchStrategy:"merge" patchMergeKey:"type"`
}

// Condition types of a Headroom.
const (
	// ConditionReady is true while decisions are made and given out.
	ConditionReady = "Ready"
	// ConditionDemandAvailable is true while demand is known.
	ConditionDemandAvailable = "DemandAvailable"
	// ConditionForecastSkilled is true while the forecast is better than "as now, give or take".
	ConditionForecastSkilled = "ForecastSkilled"
	// ConditionFloorEffective is true while nothing keeps the floor from the workload.
	ConditionFloorEffective = "FloorEffective"
)

// Decision is how many replicas are to be Ready, and why.
type Decision struct {
	// Replicas that demand needs now.
	Need int32 `json:"need"`
	// Replicas beyond the need.
	Buffer int32 `json:"buffer"`
	// Replicas that the forecast asks for, its reserve included; absent where there is no forecast.
	// +optional
	Forecast *int32 `json:"forecast,omitempty"`
	// Replicas that the calendar asks for within the lead time.
	Schedule int32 `json:"schedule"`
	// Replicas to keep.
	Floor int32 `json:"floor"`
	// Why, as one sentence.
	Reason string `json:"reason"`
	// Why, as one word: what gave the floor.
	Kind string `json:"kind"`
	// When it was made.
	At metav1.Time `json:"at"`
}

// DemandStatus is the demand a decision was made from.
type DemandStatus struct {
	// In the metric's unit.
	Value resource.Quantity `json:"value"`
	// Whether the Ready replicas are saturated, so that demand is this or more.
	// +optional
	Saturated bool `json:"saturated,omitempty"`
	// Ready pods without a sample, counted as the mean of the others.
	// +optional
	FilledPods int32 `json:"filledPods,omitempty"`
	// When it was sampled.
	At metav1.Time `json:"at"`
}

// ForecastStatus is the forecast of the maximum demand over the lead time.
type ForecastStatus struct {
	// How far it looks.
	Horizon metav1.Duration `json:"horizon"`
	// Its quantiles, rising.
	// +listType=map
	// +listMapKey=quantile
	Quantiles []QuantileStatus `json:"quantiles"`
	// When it was made.
	At metav1.Time `json:"at"`
	// How much less its pinball loss was, over some days, than that of "as now, give or take": 0.2 is a fifth less. Absent
	// until it is known.
	// +optional
	Skill *resource.Quantity `json:"skill,omitempty"`
	// How often demand stayed within the quantile in use, over some days. Absent until it is known.
	// +optional
	Coverage *resource.Quantity `json:"coverage,omitempty"`
	// What the floor would be with the forecast, in mode Shadow.
	// +optional
	ShadowFloor *int32 `json:"shadowFloor,omitempty"`
}

// QuantileStatus is one quantile of the maximum demand over the lead time.
type QuantileStatus struct {
	// Such as "0.95".
	Quantile string `json:"quantile"`
	// In the demand metric's unit.
	Value resource.Quantity `json:"value"`
}

// LeadTimeStatus is the lead time in use and its parts.
type LeadTimeStatus struct {
	// In use: the cold start with what comes before it.
	Total metav1.Duration `json:"total"`
	// From a scale-up to its last pod Ready, on nodes that were there.
	// +optional
	Warm *metav1.Duration `json:"warm,omitempty"`
	// The same where a node had to be made.
	// +optional
	NewNode *metav1.Duration `json:"newNode,omitempty"`
	// Until a change of demand is seen: the collection interval and the HPA's period.
	// +optional
	Reaction *metav1.Duration `json:"reaction,omitempty"`
	// Until the HPA's scaleUp policies reach the floor (mode Metric).
	// +optional
	Policies *metav1.Duration `json:"policies,omitempty"`
	// Scale-ups that were seen whole.
	// +optional
	Samples int32 `json:"samples,omitempty"`
	// Scale-ups under way or given up: they are known to take longer than they have.
	// +optional
	Censored int32 `json:"censored,omitempty"`
	// Pods that failed instead of becoming Ready.
	// +optional
	FailedPods int32 `json:"failedPods,omitempty"`
	// Measured, Initial or Fixed.
	// +optional
	Source string `json:"source,omitempty"`
	// The latest scale-ups, for the next leader: when each began (seconds since 1970 in base 36), the seconds it took, and n
	// for a new node, + for one that was never whole, t for one that was told of and not seen.
	// +optional
	Batches string `json:"batches,omitempty"`
}

// NextWindow is the next window of the calendar to open.
type NextWindow struct {
	// Its name, as in spec.prewarm.
	Name string `json:"name"`
	// When it opens: its replicas are Ready then.
	Opens metav1.Time `json:"opens"`
	// When it closes.
	Closes metav1.Time `json:"closes"`
	// Replicas that are Ready while it is open.
	Replicas int32 `json:"replicas"`
	// When the floor begins to rise for it.
	// +optional
	RaisedFrom *metav1.Time `json:"raisedFrom,omitempty"`
}

// ActuationStatus is what the actuator holds.
type ActuationStatus struct {
	// The mode that is in effect: on a change of mode the old one is released first.
	Mode ActuationMode `json:"mode"`
	// The HorizontalPodAutoscaler or ScaledObject whose minimum is held.
	// +optional
	Object string `json:"object,omitempty"`
	// The minimum that its owner wrote.
	// +optional
	UserMinReplicas *int32 `json:"userMinReplicas,omitempty"`
	// The minimum that Headroom wrote last.
	// +optional
	AppliedMinReplicas *int32 `json:"appliedMinReplicas,omitempty"`
	// What a CapacityBuffer was set to.
	// +optional
	CapacityBufferReplicas *int32 `json:"capacityBufferReplicas,omitempty"`
}
