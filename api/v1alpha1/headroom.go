package v1alpha1

import (
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
)

// Headroom keeps pods of one workload ready ahead of its HorizontalPodAutoscaler: a buffer above what demand needs, the
// windows of a calendar, and what a forecast of demand over the measured cold start asks for.
//
// +kubebuilder:object:root=true
// +kubebuilder:subresource:status
// +kubebuilder:resource:shortName=hr,categories=autoscaling
// +kubebuilder:printcolumn:name="Target",type=string,JSONPath=`.spec.scaleTargetRef.name`
// +kubebuilder:printcolumn:name="Demand",type=string,JSONPath=`.status.demand.value`
// +kubebuilder:printcolumn:name="Need",type=integer,JSONPath=`.status.decision.need`
// +kubebuilder:printcolumn:name="Buffer",type=integer,JSONPath=`.status.decision.buffer`
// +kubebuilder:printcolumn:name="Floor",type=integer,JSONPath=`.status.decision.floor`
// +kubebuilder:printcolumn:name="Replicas",type=integer,JSONPath=`.status.replicas`
// +kubebuilder:printcolumn:name="Ready",type=integer,JSONPath=`.status.readyReplicas`
// +kubebuilder:printcolumn:name="Mode",type=string,JSONPath=`.spec.actuation.mode`
// +kubebuilder:printcolumn:name="Reason",type=string,JSONPath=`.status.decision.reason`
// +kubebuilder:printcolumn:name="Effective",type=string,priority=1,JSONPath=`.status.conditions[?(@.type=="FloorEffective")].status`
// +kubebuilder:printcolumn:name="Age",type=date,priority=1,JSONPath=`.metadata.creationTimestamp`
type Headroom struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`

	// What is asked for.
	Spec HeadroomSpec `json:"spec"`
	// What was decided, and why. Written by Headroom alone.
	// +optional
	Status HeadroomStatus `json:"status,omitzero"`
}

// HeadroomList is a list of Headroom objects.
//
// +kubebuilder:object:root=true
type HeadroomList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`
	Items           []Headroom `json:"items"`
}

// HeadroomSpec is what the owner of a workload asks for.
//
// +kubebuilder:validation:XValidation:rule="!(has(self.limits) && has(self.limits.maxReplicas) && has(self.limits.minReplicas)) || self.limits.minReplicas <= self.limits.maxReplicas",message="limits.minReplicas must not be above limits.maxReplicas",fieldPath=".limits.minReplicas"
// +kubebuilder:validation:XValidation:rule="self.actuation.mode != 'ScaledObject' || has(self.actuation.scaledObjectName)",message="mode ScaledObject needs the name of KEDA's ScaledObject",fieldPath=".actuation"
type HeadroomSpec struct {
	// The workload whose pods are kept ready: anything with the scale subresource, in the same namespace. The
	// HorizontalPodAutoscaler that scales it is found by the same reference.
	// +required
	ScaleTargetRef ScaleTargetRef `json:"scaleTargetRef"`

	// The load offered to the workload now, and how much of it one ready replica carries.
	// +required
	Demand Demand `json:"demand"`

	// How long it takes from the decision to add pods to the last of them being Ready.
	// +optional
	// +kubebuilder:default={mode: Auto}
	LeadTime LeadTime `json:"leadTime,omitzero"`

	// The forecast of demand over the lead time. It can add replicas and never takes one away.
	// +optional
	// +kubebuilder:default={mode: On}
	Forecast Forecast `json:"forecast,omitzero"`

	// Replicas beyond what demand needs.
	// +optional
	// +kubebuilder:default={replicas: 2, onForecast: 1}
	Buffer Buffer `json:"buffer,omitzero"`

	// How long the floor stays at its highest before it falls: at least this. Left out: the longer of 5m and the lead time.
	// +optional
	// +kubebuilder:validation:Type=string
	// +kubebuilder:validation:MaxLength=32
	// +kubebuilder:validation:XValidation:rule="self.matches('^([0-9]{1,6}([.][0-9]{1,9})?(ms|s|m|h))+$') && duration(self) >= duration('0s') && duration(self) <= duration('24h')",message="scaleDownHold must be between 0s and 24h, written like 4m30s"
	ScaleDownHold *metav1.Duration `json:"scaleDownHold,omitempty"`

	// Times at which a number of replicas is to be Ready.
	// +optional
	Prewarm *Prewarm `json:"prewarm,omitempty"`

	// Bounds of the floor.
	// +optional
	// +kubebuilder:default={maxGrowth: "2x"}
	Limits Limits `json:"limits,omitzero"`

	// How the floor reaches the workload.
	// +optional
	// +kubebuilder:default={mode: Metric}
	Actuation Actuation `json:"actuation,omitzero"`

	// A CapacityBuffer (autoscaling.x-k8s.io/v1beta1) in the same namespace whose spec.replicas is kept at what the floor
	// will need one new-node lead time from now, beyond what it needs already.
	// +optional
	CapacityBuffer *CapacityBufferRef `json:"capacityBuffer,omitempty"`
}

