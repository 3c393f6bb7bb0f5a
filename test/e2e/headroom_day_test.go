package e2e

import (
	"bufio"
	"context"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/headroom-autoscaler/headroom/api/v1alpha1"
	"github.com/headroom-autoscaler/headroom/test/testbed"
)

// A day is lived through thirty times as fast as it passes: calendars, holds, lead times and forecasts go by a clock of that
// rate, a pod loads for eight seconds instead of four minutes, and the past of a fortnight is in Prometheus.
const (
	clockRate = 30
	dayCold   = 4 * time.Minute / clockRate
	dayLow    = 2 * perReplica  // load at night
	dayHigh   = 20 * perReplica // load by day
	dayRamp   = 40 * time.Minute
	dayBefore = 35 * time.Minute // from the start of the test to the beginning of the ramp
	dayAfter  = 50 * time.Minute // from its end to the end of the test
)

// aDay is a load that repeats every day, by a clock that began at base.
type aDay struct{ base time.Time }

func (d aDay) now() time.Time { return d.base.Add(clockRate * time.Since(d.base)) }

// load rises once a day, in a straight line.
func (d aDay) load(at time.Time) float64 {
	into := at.Sub(d.base.Add(dayBefore)) % (24 * time.Hour)
	if into < 0 {
		into += 24 * time.Hour
	}
	const fallsAt = 10 * time.Hour
	switch {
	case into < dayRamp:
		return dayLow + (dayHigh-dayLow)*into.Seconds()/dayRamp.Seconds()
	case into < fallsAt:
		return dayHigh
	case into < fallsAt+dayRamp:
		return dayHigh - (dayHigh-dayLow)*(into-fallsAt).Seconds()/dayRamp.Seconds()
	}
	return dayLow
}

// noisy is the load with a few per cent of noise, the same at every minute for whoever asks.
func (d aDay) noisy(at time.Time) float64 {
	minute := float64(at.Unix() / 60)
	return d.load(at) * (1 + 0.02*math.Sin(minute*12.9898)*math.Cos(minute*78.233))
}

// past writes a fortnight of the namespaces' load, as one pod of each had it.
func (d aDay) past(t *testing.T, namespaces []string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "past.om")
	file, err := os.Create(path)
	must(t, err)
	defer func() { _ = file.Close() }()
	w := bufio.NewWriter(file)
	for _, namespace := range namespaces {
		for at := d.base.Add(-14 * 24 * time.Hour).Truncate(time.Minute); at.Before(d.base); at = at.Add(time.Minute) {
			fmt.Fprintf(w, "requests_offered{namespace=%q,pod=\"llm-6d4cf56db6-bcdfg\"} %.3f %d\n", namespace, d.noisy(at), at.Unix())
		}
	}
	fmt.Fprintln(w, "# EOF")
	must(t, w.Flush())
	return path
}

// tally is what became of one fleet's load.
type tally struct {
	offered, late  float64 // requests
	replicaMinutes float64
}

func (c tally) share() float64 { return c.late / c.offered }

// watchFleets adds up, for each namespace, what was offered beyond what Ready pods carry, without carrying it over.
func (d aDay) watchFleets(ctx context.Context, namespaces []string) map[string]tally {
	tallies := make([]tally, len(namespaces))
	last := d.now()
	for ctx.Err() == nil {
		select {
		case <-ctx.Done():
		case <-time.After(250 * time.Millisecond):
		}
		now := d.now()
		span := now.Sub(last).Seconds()
		var asking sync.WaitGroup
		for i, namespace := range namespaces {
			asking.Go(func() {
				list, err := shared.Client.CoreV1().Pods(namespace).List(context.Background(), listEverything)
				ready, err2 := shared.ReadyPods(context.Background(), namespace, "llm")
				if err != nil || err2 != nil {
					return
				}
				load := d.noisy(now)
				tallies[i].offered += load * span
				tallies[i].late += math.Max(0, load-float64(len(ready)*perReplica)) * span
				tallies[i].replicaMinutes += float64(len(list.Items)) * span / 60
			})
		}
		asking.Wait()
		last = now
	}
	found := map[string]tally{}
	for i, namespace := range namespaces {
		found[namespace] = tallies[i]
	}
	return found
}

// highestReplicas is the most that a fleet was told to have.
func highestReplicas(ctx context.Context, namespace string) (highest int32) {
	for ctx.Err() == nil {
		if n, err := shared.Replicas(ctx, namespace, "llm"); err == nil {
			highest = max(highest, n)
		}
		select {
		case <-ctx.Done():
		case <-time.After(500 * time.Millisecond):
		}
	}
	return highest
}

