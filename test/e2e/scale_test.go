package e2e

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/headroom-autoscaler/headroom/test/testbed"
)

// total is a counter's value at a time when it grows steadily.
func total(perSecond float64, now time.Time) float64 {
	return perSecond * float64(now.UnixMilli()-1700000000000) / 1000
}

func TestAnHPAScalesOnRequestsPerSecond(t *testing.T) {
	f := deploy(t, "llm", 2)
	var offered atomic.Int64 // requests/s over all pods
	offered.Store(60)
	shared.exporter.ExportFunc(integrate(f, "app_requests_total", func() float64 { return float64(offered.Load()) }))
	must(t, shared.AddHPA(t.Context(), f.namespace, f.name, 1, 20, testbed.PodsMetric("requests_per_second", "10")))
	f.wait(t, 6)
	offered.Store(30)
	f.wait(t, 3)
}

func TestAnHPAScalesOnAnObjectMetric(t *testing.T) {
	f := deploy(t, "llm", 2)
	rate := 40.0
	shared.exporter.ExportFunc(func(now time.Time) string {
		return fmt.Sprintf("gateway_requests_total{namespace=%q,service=\"front\"} %v\n", f.namespace, total(rate, now))
	})
	must(t, shared.AddHPA(t.Context(), f.namespace, f.name, 1, 20, testbed.ObjectMetric("gateway_requests_per_second", "v1", "Service", "front", "10")))
	// Value targets multiply by the Ready pods: from 2 at four times the target to 8, then on, as the value stays; the
	// maximum ends it.
	f.wait(t, 20)
}

func TestAnHPAScalesOnKafkaLagAndOnTheTimeToDrainIt(t *testing.T) {
	f := deploy(t, "consumer", 2)
	var lag atomic.Int64
	lag.Store(5000)
	shared.exporter.ExportFunc(func(now time.Time) string {
		var b strings.Builder
		for partition := range 4 {
			labels := fmt.Sprintf(`{namespace="kafka",consumergroup="scorer",topic="prompts",partition="%d"}`, partition)
			fmt.Fprintf(&b, "kafka_consumergroup_lag%s %v\nkafka_consumergroup_current_offset%s %v\n", labels, lag.Load()/4, labels, total(25, now))
		}
		fmt.Fprintf(&b, "kafka_consumergroup_lag{namespace=\"kafka\",consumergroup=\"other\",topic=\"prompts\",partition=\"0\"} 99999\n")
		return b.String()
	})
	selector := map[string]string{"consumergroup": "scorer", "topic": "prompts"}
	must(t, shared.AddHPA(t.Context(), f.namespace, f.name, 1, 20, testbed.ExternalMetric("kafka_consumer_lag", selector, "1000")))
	f.wait(t, 5)
	lag.Store(12000)
	f.wait(t, 12)

	// 12,000 messages at 4 × 25 messages/s are 120 s.
	path := "/apis/external.metrics.k8s.io/v1beta1/namespaces/" + f.namespace + "/kafka_consumer_lag_seconds?labelSelector=consumergroup%3Dscorer"
	must(t, testbed.WaitFor(t.Context(), soon, "a drain time of about 120 s", func(ctx context.Context) (bool, string) {
		status, body, err := shared.Get(ctx, path)
		return err == nil && status == http.StatusOK && (strings.Contains(body, `"value":"1`) && strings.Contains(body, "kafka_consumer_lag_seconds")), body
	}))
}

func TestAnHPAScalesOnAMIGSlicesActivity(t *testing.T) {
	f := deploy(t, "llm", 2)
	busy := 1.4 // summed over the slices
	shared.exporter.ExportFunc(func(time.Time) string {
		pods, _ := shared.ReadyPods(context.Background(), f.namespace, f.name)
		var b strings.Builder
		for i, pod := range pods {
			fmt.Fprintf(&b, "DCGM_FI_PROF_SM_ACTIVE{gpu=\"%d\",UUID=\"GPU-1\",GPU_I_PROFILE=\"1g.18gb\",GPU_I_ID=\"%d\",Hostname=\"n\",exported_namespace=%q,exported_pod=%q,namespace=\"gpu-operator\",pod=\"dcgm-exporter-x\"} %v\n",
				i/7, i%7, f.namespace, pod, min(1, busy/float64(len(pods))))
		}
		return b.String()
	})
	must(t, shared.AddHPA(t.Context(), f.namespace, f.name, 1, 20, testbed.PodsMetric("gpu_sm_active_ratio", "350m")))
	f.wait(t, 4)
}

func TestDiscoveryShowsWhatIsWanted(t *testing.T) {
	f := deploy(t, "llm", 1)
	shared.exporter.ExportFunc(f.export("vllm:num_requests_running", func(time.Time, string, int, int) float64 { return 3 }))
	must(t, shared.AddHPA(t.Context(), f.namespace, f.name, 1, 3, testbed.PodsMetric("requests_running", "10")))
	for _, path := range []string{"/apis/custom.metrics.k8s.io/v1beta1", "/apis/custom.metrics.k8s.io/v1beta2"} {
		must(t, testbed.WaitFor(t.Context(), soon, path+" to list pods/requests_running", func(ctx context.Context) (bool, string) {
			_, body, err := shared.Get(ctx, path)
			return err == nil && strings.Contains(body, `"pods/requests_running"`), body
		}))
	}
	// kubectl api-resources reads the aggregated form from kube-apiserver.
	must(t, testbed.WaitFor(t.Context(), 2*time.Minute, "aggregated discovery to show it", func(context.Context) (bool, string) {
		lists, err := shared.Client.Discovery().ServerPreferredResources()
		for _, list := range lists {
			for _, resource := range list.APIResources {
				if list.GroupVersion == "custom.metrics.k8s.io/v1beta2" && resource.Name == "pods/requests_running" {
					return true, ""
				}
			}
		}
		_, all, err2 := shared.Client.Discovery().ServerGroupsAndResources()
		var seen []string
		for _, list := range all {
			if strings.Contains(list.GroupVersion, "metrics") {
				for _, resource := range list.APIResources {
					seen = append(seen, list.GroupVersion+" "+resource.Name)
					if resource.Name == "pods/requests_running" {
						return true, ""
					}
				}
			}
		}
		return false, fmt.Sprint(seen, err, err2)
	}))
}

// integrate exports a counter for each Ready pod that grows by its share of what is offered, whatever the number of pods
// does meanwhile.
func integrate(f *fleet, series string, offered func() float64) func(now time.Time) string {
	counts := map[string]float64{}
	last := time.Now()
	return func(now time.Time) string {
		pods, _ := shared.ReadyPods(context.Background(), f.namespace, f.name)
		var b strings.Builder
		for _, pod := range pods {
			counts[pod] += offered() / float64(len(pods)) * now.Sub(last).Seconds()
			fmt.Fprintf(&b, "%s{namespace=%q,pod=%q} %v\n", series, f.namespace, pod, counts[pod])
		}
		last = now
		return b.String()
	}
}
