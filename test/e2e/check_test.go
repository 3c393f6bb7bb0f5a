package e2e

import (
	"context"
	"encoding/json"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/headroom-autoscaler/headroom/test/testbed"
)

// TestTheMoveFromAnotherAdapterIsRehearsed: "headroom check --compare" asks the adapter that the cluster uses and an own one,
// with the rules of the move, what the cluster's HPAs ask.
func TestTheMoveFromAnotherAdapterIsRehearsed(t *testing.T) {
	f := runningFleet(t, 2)
	f.stays(t, 2, 3*syncPeriod)
	program, _, _, _, err := shared.AdapterFiles(t.Context())
	must(t, err)
	check := func(rules string) (report struct {
		HPAs struct {
			Explanation string `json:"explanation"`
		} `json:"hpas"`
		Answers []struct{ HPA, Metric, Verdict string } `json:"answers"`
	}, failed bool) {
		t.Helper()
		file := filepath.Join(t.TempDir(), "rules.yaml")
		must(t, os.WriteFile(file, []byte(rules), 0o600))
		out, err := exec.CommandContext(t.Context(), program, "check", "--config", file, "--kubeconfig", shared.Kubeconfig,
			"--prometheus-url", shared.prometheus.URL, "--compare", "cluster", "-o", "json").Output()
		if jsonErr := json.Unmarshal(out, &report); jsonErr != nil {
			t.Fatalf("%v, %v: %s", err, jsonErr, out)
		}
		return report, err != nil
	}
	verdictOn := func(answers []struct{ HPA, Metric, Verdict string }) string {
		for _, a := range answers {
			if a.HPA == f.namespace+"/"+f.name && a.Metric == "requests_running" {
				return a.Verdict
			}
		}
		return "not asked"
	}
	same, _ := check(baseRules)
	if got := verdictOn(same.Answers); got != "same" {
		t.Errorf("the same rules: %s", got)
	}
	if !strings.Contains(same.HPAs.Explanation, "20 requests/s") {
		t.Errorf("no word of the controller's limit: %q", same.HPAs.Explanation)
	}
	forgotten, failed := check(strings.Replace(baseRules, "- vllm\n", "", 1))
	if got := verdictOn(forgotten.Answers); got != "only theirs answers" || !failed {
		t.Errorf("rules that forgot a preset: %s, exit status %v", got, failed)
	}
}

func TestEachAPICanBeSwitchedOffAndDiscoveryCanBeFull(t *testing.T) {
	f := runningFleet(t, 1)
	one, err := shared.StartAdapter(t.Context(), testbed.AdapterOptions{
		Name: "external-only", Rules: baseRules, PrometheusURL: shared.prometheus.URL, Args: append([]string{"--serve", "external", "--full-discovery"}, fastArgs...),
	})
	must(t, err)
	t.Cleanup(one.Stop)
	if status, body, err := one.Get(t.Context(), podsPath(f, "requests_running")); err != nil || status != http.StatusNotFound || strings.Contains(body, "could not find the metric") {
		t.Errorf("custom metrics, which are off: %d %s %v", status, body, err)
	}
	must(t, testbed.WaitFor(t.Context(), 30*time.Second, "all external metrics to be listed, wanted or not", func(ctx context.Context) (bool, string) {
		status, body, err := one.Get(ctx, "/apis/external.metrics.k8s.io/v1beta1")
		return err == nil && status == http.StatusOK && strings.Contains(body, `"kafka_consumer_lag_seconds"`), body
	}))
}
