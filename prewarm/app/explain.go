package app

import (
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/headroom-autoscaler/headroom/api/v1alpha1"
	"github.com/headroom-autoscaler/headroom/prewarm"
	"github.com/headroom-autoscaler/headroom/prewarm/manifest"
)

// nextWindows is how many windows to come an explanation shows, and windowsWithin how far ahead it looks for them.
const (
	nextWindows   = 5
	windowsWithin = 14 * 24 * time.Hour
)

// explanation is what there is to say about one Headroom: what "headroom explain" prints, as text or as JSON.
type explanation struct {
	Namespace string                    `json:"namespace"`
	Name      string                    `json:"name"`
	Target    string                    `json:"target"`
	Mode      v1alpha1.ActuationMode    `json:"mode"`
	Sentence  string                    `json:"sentence"`
	Terms     []term                    `json:"terms,omitempty"`
	Floor     *int32                    `json:"floor,omitempty"`
	Replicas  int32                     `json:"replicas"`
	Ready     int32                     `json:"ready"`
	Shadow    string                    `json:"shadow,omitempty"`
	Forecast  *v1alpha1.ForecastStatus  `json:"forecast,omitempty"`
	Without   string                    `json:"noForecast,omitempty"` // why there is none
	Demand    *v1alpha1.DemandStatus    `json:"demand,omitempty"`
	LeadTime  *v1alpha1.LeadTimeStatus  `json:"leadTime,omitempty"`
	Windows   []window                  `json:"windows,omitempty"`
	Actuation *v1alpha1.ActuationStatus `json:"actuation,omitempty"`
	Trouble   []string                  `json:"trouble,omitempty"`
	Past      []sparkline               `json:"past,omitempty"`
}

// term is one thing that asks for replicas.
type term struct {
	Name    string `json:"name"`
	From    string `json:"from"`
	Asks    int32  `json:"asks"`
	Decides bool   `json:"decides,omitempty"`
}

// window is a window to come.
type window struct {
	Name       string    `json:"name"`
	RaisedFrom time.Time `json:"raisedFrom"`
	Opens      time.Time `json:"opens"`
	Closes     time.Time `json:"closes"`
	Replicas   int       `json:"replicas"`
}

// explain reads an object's spec and status. now decides whether its decision still counts.
func explain(hr *v1alpha1.Headroom, now time.Time) explanation {
	status := &hr.Status
	e := explanation{
		Namespace: hr.Namespace, Name: hr.Name, Target: hr.Spec.ScaleTargetRef.Kind + " " + hr.Spec.ScaleTargetRef.Name,
		Mode: cmp.Or(hr.Spec.Actuation.Mode, v1alpha1.ActuateMetric), Replicas: status.Replicas, Ready: status.ReadyReplicas,
		Forecast: status.Forecast, Demand: status.Demand, LeadTime: status.LeadTime, Actuation: status.Actuation,
	}
	d := status.Decision
	switch {
	case d == nil:
		e.Sentence = "Nothing has been decided yet" + because(status.Conditions)
	case now.Sub(d.At.Time) > prewarm.StaleAfter:
		e.Sentence = fmt.Sprintf("The last decision is %s old and no longer counts%s It was %d replicas: %s", span(now.Sub(d.At.Time)), because(status.Conditions), d.Floor, d.Reason)
	case unavailable(status.Conditions):
		e.Sentence = fmt.Sprintf("Nothing is lowered below %d%s", d.Floor, because(status.Conditions))
	default:
		e.Floor = &d.Floor
		e.Sentence = fmt.Sprintf("Keep %d replicas: %s.", d.Floor, strings.TrimSuffix(d.Reason, "."))
	}
	if d != nil {
		e.Terms = terms(hr, d)
		e.Shadow = shadow(hr, d)
	}
	e.Windows = windows(hr, now)
	for _, c := range status.Conditions {
		if c.Type == v1alpha1.ConditionForecastSkilled && c.Status == metav1.ConditionUnknown && e.Forecast == nil && hr.Spec.Forecast.Mode != v1alpha1.ForecastOff {
			e.Without = c.Message
		}
		if c.Status == metav1.ConditionFalse {
			e.Trouble = append(e.Trouble, fmt.Sprintf("%s (%s): %s", c.Type, c.Reason, c.Message))
		}
	}
	return e
}

