package app

import (
	"errors"
	"fmt"
	"time"

	autoscalingv2 "k8s.io/api/autoscaling/v2"

	"github.com/headroom-autoscaler/headroom/api/v1alpha1"
	"github.com/headroom-autoscaler/headroom/bench/replay"
	"github.com/headroom-autoscaler/headroom/prewarm"
	"github.com/headroom-autoscaler/headroom/prewarm/hpa"
	"github.com/headroom-autoscaler/headroom/prewarm/manifest"
)

// ask makes the question of the manifests, the traffic and the options. The notes say what was assumed.
func ask(o Options, autoscaler *autoscalingv2.HorizontalPodAutoscaler, hr *v1alpha1.Headroom, found traffic) (*replay.Question, []string, error) {
	spec := manifest.Autoscaler(autoscaler)
	if len(spec.Metrics) == 0 {
		return nil, nil, fmt.Errorf("HPA %s lists no metric, so nothing follows demand: add one, such as a Pods metric of requests per second with an averageValue", autoscaler.Name)
	}
	if err := spec.Validate(); err != nil {
		return nil, nil, fmt.Errorf("HPA %s: %w", autoscaler.Name, err)
	}
	policy, err := manifest.Policy(&hr.Spec, spec.MinReplicas, spec.MaxReplicas)
	if err != nil {
		return nil, nil, fmt.Errorf("the Headroom %s: %w", hr.Name, err)
	}
	policy.Unit = found.unit
	calendar, err := manifest.Calendar(hr.Spec.Prewarm)
	if err != nil {
		return nil, nil, fmt.Errorf("the Headroom %s: spec.prewarm: %w", hr.Name, err)
	}
	q := &replay.Question{Series: found.series, Policy: policy, Calendar: calendar, Lead: leadPolicy(&hr.Spec), Sweep: o.Sweep}
	q.SLO, _ = o.slo() // Validate has read it before
	if q.Zone, err = zoneOf(o, &hr.Spec); err != nil {
		return nil, nil, err
	}
	var notes []string
	q.Actuation, q.Lift, notes = actuationOf(hr, autoscaler)
	scenario, more, err := scenarioOf(o, spec, hr, found)
	if err != nil {
		return nil, nil, err
	}
	q.Scenario = scenario
	notes = append(notes, more...)
	if err := q.Scenario.Validate(); err != nil {
		return nil, nil, err
	}
	return q, notes, nil
}

func scenarioOf(o Options, spec hpa.Spec, hr *v1alpha1.Headroom, found traffic) (replay.Scenario, []string, error) {
	var s replay.Scenario
	offered, err := replay.Offered(found.series)
	if err != nil {
		return s, nil, err
	}
	warm, note, err := warmUpOf(found.series, o.Warmup)
	if err != nil {
		return s, nil, err
	}
	var notes []string
	if note != "" {
		notes = append(notes, note)
	}
	lead, err := readLeadTimes(o.LeadTime)
	if err != nil {
		return s, nil, err
	}
	if len(o.measured.Measured) > 0 {
		lead = o.measured
		notes = append(notes, fmt.Sprintf("lead times are those of the %d scale-ups in the Headroom's status", len(lead.Measured)))
	}
	perReplica := hr.Spec.Demand.PerReplica.AsApproximateFloat64()
	s = replay.Scenario{Start: found.series.Start, Offered: offered, ScoreFrom: int(warm / replay.Step), PerReplica: perReplica, Flags: hpa.DefaultFlags(),
		Signal: replay.Signal{Window: o.Window, Delay: o.Delay}, Lead: lead, GPUs: o.GPUs, Fails: o.Failures, Seed: o.Seed, Patience: o.Patience}
	s.RunFrom = max(0, s.ScoreFrom-int(runIn/replay.Step))
	var more []string
	s.HPA, s.Sources, more = sourcesOf(spec, hr)
	notes = append(notes, more...)
	sense, err := units(scoredMean(offered[s.ScoreFrom:]), &s, found)
	if sense != "" {
		notes = append(notes, sense)
	}
	return s, notes, err
}

// units looks whether the traffic can be in the unit of perReplica at all.
func units(mean float64, s *replay.Scenario, found traffic) (note string, err error) {
	if mean == 0 {
		return "", errors.New("the traffic that would be scored is zero throughout, or unknown: is it the right column or query?")
	}
	takes, most := mean/s.PerReplica, float64(s.HPA.MaxReplicas)
	text := fmt.Sprintf("the mean load of %.4g %s takes %.4g replicas of %.4g each, and the HPA's maximum is %g", mean, found.unit, takes, s.PerReplica, most)
	switch {
	case takes > 3*most:
		return "", errors.New(text + ": is the traffic in another unit than perReplica? Counts are divided by the seconds of a row; --gauge leaves levels as they are; else correct demand.perReplica")
	case takes > most:
		return text + ": much of it can never be in time", nil
	case takes < 0.1:
		return text + ": so little that one replica is always enough; is the traffic in the unit of perReplica?", nil
	}
	return "", nil
}