// ScaleTargetRef names a workload in the same namespace.
type ScaleTargetRef struct {
	// API group and version, such as "apps/v1".
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	APIVersion string `json:"apiVersion"`
	// Kind, such as "Deployment".
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=63
	Kind string `json:"kind"`
	// Name in the namespace of the Headroom.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	Name string `json:"name"`
}

// Demand says where the offered load is measured.
//
// +kubebuilder:validation:XValidation:rule="has(self.metric) != has(self.query)",message="exactly one of metric and query says where demand is measured"
type Demand struct {
	// A metric that this adapter serves.
	// +optional
	Metric *DemandMetric `json:"metric,omitempty"`

	// PromQL that gives one sample: the demand. Refused unless the adapter runs with --allow-queries.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=4096
	Query string `json:"query,omitempty"`

	// What one Ready replica carries, in the metric's unit; above zero.
	// +required
	// +kubebuilder:validation:XValidation:rule="isQuantity(string(self)) && quantity(string(self)).isGreaterThan(quantity('0'))",message="perReplica must be a quantity above 0, such as \"12\" or \"500m\""
	PerReplica resource.Quantity `json:"perReplica"`

	// The share of Ready pods that may lack a sample before demand is unknown. Up to it the missing ones count as the mean
	// of the others. Pods that have been Ready for less than two scrapes do not count.
	// +optional
	// +kubebuilder:default="10%"
	// +kubebuilder:validation:XIntOrString
	// +kubebuilder:validation:XValidation:rule="type(self) == string && self.matches('^(100|[0-9]{1,2})%$')",message="maxMissing must be a percentage between 0% and 100%, such as 10%"
	MaxMissing *intstr.IntOrString `json:"maxMissing,omitempty"`
}

// DemandMetric is a metric of this adapter.
//
// +kubebuilder:validation:XValidation:rule="self.type != 'Pods' || !has(self.selector)",message="a Pods metric is summed over the target's pods and takes no selector; use type External for a metric of another object",fieldPath=".selector"
type DemandMetric struct {
	// Its name, as in discovery.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	Name string `json:"name"`
	// Pods: a custom metric, summed over the target's Ready pods. External: an external metric, its items summed.
	// +optional
	// +kubebuilder:default=Pods
	Type DemandType `json:"type,omitempty"`
	// Which of an external metric's series are meant.
	// +optional
	Selector *metav1.LabelSelector `json:"selector,omitempty"`
}

// DemandType says which of the metrics APIs a demand metric belongs to.
//
// +kubebuilder:validation:Enum=Pods;External
type DemandType string

// The types of demand metrics.
const (
	PodsDemand     DemandType = "Pods"
	ExternalDemand DemandType = "External"
)