// decider starts an adapter whose decisions live by the day's clock.
func (d aDay) decider(t *testing.T, name, program, prometheusURL string) *testbed.Adapter {
	t.Helper()
	adapter, err := shared.StartAdapter(t.Context(), testbed.AdapterOptions{
		Name: name, Rules: baseRules, PrometheusURL: prometheusURL, Program: program,
		Args: append(fastArgs, "--decide-interval", "500ms", "--hpa-sync-period", syncPeriod.String(), "--lease-namespace", testbed.Namespace,
			"--clock-rate", fmt.Sprint(clockRate), "--clock-base", d.base.UTC().Format(time.RFC3339)),
	})
	must(t, err)
	t.Cleanup(adapter.Stop)
	must(t, shared.RegisterAPIServices(t.Context(), adapter.Port))
	return adapter
}

// outage freezes Prometheus for ten minutes of the day, in which the load falls to nothing that anybody could see.
func (d aDay) outage(t *testing.T, prometheus *testbed.MetricsServer, namespaces []string) {
	t.Helper()
	lowersNothing(t, namespaces, "ten minutes without Prometheus", func() time.Duration {
		must(t, prometheus.Pause())
		return 10 * time.Minute / clockRate
	})
	must(t, prometheus.Resume())
}

// restart kills the leader, and has another begin whose clock is ten minutes ahead and which has a fortnight to read back: until it
// has, and a hold has passed, no pod goes.
func (d aDay) restart(t *testing.T, old *testbed.Adapter, program, prometheusURL string, namespaces []string) {
	t.Helper()
	ahead := aDay{base: d.base.Add(-10 * time.Minute / (clockRate - 1))}
	lowersNothing(t, namespaces, "a leader that has just begun", func() time.Duration {
		old.Kill()
		next := ahead.decider(t, "day-again", program, prometheusURL)
		waitLeaderWithin(t, next, handOver)
		return 5 * time.Minute / clockRate // the shortest hold there is by default
	})
}

// lowersNothing checks that no fleet has fewer replicas than the floor that stands, for a while after something has begun. (It may
// have more at first, on their way down to it.)
func lowersNothing(t *testing.T, namespaces []string, what string, begin func() time.Duration) {
	t.Helper()
	before := map[string]int32{}
	for _, namespace := range namespaces {
		hr, err := (&ahead{fleet: &fleet{namespace: namespace, name: "llm"}}).headroom(t.Context())
		must(t, err)
		before[namespace] = hr.Status.Decision.Floor
		if before[namespace] < 7 {
			t.Fatalf("%s: a floor of %d only tells nothing", namespace, before[namespace])
		}
	}
	end := time.Now().Add(begin())
	must(t, testbed.WaitFor(t.Context(), time.Minute, what+" to end", func(ctx context.Context) (bool, string) {
		for _, namespace := range namespaces {
			if n, err := shared.Replicas(ctx, namespace, "llm"); err == nil && n < before[namespace] {
				t.Fatalf("%s: %s lowered the floor of %d to %d replicas", namespace, what, before[namespace], n)
			}
		}
		return time.Now().After(end), ""
	}))
}