// sourcesOf says where each of the HPA's metrics is read in a replay. Of the world there is the demand alone, so a metric that is
// not Headroom's is taken to follow it.
func sourcesOf(spec hpa.Spec, hr *v1alpha1.Headroom) (hpa.Spec, []replay.Source, []string) {
	perReplica := hr.Spec.Demand.PerReplica.AsApproximateFloat64()
	var sources []replay.Source
	var notes []string
	demand := false
	for _, m := range spec.Metrics {
		switch {
		case m.Headroom && m.Name == manifest.ReplicasMetric:
			sources = append(sources, replay.Source{Kind: replay.FloorSource})
		case m.Headroom:
			sources = append(sources, replay.Source{Kind: replay.ScheduleSource})
		default:
			demand = true
			scale, note := scaleOf(m, hr, perReplica)
			sources = append(sources, replay.Source{Kind: replay.DemandSource, Scale: scale})
			if note != "" {
				notes = append(notes, note)
			}
		}
	}
	if !demand {
		spec.Metrics = append(spec.Metrics, hpa.Metric{Kind: hpa.External, Name: "demand", Target: hpa.AverageValue, TargetMilli: 1_000_000})
		sources = append(sources, replay.Source{Kind: replay.DemandSource, Scale: 1000 / perReplica})
		notes = append(notes, "the HPA lists Headroom's metrics alone; as \"the HPA as it is\" stands one on demand, with perReplica as its target")
	}
	return spec, sources, notes
}

// scaleOf turns demand into a metric: the same where it is the Headroom's own, else in proportion, such that the HPA's target is
// reached when a replica carries perReplica.
func scaleOf(m hpa.Metric, hr *v1alpha1.Headroom, perReplica float64) (scale float64, note string) {
	target := float64(m.TargetMilli) / 1000
	if m.Target == hpa.Utilization {
		target = float64(m.TargetMilli) / 100
	}
	own := hr.Spec.Demand.Metric
	if own != nil && own.Name == m.Name && m.Target == hpa.AverageValue {
		return 1, ""
	}
	if m.Name == manifest.DemandMetric && m.Target == hpa.AverageValue {
		return 1, ""
	}
	return target / perReplica, fmt.Sprintf("%s metric %s is not what the Headroom measures: it is taken to be at its target when each replica carries %.4g", m.Kind, m.Name, perReplica)
}

// leadPolicy is what an object says about its lead time, as the controller reads it.
func leadPolicy(spec *v1alpha1.HeadroomSpec) prewarm.LeadPolicy {
	p := prewarm.DefaultLeadPolicy()
	if spec.LeadTime.Mode == v1alpha1.LeadTimeFixed && spec.LeadTime.Value != nil {
		p.Fixed = spec.LeadTime.Value.Duration
	}
	if spec.LeadTime.Percentile > 0 {
		p.Percentile = float64(spec.LeadTime.Percentile) / 100
	}
	if spec.LeadTime.Initial.Duration > 0 {
		p.Initial = spec.LeadTime.Initial.Duration
	}
	return p
}

// zoneOf is whose days and weeks demand follows: the option's, the forecast's, the calendar's, UTC.
func zoneOf(o Options, spec *v1alpha1.HeadroomSpec) (*time.Location, error) {
	name, from := o.TimeZone, "--time-zone"
	if name == "" {
		name, from = spec.Forecast.TimeZone, "spec.forecast.timeZone"
	}
	if name == "" && spec.Prewarm != nil {
		name, from = spec.Prewarm.TimeZone, "spec.prewarm.timeZone"
	}
	zone, err := time.LoadLocation(name)
	if err != nil {
		return nil, fmt.Errorf("%s: %q: must be a name of the time zone database", from, name)
	}
	return zone, nil
}

// actuationOf is how the floor reaches the workload. A ScaledObject's minimum becomes the minimum of its HPA.
func actuationOf(hr *v1alpha1.Headroom, autoscaler *autoscalingv2.HorizontalPodAutoscaler) (by replay.Actuation, lift bool, notes []string) {
	switch hr.Spec.Actuation.Mode {
	case v1alpha1.ActuateMinReplicas, v1alpha1.ActuateScaledObject:
		return replay.ByMinReplicas, false, nil
	case v1alpha1.ActuateNone:
		return replay.ByNothing, false, nil
	}
	listed := false
	for _, m := range manifest.Autoscaler(autoscaler).Metrics {
		listed = listed || m.Headroom && m.Name == manifest.ReplicasMetric
	}
	if !listed {
		notes = append(notes, fmt.Sprintf("HPA %s does not list headroom_replicas; it is replayed as if it did (External, averageValue \"1\", selector headroom: %s)", autoscaler.Name, hr.Name))
	}
	lift = hr.Spec.Actuation.Deadband == v1alpha1.DeadbandLift
	b := autoscaler.Spec.Behavior
	if !lift && (b == nil || b.ScaleUp == nil || b.ScaleUp.Tolerance == nil || !b.ScaleUp.Tolerance.IsZero()) {
		notes = append(notes, "the HPA ignores a floor within its tolerance of the replicas there are, and is replayed so; behavior.scaleUp.tolerance: \"0\", or actuation.deadband: Lift, ends that")
	}
	return replay.ByMetric, lift, notes
}
