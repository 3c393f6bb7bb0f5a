package scenario

import (
	"context"
	"errors"
	"strings"
	"sync/atomic"
	"testing"

	"k8s.io/client-go/kubernetes/fake"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/google/go-cmp/cmp"

	"github.com/headroom-autoscaler/headroom/adapter/rules"
	"github.com/headroom-autoscaler/headroom/bench/load/exporter"
)

// The rules must serve what the HPAs ask, and cost what the budget of a round assumes.
func TestRulesServeTheFleet(t *testing.T) {
	config, err := rules.Parse("rules.yaml", rulesFile, rules.ParseOptions{Strict: true})
	if err != nil {
		t.Fatal(err)
	}
	if len(config.Rules) != rulesServed {
		t.Errorf("%d rules, the budget of a round assumes %d", len(config.Rules), rulesServed)
	}
	served := map[string]bool{}
	for _, rule := range config.Rules {
		for _, series := range []string{exporter.RequestsTotal, exporter.Waiting, exporter.Running, exporter.CacheRatio, exporter.DeploymentArrivals, exporter.QueueLag} {
			if strings.Contains(rule.SeriesQuery(), series) {
				metric, ok := rule.MetricFor(series)
				if !ok {
					t.Errorf("%s gives no metric", series)
				}
				served[metric] = true
			}
		}
		if !rule.Batches() {
			t.Errorf("the rule of %s does not batch", rule.SeriesQuery())
		}
	}
	for _, target := range questions(shapeOf(100)) {
		if !served[target.Metric] {
			t.Fatalf("no rule serves %s", target.Metric)
		}
	}
}

func TestWorldGrows(t *testing.T) {
	client := fake.NewClientset()
	w := &world{client: client, progress: t.Logf}
	for _, pods := range []int{20, 50} {
		if err := w.grow(t.Context(), shapeOf(pods)); err != nil {
			t.Fatal(err)
		}
	}
	pods, err := client.CoreV1().Pods("").List(t.Context(), metav1.ListOptions{})
	if err != nil {
		t.Fatal(err)
	}
	perApp := map[string]int{}
	for _, p := range pods.Items {
		if p.Status.Phase != "Running" || len(p.Status.Conditions) != 1 {
			t.Fatalf("%s is %s with %v", p.Name, p.Status.Phase, p.Status.Conditions)
		}
		perApp[p.Namespace+"/"+p.Labels["app"]]++
	}
	// Growth may not move a deployment to another namespace.
	want := map[string]int{}
	for i := range 5 {
		want[shapeOf(50).Namespace(i)+"/"+exporter.Deployment(i)] = exporter.PodsPerDeployment
	}
	if diff := cmp.Diff(want, perApp); diff != "" {
		t.Error(diff)
	}

	if err := w.autoscalers(t.Context(), 3, everything); err != nil {
		t.Fatal(err)
	}
	if err := w.autoscalers(t.Context(), 2, podsAndAnother); err != nil {
		t.Fatal(err)
	}
	hpas, err := client.AutoscalingV2().HorizontalPodAutoscalers("").List(t.Context(), metav1.ListOptions{})
	if err != nil || len(hpas.Items) != 2 || len(hpas.Items[0].Spec.Metrics) != 2 {
		t.Errorf("%d HPAs, error %v; want two that ask two metrics each", len(hpas.Items), err)
	}
}

func TestEachStopsAtTheFirstError(t *testing.T) {
	var calls atomic.Int64
	wrong := errors.New("wrong")
	err := each(t.Context(), 0, 100_000, func(i int) error {
		calls.Add(1)
		if i == 50 {
			return wrong
		}
		return nil
	})
	if !errors.Is(err, wrong) || calls.Load() > 50_000 {
		t.Errorf("error %v after %d calls", err, calls.Load())
	}
	if err := each(context.Background(), 3, 3, func(int) error { return wrong }); err != nil {
		t.Errorf("nothing to do gives %v", err)
	}
}

func TestOptionProblemsComeAllAtOnce(t *testing.T) {
	o := DefaultOptions()
	if problems := o.Problems(); len(problems) > 0 {
		t.Errorf("defaults: %v", problems)
	}
	o.Shapes, o.Scenarios, o.Slices = []int{5000, 15}, []string{"fast"}, 0
	text := errors.Join(o.Problems()...).Error()
	for _, want := range []string{"ascending", "15", `"fast"`, "slices"} {
		if !strings.Contains(text, want) {
			t.Errorf("no word of %s in %s", want, text)
		}
	}
}