func TestADailyRampIsMetByPodsThatAreReady(t *testing.T) {
	const alone, buffered, forecast, constant = "day-alone", "day-buffer", "day-forecast", "day-constant"
	namespaces := []string{alone, buffered, forecast}
	day := aDay{base: time.Now().Truncate(time.Second)}

	program := filepath.Join(t.TempDir(), "headroom")
	must(t, shared.GoBuild(t.Context(), program, "./cmd/headroom", "-tags", "headroomclock"))
	day.base = time.Now().Truncate(time.Second) // compiling took its time
	must(t, shared.InstallCRDs(t.Context()))
	prometheus, err := shared.StartPrometheus(t.Context(), testbed.PrometheusOptions{Name: "day", Targets: []string{shared.exporter.Address()}, Past: day.past(t, namespaces)})
	must(t, err)
	t.Cleanup(prometheus.Stop)
	for _, namespace := range append(namespaces, constant) {
		must(t, shared.AddDeployment(t.Context(), testbed.Deployment{Namespace: namespace, Name: "llm", Replicas: 4, ColdStart: dayCold}))
	}
	shared.exporter.ExportFunc(func(time.Time) string {
		var text strings.Builder
		for _, namespace := range append(namespaces, constant) {
			load := day.noisy(day.now())
			if namespace == constant {
				load = 5 * perReplica
			}
			pods, err := shared.ReadyPods(context.Background(), namespace, "llm")
			if err != nil {
				return ""
			}
			for _, pod := range pods {
				fmt.Fprintf(&text, "requests_offered{namespace=%q,pod=%q} %v\n", namespace, pod, load/float64(len(pods)))
			}
		}
		return text.String()
	})
	adapter := day.decider(t, "day", program, prometheus.URL)
	t.Cleanup(func() {
		if err := shared.RegisterAPIServices(context.Background(), shared.adapter.Port); err != nil {
			t.Error(err)
		}
	})
	must(t, shared.AddHPA(t.Context(), alone, "llm", 1, 40, testbed.PodsMetric("requests_offered", fmt.Sprint(perReplica))))
	for namespace, mode := range map[string]v1alpha1.ForecastMode{buffered: v1alpha1.ForecastOff, forecast: v1alpha1.ForecastOn, constant: v1alpha1.ForecastOff} {
		replicas, reserve := int32(2), int32(0)
		if mode == v1alpha1.ForecastOn {
			replicas = 1
		}
		a := &ahead{fleet: &fleet{namespace: namespace, name: "llm"}}
		must(t, shared.AddHeadroom(t.Context(), &v1alpha1.Headroom{
			ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: "llm"},
			Spec: v1alpha1.HeadroomSpec{
				ScaleTargetRef: v1alpha1.ScaleTargetRef{APIVersion: "apps/v1", Kind: "Deployment", Name: "llm"},
				Demand:         v1alpha1.Demand{Metric: &v1alpha1.DemandMetric{Name: "requests_offered"}, PerReplica: *resource.NewQuantity(perReplica, resource.DecimalSI)},
				Forecast:       v1alpha1.Forecast{Mode: mode},
				Buffer:         v1alpha1.Buffer{Replicas: &replicas, OnForecast: &reserve},
			},
		}))
		a.headroomHPA(t, 40, "0")
	}
	withForecast := &ahead{fleet: &fleet{namespace: forecast, name: "llm"}}
	must(t, testbed.WaitFor(t.Context(), soon, "a forecast from a fortnight of history", func(ctx context.Context) (bool, string) {
		hr, err := withForecast.headroom(ctx)
		return err == nil && hr.Status.Forecast != nil, fmt.Sprint(err, hr.Status.Conditions)
	}))
	if into := day.now().Sub(day.base); into > dayBefore-5*time.Minute {
		t.Skipf("this machine took until %s of the day to begin; the ramp starts at %s", into, dayBefore)
	}

	ctx, cancel := context.WithTimeout(t.Context(), time.Until(day.base.Add((dayBefore+dayRamp+dayAfter)/clockRate)))
	defer cancel()
	var highest int32
	var watching sync.WaitGroup
	watching.Go(func() { highest = highestReplicas(ctx, constant) })
	tallies := day.watchFleets(ctx, namespaces)
	watching.Wait()
	if highest != 7 {
		t.Errorf("at a constant load of five replicas there were up to %d instead of N+2 = 7 in two hours: a ratchet", highest)
	}
	day.outage(t, prometheus, []string{buffered, forecast, constant})
	day.restart(t, adapter, program, prometheus.URL, []string{buffered, forecast, constant})
	for _, namespace := range namespaces {
		c := tallies[namespace]
		t.Logf("%-13s %6.2f %% of requests late, %6.0f replica-minutes", namespace, 100*c.share(), c.replicaMinutes)
	}
	if tallies[alone].share() < 0.01 {
		t.Errorf("the HPA alone was late for %.2f %% only: the ramp tells nothing", 100*tallies[alone].share())
	}
	if f, a := tallies[forecast].share(), tallies[alone].share(); f > a/5 {
		t.Errorf("with the forecast %.2f %% of requests are late, more than a fifth of the HPA's %.2f %%", 100*f, 100*a)
	}
	// The forecast makes more of the ramp and one replica less of every other minute. Two hundredths are what the looks miss.
	if f, b := tallies[forecast], tallies[buffered]; f.share() > b.share() || f.replicaMinutes > 1.02*b.replicaMinutes {
		t.Errorf("buffer 1 with the forecast: %.2f %% late at %.0f replica-minutes; buffer 2 without: %.2f %% at %.0f", 100*f.share(), f.replicaMinutes, 100*b.share(), b.replicaMinutes)
	}
}
