package app

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

const documentedManifests = `
apiVersion: headroom.dev/v1alpha1
kind: Headroom
metadata: {name: llama-70b, namespace: inference}
spec:
  scaleTargetRef: {apiVersion: apps/v1, kind: Deployment, name: llama-70b}
  demand: {metric: {name: requests_offered_per_second}, perReplica: "12"}
---
apiVersion: autoscaling/v2
kind: HorizontalPodAutoscaler
metadata: {name: llama-70b, namespace: inference}
spec:
  scaleTargetRef: {apiVersion: apps/v1, kind: Deployment, name: llama-70b}
  minReplicas: 1
  maxReplicas: 40
  metrics:
  - {type: External, external: {metric: {name: headroom_replicas, selector: {matchLabels: {headroom: llama-70b}}}, target: {type: AverageValue, averageValue: "1"}}}
  - {type: External, external: {metric: {name: headroom_schedule_replicas, selector: {matchLabels: {headroom: llama-70b}}}, target: {type: AverageValue, averageValue: "1"}}}
  behavior: {scaleUp: {tolerance: "0"}}
---
# what other documents of a chart look like
apiVersion: v1
kind: ConfigMap
metadata: {name: other}
data: {a: b}
`

func check(t *testing.T, in string, args ...string) (string, error) {
	t.Helper()
	cmd := NewCheckCommand()
	var out bytes.Buffer
	cmd.SetArgs(args)
	cmd.SetIn(strings.NewReader(in))
	cmd.SetOut(&out)
	cmd.SilenceUsage, cmd.SilenceErrors = true, true
	err := cmd.ExecuteContext(t.Context())
	return out.String(), err
}

func TestCheckSaysWhatKeepsAFloorFromItsWorkload(t *testing.T) {
	out, err := check(t, documentedManifests, "-f", "-")
	if err != nil || !strings.Contains(out, "Headroom inference/llama-70b (Metric): nothing keeps the floor from the workload") {
		t.Errorf("the documented pair: %v\n%s", err, out)
	}

	out, err = check(t, strings.Replace(documentedManifests, "  maxReplicas: 40", "  maxReplicas: 2", 1), "-f", "-")
	if err == nil || !strings.Contains(err.Error(), "1 of 1 floors") || !strings.Contains(out, "error: HPA llama-70b: maxReplicas 2 is below the floor of 3") {
		t.Errorf("a maximum below the buffer: %v\n%s", err, out)
	}

	headroom, hpa, _ := strings.Cut(documentedManifests, "---")
	out, err = check(t, headroom, "-f", "-")
	if err == nil || !strings.Contains(out, "NoAutoscaler") {
		t.Errorf("no HPA: %v\n%s", err, out)
	}

	out, err = check(t, strings.Replace(hpa, `behavior: {scaleUp: {tolerance: "0"}}`, "behavior: {}", 1), "-f", "-")
	if err != nil || !strings.Contains(out, "HPA inference/llama-70b: warning") || !strings.Contains(out, "from 20 replicas on") {
		t.Errorf("an HPA without a Headroom: %v\n%s", err, out)
	}

	out, err = check(t, documentedManifests, "-f", "-", "-o", "json")
	var read struct {
		Floors []struct{ Headroom, HPA, Mode string }
	}
	if err != nil || json.Unmarshal([]byte(out), &read) != nil || len(read.Floors) != 1 || read.Floors[0].Headroom != "inference/llama-70b" {
		t.Errorf("as JSON: %v\n%s", err, out)
	}
}

func TestCheckRefusesManifestsThatCannotBeRead(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "bad.yaml")
	for name, c := range map[string]struct{ text, want string }{
		"a field that does not exist": {strings.Replace(documentedManifests, "perReplica", "perReplcia", 1), `unknown field "spec.demand.perReplcia"`},
		"another version":             {strings.Replace(documentedManifests, "headroom.dev/v1alpha1", "headroom.dev/v1", 1), `"headroom.dev/v1" is not "headroom.dev/v1alpha1"`},
		"an old HPA":                  {strings.Replace(documentedManifests, "autoscaling/v2", "autoscaling/v1", 1), `"autoscaling/v1" is not "autoscaling/v2"`},
		"no YAML":                     {"a: [b\n", "document 1"},
	} {
		t.Run(name, func(t *testing.T) {
			if err := os.WriteFile(file, []byte(c.text), 0o600); err != nil {
				t.Fatal(err)
			}
			_, err := check(t, "", "-f", file)
			if err == nil || !strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), "bad.yaml") {
				t.Errorf("%v", err)
			}
		})
	}
	if _, err := check(t, "", "-f", filepath.Join(dir, "absent.yaml")); err == nil || !strings.Contains(err.Error(), "--filename") {
		t.Error(err)
	}
	window := strings.Replace(documentedManifests, `perReplica: "12"}`, `perReplica: "12"}
  prewarm: {timeZone: Mars/Olympus, windows: [{name: w, schedule: "61 8 * * *", duration: 1h, replicas: 3}]}`, 1)
	out, err := check(t, window, "-f", "-")
	if err == nil || !strings.Contains(out, "Mars/Olympus") || !strings.Contains(out, "61") {
		t.Errorf("a calendar that cannot be: %v\n%s", err, out)
	}
}
