package main

import (
	"testing"

	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/custom-metrics-apiserver/pkg/provider"
)

// The baseline must give as many items as the adapters that it is compared with: ten pods, one object, one series.
func TestAnswersAreAsLongAsTheBenchExpects(t *testing.T) {
	info := provider.CustomMetricInfo{Metric: "m"}
	list, err := constant{}.GetMetricBySelector(t.Context(), "ns", labels.Everything(), info, labels.Everything())
	if err != nil || len(list.Items) != podsPerAnswer {
		t.Errorf("%d pods, error %v", len(list.Items), err)
	}
	names := map[string]bool{}
	for _, item := range list.Items {
		names[item.DescribedObject.Name] = true
		if item.Value.Value() != 10 || item.Timestamp.IsZero() {
			t.Errorf("item %+v", item)
		}
	}
	if len(names) != podsPerAnswer {
		t.Error("pods share names: the HPA keys them by name")
	}
	if _, err := (constant{}).GetMetricByName(t.Context(), types.NamespacedName{Namespace: "ns", Name: "d"}, info, labels.Everything()); err != nil {
		t.Error(err)
	}
	series, err := constant{}.GetExternalMetric(t.Context(), "ns", labels.Everything(), provider.ExternalMetricInfo{Metric: "m"})
	if err != nil || len(series.Items) != 1 {
		t.Errorf("%d series, error %v", len(series.Items), err)
	}
}