// LeadTime says how the time from decision to Ready is known.
//
// +kubebuilder:validation:XValidation:rule="self.mode != 'Fixed' || has(self.value)",message="mode Fixed needs value"
// +kubebuilder:validation:XValidation:rule="self.mode != 'Auto' || !has(self.value)",message="value belongs to mode Fixed; with Auto, initial is used until enough scale-ups were seen"
type LeadTime struct {
	// Auto: measured on this workload's own scale-ups. Fixed: value.
	// +optional
	// +kubebuilder:default=Auto
	Mode LeadTimeMode `json:"mode,omitempty"`
	// Auto: the percentile, over scale-ups, of the time until the last pod of one is Ready.
	// +optional
	// +kubebuilder:default=90
	// +kubebuilder:validation:Minimum=50
	// +kubebuilder:validation:Maximum=99
	Percentile int32 `json:"percentile,omitempty"`
	// Auto: the lead time until enough scale-ups were seen.
	// +optional
	// +kubebuilder:default="4m"
	// +kubebuilder:validation:Type=string
	// +kubebuilder:validation:MaxLength=32
	// +kubebuilder:validation:XValidation:rule="self.matches('^([0-9]{1,6}([.][0-9]{1,9})?(ms|s|m|h))+$') && duration(self) >= duration('1s') && duration(self) <= duration('2h')",message="leadTime.initial must be between 1s and 2h, written like 4m30s"
	Initial metav1.Duration `json:"initial,omitzero"`
	// Fixed: the lead time.
	// +optional
	// +kubebuilder:validation:Type=string
	// +kubebuilder:validation:MaxLength=32
	// +kubebuilder:validation:XValidation:rule="self.matches('^([0-9]{1,6}([.][0-9]{1,9})?(ms|s|m|h))+$') && duration(self) >= duration('1s') && duration(self) <= duration('2h')",message="leadTime.value must be between 1s and 2h, written like 4m30s"
	Value *metav1.Duration `json:"value,omitempty"`
}

// LeadTimeMode says where the lead time comes from.
//
// +kubebuilder:validation:Enum=Auto;Fixed
type LeadTimeMode string

// The modes of the lead time.
const (
	LeadTimeAuto  LeadTimeMode = "Auto"
	LeadTimeFixed LeadTimeMode = "Fixed"
)

// Forecast says what the forecast may do.
type Forecast struct {
	// On: the forecast raises the floor. Shadow: it is computed and shown, and the floor is what it would be without. Off.
	// +optional
	// +kubebuilder:default=On
	Mode ForecastMode `json:"mode,omitempty"`
	// How much being short is to be avoided.
	// +optional
	// +kubebuilder:default={quantile: "0.95"}
	Risk Risk `json:"risk,omitzero"`
	// How much history of demand is read back from Prometheus when Headroom starts.
	// +optional
	// +kubebuilder:default="336h"
	// +kubebuilder:validation:Type=string
	// +kubebuilder:validation:MaxLength=32
	// +kubebuilder:validation:XValidation:rule="self.matches('^([0-9]{1,6}([.][0-9]{1,9})?(ms|s|m|h))+$') && duration(self) >= duration('1h') && duration(self) <= duration('1440h')",message="forecast.history must be between 1h and 1440h (60 days), written like 336h"
	History metav1.Duration `json:"history,omitzero"`
	// The time zone of the demand's day and week, as an IANA name. Left out: that of prewarm, else UTC.
	// +optional
	// +kubebuilder:validation:MaxLength=64
	TimeZone string `json:"timeZone,omitempty"`
}

// ForecastMode says what the forecast may do.
//
// +kubebuilder:validation:Enum=On;Shadow;Off
type ForecastMode string

// The modes of the forecast.
const (
	ForecastOn     ForecastMode = "On"
	ForecastShadow ForecastMode = "Shadow"
	ForecastOff    ForecastMode = "Off"
)

// Risk is one of two ways to say the quantile of the maximum demand over the lead time.
//
// +kubebuilder:validation:XValidation:rule="has(self.quantile) != has(self.costRatio)",message="exactly one of quantile and costRatio"
type Risk struct {
	// The quantile itself, from 0.5 to 0.995, such as "0.95".
	// +optional
	// +kubebuilder:validation:MaxLength=16
	// +kubebuilder:validation:XValidation:rule="self.matches('^0?[.][0-9]+$') && double(self) >= 0.5 && double(self) <= 0.995",message="risk.quantile must be between 0.5 and 0.995, written like \"0.95\""
	Quantile string `json:"quantile,omitempty"`
	// What a replica-minute too few costs, in replica-minutes too many, from 1 to 199, such as "50". The quantile is
	// ratio/(ratio+1), that of the newsvendor.
	// +optional
	// +kubebuilder:validation:MaxLength=16
	// +kubebuilder:validation:XValidation:rule="self.matches('^[0-9]+([.][0-9]+)?$') && double(self) >= 1.0 && double(self) <= 199.0",message="risk.costRatio must be between 1 and 199, such as \"50\""
	CostRatio string `json:"costRatio,omitempty"`
}