// because ends a sentence with what the Ready condition says is wrong.
func because(conditions []metav1.Condition) string {
	for _, c := range conditions {
		if c.Type == v1alpha1.ConditionReady && c.Status == metav1.ConditionFalse {
			return ": " + strings.TrimSuffix(c.Message, ".") + "."
		}
	}
	return "."
}

func unavailable(conditions []metav1.Condition) bool {
	return slices.ContainsFunc(conditions, func(c metav1.Condition) bool {
		return c.Type == v1alpha1.ConditionDemandAvailable && c.Status == metav1.ConditionFalse
	})
}

func terms(hr *v1alpha1.Headroom, d *v1alpha1.Decision) []term {
	per := number(hr.Spec.Demand.PerReplica)
	demand := fmt.Sprintf("unknown now; it was %d + buffer %d", d.Need, d.Buffer)
	if s := hr.Status.Demand; s != nil {
		demand = fmt.Sprintf("%s at %s per replica = %d, + buffer %d", number(s.Value), per, d.Need, d.Buffer)
		if s.Saturated {
			demand = "at least " + demand
		}
	}
	all := []term{{Name: "demand", From: demand, Asks: d.Need + d.Buffer}}
	if d.Forecast != nil {
		from := "maximum over the lead time, with its reserve"
		if f := hr.Status.Forecast; f != nil && len(f.Quantiles) > 0 {
			q := f.Quantiles[len(f.Quantiles)-1]
			from = fmt.Sprintf("q%s of %s within %s, and its reserve", q.Quantile, number(q.Value), span(f.Horizon.Duration))
		}
		all = append(all, term{Name: "forecast", From: from, Asks: *d.Forecast})
	}
	if hr.Spec.Prewarm != nil {
		from := "no window within the lead time"
		if d.Schedule > 0 {
			from = "a window that is open or opens within the lead time"
		}
		all = append(all, term{Name: "calendar", From: from, Asks: d.Schedule})
	}
	decides := -1
	for i, t := range all {
		shadowed := t.Name == "forecast" && hr.Spec.Forecast.Mode == v1alpha1.ForecastShadow
		if !shadowed && (decides < 0 || t.Asks > all[decides].Asks) {
			decides = i
		}
	}
	all[decides].Decides = all[decides].Asks == d.Floor
	return all
}

// shadow is what would be if what is only shown were acted upon.
func shadow(hr *v1alpha1.Headroom, d *v1alpha1.Decision) string {
	var parts []string
	if hr.Spec.Actuation.Mode == v1alpha1.ActuateNone {
		parts = append(parts, fmt.Sprintf("Nothing is acted upon (actuation.mode None): the workload has %d replicas, and would have at least %d.", hr.Status.Replicas, d.Floor))
	}
	if f := hr.Status.Forecast; f != nil && f.ShadowFloor != nil {
		parts = append(parts, fmt.Sprintf("The forecast is in shadow: with it the floor would be %d instead of %d.", *f.ShadowFloor, d.Floor))
	}
	return strings.Join(parts, " ")
}

func windows(hr *v1alpha1.Headroom, now time.Time) []window {
	calendar, err := manifest.Calendar(hr.Spec.Prewarm)
	if err != nil {
		return nil // the Ready condition says it
	}
	lead := time.Duration(0)
	if l := hr.Status.LeadTime; l != nil {
		lead = l.Total.Duration
	}
	var found []window
	for opening := range calendar.Openings(now, now.Add(windowsWithin)) {
		found = append(found, window{
			Name: opening.Window, RaisedFrom: opening.RampFrom.Add(-lead), Opens: opening.Start, Closes: opening.End, Replicas: opening.Replicas,
		})
		if len(found) == nextWindows {
			break
		}
	}
	return found
}

