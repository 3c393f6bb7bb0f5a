package manifest

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/headroom-autoscaler/headroom/api/v1alpha1"
	"github.com/headroom-autoscaler/headroom/prewarm"
)

// Policy is what an object asks for. userMin is the HPA's minimum as its owner wrote it, hpaMax its maximum; 0 where there is
// no HPA. CEL has refused most of what is wrong before it comes here; what it cannot see is an error here.
func Policy(spec *v1alpha1.HeadroomSpec, userMin, hpaMax int32) (prewarm.Policy, error) {
	var problems []error
	refuse := func(format string, args ...any) { problems = append(problems, fmt.Errorf(format, args...)) }
	p := prewarm.Policy{
		PerReplica: spec.Demand.PerReplica.AsApproximateFloat64(), BufferReplicas: 2, BufferOnForecast: 1, MaxGrowth: 2,
		MinReplicas: int(userMin), MaxReplicas: int(hpaMax), StopWhenUnschedulable: spec.Limits.StopWhenUnschedulable,
		ForecastMode: prewarm.ForecastOn,
	}
	if n := spec.Buffer.Replicas; n != nil {
		p.BufferReplicas = int(*n)
	}
	if n := spec.Buffer.OnForecast; n != nil {
		p.BufferOnForecast = int(*n)
	}
	if n := spec.Limits.MinReplicas; n != nil {
		p.MinReplicas = int(*n)
	}
	if n := spec.Limits.MaxReplicas; n != nil && (hpaMax == 0 || *n < hpaMax) {
		p.MaxReplicas = int(*n)
	}
	if p.MaxReplicas > 0 {
		p.MinReplicas = min(p.MinReplicas, p.MaxReplicas) // the HPA's maximum may lie below limits.minReplicas; FloorEffective says so
	}
	if text := spec.Limits.MaxGrowth; text != "" {
		growth, err := strconv.ParseFloat(strings.TrimSuffix(text, "x"), 64)
		if err != nil || !strings.HasSuffix(text, "x") {
			refuse("spec.limits.maxGrowth: %q is no factor such as 2x", text)
		}
		p.MaxGrowth = growth
	}
	if hold := spec.ScaleDownHold; hold != nil {
		p.ScaleDownHold = max(hold.Duration, time.Nanosecond) // 0 in the policy means the default, in the object no hold
	}
	switch spec.Forecast.Mode {
	case v1alpha1.ForecastShadow:
		p.ForecastMode = prewarm.ForecastShadow
	case v1alpha1.ForecastOff:
		p.ForecastMode = prewarm.ForecastOff
	}
	quantile, err := Quantile(spec.Forecast.Risk)
	if err != nil {
		problems = append(problems, err)
	}
	p.Quantile = quantile
	if len(problems) == 0 {
		problems = append(problems, p.Validate())
	}
	return p, errors.Join(problems...)
}

// Quantile is the quantile of demand that a risk asks for: its own, or the newsvendor's c/(c+1) where being short costs c times
// as much as being over.
func Quantile(risk v1alpha1.Risk) (float64, error) {
	switch {
	case risk.Quantile != "":
		q, err := strconv.ParseFloat(risk.Quantile, 64)
		if err != nil || q < 0.5 || q > 0.995 {
			return 0, fmt.Errorf("spec.forecast.risk.quantile: %q is not between 0.5 and 0.995", risk.Quantile)
		}
		return q, nil
	case risk.CostRatio != "":
		c, err := strconv.ParseFloat(risk.CostRatio, 64)
		if err != nil || c < 1 || c > 199 {
			return 0, fmt.Errorf("spec.forecast.risk.costRatio: %q is not between 1 and 199", risk.CostRatio)
		}
		return c / (c + 1), nil
	}
	return 0.95, nil
}

// Calendar compiles an object's calendar; nil where it has none.
func Calendar(p *v1alpha1.Prewarm) (*prewarm.Calendar, error) {
	if p == nil {
		return nil, nil
	}
	windows := make([]prewarm.Window, len(p.Windows))
	for i, w := range p.Windows {
		windows[i] = prewarm.Window{Name: w.Name, Schedule: w.Schedule, Replicas: int(w.Replicas)}
		if w.Duration != nil {
			windows[i].Duration = w.Duration.Duration
		}
		if w.From != nil {
			windows[i].From = w.From.Time
		}
		if w.Until != nil {
			windows[i].Until = w.Until.Time
		}
		if w.MaxReplicas != nil {
			windows[i].MaxReplicas = int(*w.MaxReplicas)
		}
		if w.Ramp != nil {
			windows[i].Ramp = w.Ramp.Duration
		}
	}
	zone := p.TimeZone
	if zone == "" {
		zone = "UTC"
	}
	return prewarm.NewCalendar(zone, windows, p.Exceptions)
}