// Buffer is what is kept beyond the need.
type Buffer struct {
	// Replicas beyond what demand needs now: the 2 of N+2.
	// +optional
	// +kubebuilder:default=2
	// +kubebuilder:validation:Minimum=0
	// +kubebuilder:validation:Maximum=1000
	Replicas *int32 `json:"replicas,omitempty"`
	// Replicas beyond what the forecast says, for those that fail.
	// +optional
	// +kubebuilder:default=1
	// +kubebuilder:validation:Minimum=0
	// +kubebuilder:validation:Maximum=1000
	OnForecast *int32 `json:"onForecast,omitempty"`
}

// Prewarm is the calendar.
type Prewarm struct {
	// The IANA time zone of schedules and exceptions, such as "Europe/Berlin".
	// +optional
	// +kubebuilder:default=UTC
	// +kubebuilder:validation:MaxLength=64
	TimeZone string `json:"timeZone,omitempty"`
	// Windows, recurring or one-off. Where several are open the largest counts.
	// +required
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=100
	// +listType=map
	// +listMapKey=name
	Windows []Window `json:"windows"`
	// Dates (YYYY-MM-DD, in the time zone) on which no recurring window starts.
	// +optional
	// +kubebuilder:validation:MaxItems=400
	// +listType=set
	// +kubebuilder:validation:items:MaxLength=32
	// +kubebuilder:validation:items:XValidation:rule="self.matches('^[0-9]{4}-(0[1-9]|1[0-2])-(0[1-9]|[12][0-9]|3[01])$')",message="an exception is a date such as 2026-12-25"
	Exceptions []string `json:"exceptions,omitempty"`
}

// Window is a time in which a number of replicas is Ready, from its start on.
//
// +kubebuilder:validation:XValidation:rule="has(self.schedule) != has(self.from)",message="a window is either recurring (schedule and duration) or one-off (from and until)"
// +kubebuilder:validation:XValidation:rule="has(self.schedule) == has(self.duration)",message="schedule and duration belong together"
// +kubebuilder:validation:XValidation:rule="has(self.from) == has(self.until)",message="from and until belong together"
// +kubebuilder:validation:XValidation:rule="!has(self.from) || !has(self.until) || self.from < self.until",message="until must be later than from"
// +kubebuilder:validation:XValidation:rule="!has(self.maxReplicas) || self.maxReplicas >= self.replicas",message="maxReplicas must not be below replicas",fieldPath=".maxReplicas"
type Window struct {
	// What reasons and status call it.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=63
	Name string `json:"name"`
	// When it starts, as a cron expression of five fields: minute, hour, day of month, month, day of week.
	// +optional
	// +kubebuilder:validation:MaxLength=256
	// +kubebuilder:validation:XValidation:rule="self.matches('^[^ @]+( +[^ ]+){4}$')",message="schedule must have five fields (minute, hour, day of month, month, day of week), such as \"30 8 * * 1-5\""
	Schedule string `json:"schedule,omitempty"`
	// How long it stays open.
	// +optional
	// +kubebuilder:validation:Type=string
	// +kubebuilder:validation:MaxLength=32
	// +kubebuilder:validation:XValidation:rule="self.matches('^([0-9]{1,6}([.][0-9]{1,9})?(ms|s|m|h))+$') && duration(self) > duration('0s') && duration(self) <= duration('8784h')",message="duration must be above 0s and at most 8784h (366 days), written like 9h30m"
	Duration *metav1.Duration `json:"duration,omitempty"`
	// When it starts, once (RFC 3339).
	// +optional
	From *metav1.Time `json:"from,omitempty"`
	// When it ends, once (RFC 3339).
	// +optional
	Until *metav1.Time `json:"until,omitempty"`
	// Replicas that are Ready while it is open.
	// +required
	// +kubebuilder:validation:Minimum=0
	// +kubebuilder:validation:Maximum=100000
	Replicas int32 `json:"replicas"`
	// The most that Headroom asks for while it is open. It bounds Headroom's floor alone, not the HPA.
	// +optional
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=100000
	MaxReplicas *int32 `json:"maxReplicas,omitempty"`
	// The replicas come one by one over this time, which ends at the window's start.
	// +optional
	// +kubebuilder:validation:Type=string
	// +kubebuilder:validation:MaxLength=32
	// +kubebuilder:validation:XValidation:rule="self.matches('^([0-9]{1,6}([.][0-9]{1,9})?(ms|s|m|h))+$') && duration(self) >= duration('0s') && duration(self) <= duration('24h')",message="ramp must be between 0s and 24h, written like 4m30s"
	Ramp *metav1.Duration `json:"ramp,omitempty"`
}