// print writes an explanation for a person.
func (e explanation) print(w io.Writer) error {
	var b strings.Builder
	fmt.Fprintf(&b, "%s/%s   %s   mode %s\n\n%s\n", e.Namespace, e.Name, e.Target, e.Mode, e.Sentence)
	if e.Shadow != "" {
		fmt.Fprintln(&b, e.Shadow)
	}
	if len(e.Terms) > 0 {
		fmt.Fprintln(&b)
		for _, t := range e.Terms {
			mark := ""
			if t.Decides {
				mark = "  ◀ decides"
			}
			fmt.Fprintf(&b, "  %-9s %4d   %s%s\n", t.Name, t.Asks, t.From, mark)
		}
		if e.Floor != nil {
			fmt.Fprintf(&b, "  %-9s %4d   %d replicas, %d of them Ready\n", "floor", *e.Floor, e.Replicas, e.Ready)
		}
	}
	e.printForecast(&b)
	for _, s := range e.Past {
		fmt.Fprintf(&b, "  %-9s %s  %s\n", s.Name, s.Line, s.Range)
	}
	if l := e.LeadTime; l != nil {
		fmt.Fprintf(&b, "\nLead time %s (%s)%s\n", span(l.Total.Duration), strings.ToLower(l.Source), leadParts(l))
	}
	if len(e.Windows) > 0 {
		fmt.Fprintln(&b, "\nNext windows")
		for _, o := range e.Windows {
			fmt.Fprintf(&b, "  %-12s %s – %s   %d replicas, raised from %s\n", o.Name, o.Opens.Format("Mon 2 Jan 15:04"), closing(o), o.Replicas, o.RaisedFrom.Format("15:04"))
		}
	}
	if len(e.Trouble) > 0 {
		fmt.Fprintln(&b, "\nTrouble")
		for _, t := range e.Trouble {
			fmt.Fprintf(&b, "  %s\n", t)
		}
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// closing is when a window closes, with the day where that is another.
func closing(o window) string {
	if o.Opens.YearDay() == o.Closes.YearDay() && o.Closes.Sub(o.Opens) < 24*time.Hour {
		return o.Closes.Format("15:04 MST")
	}
	return o.Closes.Format("Mon 2 Jan 15:04 MST")
}

// number is a quantity as people read it: 102.5 and not 102500m.
func number(q resource.Quantity) string { return fmt.Sprintf("%.4g", q.AsApproximateFloat64()) }

func (e explanation) printForecast(b *strings.Builder) {
	f := e.Forecast
	if f == nil && e.Without != "" {
		fmt.Fprintf(b, "\nNo forecast: %s\n", e.Without)
	}
	if f == nil || len(f.Quantiles) == 0 {
		return
	}
	fmt.Fprintf(b, "\nMaximum demand within %s", span(f.Horizon.Duration))
	for _, q := range f.Quantiles {
		fmt.Fprintf(b, "   q%s %s", q.Quantile, number(q.Value))
	}
	if f.Skill != nil {
		fmt.Fprintf(b, "   skill %+.0f %%", 100*f.Skill.AsApproximateFloat64())
	}
	if f.Coverage != nil {
		fmt.Fprintf(b, "   held in %.0f %% of cases", 100*f.Coverage.AsApproximateFloat64())
	}
	fmt.Fprintln(b)
	if e.Demand != nil {
		fmt.Fprintf(b, "  %s\n", band(e.Demand.Value.AsApproximateFloat64(), f.Quantiles))
	}
}

func leadParts(l *v1alpha1.LeadTimeStatus) string {
	var parts []string
	add := func(d *metav1.Duration, text string) {
		if d != nil {
			parts = append(parts, span(d.Duration)+" "+text)
		}
	}
	add(l.Warm, "for pods on nodes that are there")
	add(l.NewNode, "where a node has to be made")
	add(l.Reaction, "until a change is seen")
	add(l.Policies, "for the HPA's scaleUp policies")
	text := fmt.Sprintf("%d scale-ups seen", l.Samples)
	if l.Censored > 0 {
		text += fmt.Sprintf(", %d unfinished", l.Censored)
	}
	if l.FailedPods > 0 {
		text += fmt.Sprintf(", %d pods failed", l.FailedPods)
	}
	return ": " + strings.Join(append(parts, text), "; ")
}

func (e explanation) json(w io.Writer) error {
	encoder := json.NewEncoder(w)
	encoder.SetIndent("", "  ")
	return encoder.Encode(e)
}

// span is a duration as people write it: to the second, without trailing zeros.
func span(d time.Duration) string {
	text := d.Round(time.Second).String()
	text = strings.TrimSuffix(text, "m0s")
	if text != d.Round(time.Second).String() {
		text += "m"
	}
	return strings.TrimSuffix(strings.Replace(text, "h0m", "h", 1), "h0s")
}
