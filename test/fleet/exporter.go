package fleet

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// Text shows the service's Ready pods in the text exposition format: vLLM's series, and dcgm-exporter's for one GPU each.
func (s *Service) Text(namespace string) string {
	var b strings.Builder
	names := slices.Sorted(maps.Keys(s.pods))
	family := func(name, kind string, value func(*podState) float64) {
		fmt.Fprintf(&b, "# TYPE %s %s\n", name, kind)
		for _, pod := range names {
			fmt.Fprintf(&b, "%s{namespace=%q,pod=%q,model_name=\"demo\",engine=\"0\"} %g\n", name, namespace, pod, value(s.pods[pod]))
		}
	}
	family("vllm:request_success_total", "counter", func(p *podState) float64 { return p.served })
	family("vllm:num_requests_running", "gauge", func(p *podState) float64 { return p.running })
	family("vllm:num_requests_waiting", "gauge", func(p *podState) float64 { return amount(p.queue) })
	// A cache fills with what is running and overflows into waiting: full at capacity.
	family("vllm:kv_cache_usage_perc", "gauge", func(p *podState) float64 { return p.busy })
	s.firstTokens(&b, namespace, names)
	fmt.Fprintf(&b, "# TYPE DCGM_FI_PROF_SM_ACTIVE gauge\n")
	for _, pod := range names {
		fmt.Fprintf(&b, "DCGM_FI_PROF_SM_ACTIVE{gpu=\"%d\",namespace=%q,pod=%q} %g\n", s.pods[pod].gpu, namespace, pod, 0.9*s.pods[pod].busy)
	}
	return b.String()
}

// firstTokens shows the histogram of the time to the first token.
func (s *Service) firstTokens(b *strings.Builder, namespace string, names []string) {
	const series = "vllm:time_to_first_token_seconds"
	fmt.Fprintf(b, "# TYPE %s histogram\n", series)
	for _, name := range names {
		pod, sum := s.pods[name], 0.0
		labels := fmt.Sprintf("namespace=%q,pod=%q,model_name=\"demo\",engine=\"0\"", namespace, name)
		for i, count := range pod.firstToken {
			sum += count
			bound := "+Inf"
			if i < len(firstTokenBounds) {
				bound = fmt.Sprintf("%.6g", firstTokenBounds[i])
			}
			fmt.Fprintf(b, "%s_bucket{%s,le=%q} %g\n", series, labels, bound, sum)
		}
		fmt.Fprintf(b, "%s_count{%s} %g\n%s_sum{%s} %g\n", series, labels, sum, series, labels, pod.firstTokenSeconds)
	}
}