// Limits bound the floor.
type Limits struct {
	// The least. Left out: the HPA's minReplicas as its owner wrote it.
	// +optional
	// +kubebuilder:validation:Minimum=0
	// +kubebuilder:validation:Maximum=100000
	MinReplicas *int32 `json:"minReplicas,omitempty"`
	// The most. Left out: the HPA's maxReplicas.
	// +optional
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=100000
	MaxReplicas *int32 `json:"maxReplicas,omitempty"`
	// While the Ready replicas are saturated, demand is only known to be at least what they carry; the need is then at least
	// this many times their number. From "1x" to "10x".
	// +optional
	// +kubebuilder:default="2x"
	// +kubebuilder:validation:MaxLength=8
	// +kubebuilder:validation:XValidation:rule="self.matches('^[0-9]+([.][0-9]+)?x$') && double(self.replace('x', '')) >= 1.0 && double(self.replace('x', '')) <= 10.0",message="maxGrowth must be between 1x and 10x, such as 2x"
	MaxGrowth string `json:"maxGrowth,omitempty"`
	// Whether the floor stops rising while pods are Pending for want of GPUs. Those Pending pods are what makes a node
	// autoscaler add nodes, so: only where there is none.
	// +optional
	StopWhenUnschedulable bool `json:"stopWhenUnschedulable,omitempty"`
}

// Actuation says how the floor reaches the workload.
//
// +kubebuilder:validation:XValidation:rule="self.mode == 'Metric' || !has(self.deadband) || self.deadband == 'None'",message="deadband: Lift belongs to mode Metric; the other modes are not subject to the HPA's tolerance",fieldPath=".deadband"
// +kubebuilder:validation:XValidation:rule="self.mode == 'ScaledObject' || !has(self.scaledObjectName)",message="scaledObjectName belongs to mode ScaledObject",fieldPath=".scaledObjectName"
type Actuation struct {
	// Metric: the HPA lists headroom_replicas and headroom_schedule_replicas. MinReplicas: the HPA's minReplicas is raised.
	// ScaledObject: minReplicaCount of KEDA's ScaledObject is raised. None: nothing is touched (shadow).
	// +optional
	// +kubebuilder:default=Metric
	Mode ActuationMode `json:"mode,omitempty"`
	// Metric only. Lift: a floor above the present replicas is served as at least ⌊1.1 × replicas⌋ + 1, so that an HPA with the
	// default tolerance acts on it. For clusters whose HPA has no tolerance field (Kubernetes below 1.35).
	// +optional
	// +kubebuilder:default=None
	Deadband Deadband `json:"deadband,omitempty"`
	// ScaledObject only: its name, in the same namespace.
	// +optional
	// +kubebuilder:validation:MaxLength=253
	ScaledObjectName string `json:"scaledObjectName,omitempty"`
}

// ActuationMode is a way for the floor to reach the workload.
//
// +kubebuilder:validation:Enum=Metric;MinReplicas;ScaledObject;None
type ActuationMode string

// The ways for the floor to reach the workload.
const (
	ActuateMetric       ActuationMode = "Metric"
	ActuateMinReplicas  ActuationMode = "MinReplicas"
	ActuateScaledObject ActuationMode = "ScaledObject"
	ActuateNone         ActuationMode = "None"
)

// Deadband says how a floor inside the HPA's tolerance is served.
//
// +kubebuilder:validation:Enum=None;Lift
type Deadband string

// The ways to serve a floor inside the HPA's tolerance.
const (
	DeadbandNone Deadband = "None"
	DeadbandLift Deadband = "Lift"
)

// CapacityBufferRef names a CapacityBuffer in the same namespace.
type CapacityBufferRef struct {
	// Its name.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	Name string `json:"name"`
}
