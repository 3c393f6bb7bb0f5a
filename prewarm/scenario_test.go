package prewarm

import (
	"bytes"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

var update = flag.Bool("update", false, "write what the scenarios under testdata give")

// Each file under testdata is a scenario, a line that says "---", and what became of it: one line for each change of the floor or
// of what it came from and for each event, and a sum. scenario_parse_test.go says what a scenario may say.
func TestScenarios(t *testing.T) {
	files, err := filepath.Glob("testdata/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatalf("%d scenarios: %v", len(files), err)
	}
	for _, path := range files {
		t.Run(strings.TrimSuffix(filepath.Base(path), ".txt"), func(t *testing.T) {
			content, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			script, want, _ := strings.Cut(string(content), "---\n")
			s, err := parseScenario(script)
			if err != nil {
				t.Fatalf("%s: %v", path, err)
			}
			got := s.play()
			if *update {
				if err := os.WriteFile(path, []byte(script+"---\n"+got), 0o644); err != nil {
					t.Fatal(err)
				}
				return
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("%s (-want +got); if the change is meant: go test ./prewarm -run TestScenarios -update\n%s", path, diff)
			}
		})
	}
}

// world is what happens outside of Decide: a workload that follows the floor at once, whose pods take a while to be Ready.
type world struct {
	pods    []PodView
	made    int
	deleted int
}

func (w *world) ready() (n int) {
	for _, p := range w.pods {
		if p.Ready {
			n++
		}
	}
	return n
}

// scale makes pods, or deletes the newest.
func (w *world) scale(now time.Time, replicas int) {
	for len(w.pods) < replicas {
		w.pods = append(w.pods, PodView{UID: fmt.Sprint("pod-", w.made), Created: now, Node: "node", NodeCreated: time.Unix(0, 0)})
		w.made++
	}
	for len(w.pods) > replicas {
		w.pods = w.pods[:len(w.pods)-1]
		w.deleted++
	}
}

func (w *world) age(now time.Time, coldStart time.Duration) {
	for i := range w.pods {
		if p := &w.pods[i]; !p.Ready && now.Sub(p.Created) >= coldStart {
			p.Ready, p.ReadySince = true, p.Created.Add(coldStart)
		}
	}
}

// play goes through the scenario step by step and writes down what changes.
func (s *scenario) play() string {
	var out bytes.Buffer
	if !s.sumOnly {
		fmt.Fprintf(&out, "%-21s %8s %8s %4s %4s %5s %5s  %s\n", "time", "demand", "forecast", "sch", "need", "floor", "ready", "reason")
	}
	random := rand.New(rand.NewPCG(s.seed, 0))
	w := &world{}
	tracker := NewTracker(DefaultTrackerOptions())
	state := State{HistoryLoaded: true}
	var last Decision
	var short time.Duration
	var podTime time.Duration
	events := s.events
	unknown := ""
	for now := s.from; now.Before(s.to); now = now.Add(s.step) {
		dip, changed := -1.0, false
		for ; len(events) > 0 && !events[0].at.After(now); events = events[1:] {
			changed = true
			switch e := events[0]; e.kind {
			case "unknown":
				unknown = e.text
			case "known":
				unknown = ""
			case "leader": // the one before left its decision in the status
				tracker2 := NewTracker(DefaultTrackerOptions())
				if err := tracker2.Restore(tracker.Persist()); err != nil {
					return err.Error()
				}
				tracker, state = tracker2, Resume(last.FloorAtLeast, now)
			case "loaded":
				state.HistoryLoaded = true
			case "sample":
				dip = e.value
			}
		}
		w.age(now, s.coldStart)
		tracker.Update(now, w.pods)
		lead := tracker.LeadTime(now, s.lead)

		offered := s.demand.at(now) * (1 + s.noise*(2*random.Float64()-1))
		demand := s.measure(now, offered, w.ready(), unknown)
		if dip >= 0 {
			demand.Value = dip
		}
		forecast := s.foresee(now, lead.Total(), random)
		var d Decision
		d, state = Decide(now, state, demand, forecast, s.calendar.FloorAt(now, lead.Total()), lead, s.policy)
		changed = changed || d.FloorAtLeast != last.FloorAtLeast || !s.floorOnly && (d.Kind != last.Kind || d.Valid != last.Valid)
		if changed && !s.sumOnly {
			fmt.Fprintln(&out, s.line(d, w.ready()))
		}
		last = d
		replicas := d.FloorAtLeast
		if !d.Valid {
			replicas = max(replicas, len(w.pods))
		}
		w.scale(now, replicas)
		if now.Sub(s.from) >= s.settle {
			podTime += time.Duration(len(w.pods)) * s.step
			if float64(w.ready())*s.policy.PerReplica < offered {
				short += s.step
			}
		}
	}
	fmt.Fprintf(&out, "pods started %d, deleted %d; %.1f replica-hours; %s with more demand than ready replicas carry; lead time %s: %s\n",
		w.made, w.deleted, podTime.Hours(), short, tracker.LeadTime(s.to, s.lead).Total(), tracker.LeadTime(s.to, s.lead).Reason)
	return out.String()
}

// measure is what the metric shows of the demand that is offered.
func (s *scenario) measure(now time.Time, offered float64, ready int, unknown string) Demand {
	d := Demand{Value: offered, Known: unknown == "", Reason: unknown, At: now, Ready: ready}
	if s.served { // a counter of finished requests sees no more than is carried
		d.Value = min(offered, float64(ready)*s.policy.PerReplica)
	}
	d.Saturated = d.Known && s.policy.Saturates(d.Value, ready)
	return d
}

// foresee looks ahead in the demand itself, and errs as the scenario says.
func (s *scenario) foresee(now time.Time, lead time.Duration, random *rand.Rand) Forecast {
	if s.foresight == 0 {
		return Forecast{Reason: "none in this scenario"}
	}
	var most float64
	for at := now; !at.After(now.Add(lead)); at = at.Add(s.step) {
		most = max(most, s.demand.at(at))
	}
	most *= s.foresight * (1 + s.forecastNoise*(2*random.Float64()-1))
	return Forecast{Value: most, Quantile: s.policy.Quantile, Horizon: lead, Known: true}
}

func (s *scenario) line(d Decision, ready int) string {
	demand, forecast, need, floor := "-", "-", "-", fmt.Sprint("≥", d.FloorAtLeast)
	if d.Demand.Known {
		demand, need = fmt.Sprintf("%.1f", d.Demand.Value), fmt.Sprint(d.Need)
	}
	if d.Valid {
		floor = fmt.Sprint(d.Floor)
	}
	if d.ForecastUsed.Known {
		forecast = fmt.Sprintf("%.1f", d.ForecastUsed.Value)
	}
	reason := d.Reason
	if d.ShadowFloor > 0 {
		reason = fmt.Sprintf("[%d if the forecast counted] %s", d.ShadowFloor, reason)
	}
	return fmt.Sprintf("%-21s %8s %8s %4d %4s %5s %5d  %s", d.At.In(s.zone).Format("01-02 15:04:05 Z07:00"), demand, forecast, d.Schedule, need, floor, ready, reason)
}
