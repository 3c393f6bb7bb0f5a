// Command empty is the cheapest adapter that the library allows: it answers every question with constant items, asks nobody
// and keeps nothing. What a real adapter costs above it is the adapter's own doing; bench/load starts it as its baseline.
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"syscall"
	"time"

	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/metrics/pkg/apis/custom_metrics"
	"k8s.io/metrics/pkg/apis/external_metrics"
	basecmd "sigs.k8s.io/custom-metrics-apiserver/pkg/cmd"
	"sigs.k8s.io/custom-metrics-apiserver/pkg/provider"
	"sigs.k8s.io/custom-metrics-apiserver/pkg/provider/defaults"
)

// podsPerAnswer is the size of a Pods answer in the bench's fleets.
const podsPerAnswer = 10

type constant struct {
	defaults.DefaultCustomMetricsProvider
	defaults.DefaultExternalMetricsProvider
}

func (constant) GetMetricByName(_ context.Context, name types.NamespacedName, info provider.CustomMetricInfo, _ labels.Selector) (*custom_metrics.MetricValue, error) {
	v := value(name.Namespace, name.Name, info)
	return &v, nil
}

func (constant) GetMetricBySelector(_ context.Context, namespace string, _ labels.Selector, info provider.CustomMetricInfo, _ labels.Selector) (*custom_metrics.MetricValueList, error) {
	list := &custom_metrics.MetricValueList{Items: make([]custom_metrics.MetricValue, podsPerAnswer)}
	for i := range list.Items {
		list.Items[i] = value(namespace, fmt.Sprintf("constant-%d", i), info)
	}
	return list, nil
}

func (constant) GetExternalMetric(_ context.Context, _ string, _ labels.Selector, info provider.ExternalMetricInfo) (*external_metrics.ExternalMetricValueList, error) {
	return &external_metrics.ExternalMetricValueList{Items: []external_metrics.ExternalMetricValue{{
		MetricName: info.Metric,
		Timestamp:  metav1.NewTime(time.Now()),
		Value:      *resource.NewQuantity(10, resource.DecimalSI),
	}}}, nil
}

func value(namespace, name string, info provider.CustomMetricInfo) custom_metrics.MetricValue {
	return custom_metrics.MetricValue{
		DescribedObject: custom_metrics.ObjectReference{Kind: "Pod", APIVersion: "v1", Namespace: namespace, Name: name},
		Metric:          custom_metrics.MetricIdentifier{Name: info.Metric},
		Timestamp:       metav1.NewTime(time.Now()),
		Value:           *resource.NewQuantity(10, resource.DecimalSI),
	}
}

func main() {
	adapter := &basecmd.AdapterBase{Name: "empty-provider"}
	err := adapter.Flags().Parse(os.Args[1:])
	if err == nil {
		adapter.WithCustomMetrics(constant{})
		adapter.WithExternalMetrics(constant{})
		ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
		defer stop()
		err = adapter.Run(ctx)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "empty provider:", err)
		os.Exit(1)
	}
}
