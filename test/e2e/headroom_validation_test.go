package e2e

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/yaml"

	"github.com/headroom-autoscaler/headroom/test/testbed"
)

var headroomResource = schema.GroupVersionResource{Group: "headroom.dev", Version: "v1alpha1", Resource: "headrooms"}

// leastSpec is what a Headroom must say.
const leastSpec = `
scaleTargetRef: {apiVersion: apps/v1, kind: Deployment, name: llama}
demand: {metric: {name: requests_offered_per_second}, perReplica: "12"}
`

// tryHeadroom asks the API server whether it would take a Headroom whose spec is leastSpec with the fields of a YAML text put
// over it, and returns what it would store.
func tryHeadroom(t *testing.T, text string) (*unstructured.Unstructured, error) {
	t.Helper()
	spec := map[string]any{}
	must(t, yaml.Unmarshal([]byte(leastSpec), &spec))
	over := map[string]any{}
	must(t, yaml.Unmarshal([]byte(text), &over))
	maps.Copy(spec, over)
	maps.DeleteFunc(spec, func(_ string, value any) bool { return value == nil })
	object := &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "headroom.dev/v1alpha1", "kind": "Headroom", "metadata": map[string]any{"name": "llama"}, "spec": spec,
	}}
	return shared.Dynamic.Resource(headroomResource).Namespace("default").Create(t.Context(), object,
		metav1.CreateOptions{DryRun: []string{metav1.DryRunAll}, FieldValidation: metav1.FieldValidationStrict})
}

// causes are what is wrong, one line for each field, without the value, which stands between them in kubectl's words.
func causes(err error) []string {
	var status apierrors.APIStatus
	if !errors.As(err, &status) || status.Status().Details == nil {
		return []string{err.Error()}
	}
	var lines []string
	for _, cause := range status.Status().Details.Causes {
		if cause.Field == "<nil>" {
			continue // "some validation rules were not checked because the object was invalid"
		}
		message := cause.Message
		if rest, ok := strings.CutPrefix(message, "Invalid value: "); ok {
			message = rest
			if value := strings.Index(rest, `": `); strings.HasPrefix(rest, `"`) && value > 0 {
				message = rest[value+3:]
			} else if value, after, ok := strings.Cut(rest, ": "); ok && json.Valid([]byte(value)) {
				message = after
			}
		}
		lines = append(lines, cause.Field+": "+message)
	}
	slices.Sort(lines)
	return lines
}

// TestWhatIsWrongWithAHeadroomIsSaidInWords is about the API server's answer: what people see in kubectl apply.
func TestWhatIsWrongWithAHeadroomIsSaidInWords(t *testing.T) {
	must(t, shared.InstallCRDs(t.Context()))
	for _, test := range []struct {
		name string
		spec string // put over leastSpec
		want []string
	}{
		{name: "no demand", spec: `demand: null`, want: []string{
			`spec.demand: Required value`,
		}},
		{name: "no target", spec: `scaleTargetRef: null`, want: []string{
			`spec.scaleTargetRef: Required value`,
		}},
		{name: "a target without a name", spec: `scaleTargetRef: {apiVersion: apps/v1, kind: Deployment}`, want: []string{
			`spec.scaleTargetRef.name: Required value`,
		}},
		{name: "metric and query", spec: `demand: {metric: {name: x}, query: "sum(y)", perReplica: 1}`, want: []string{
			`spec.demand: exactly one of metric and query says where demand is measured`,
		}},
		{name: "neither metric nor query", spec: `demand: {perReplica: 1}`, want: []string{
			`spec.demand: exactly one of metric and query says where demand is measured`,
		}},
		{name: "no perReplica", spec: `demand: {metric: {name: x}}`, want: []string{
			`spec.demand.perReplica: Required value`,
		}},
		{name: "perReplica 0", spec: `demand: {metric: {name: x}, perReplica: 0}`, want: []string{
			`spec.demand.perReplica: perReplica must be a quantity above 0, such as "12" or "500m"`,
		}},
		{name: "perReplica below 0", spec: `demand: {metric: {name: x}, perReplica: "-500m"}`, want: []string{
			`spec.demand.perReplica: perReplica must be a quantity above 0, such as "12" or "500m"`,
		}},
		{name: "a Pods metric with a selector", spec: `demand: {metric: {name: x, selector: {matchLabels: {a: b}}}, perReplica: 1}`, want: []string{
			`spec.demand.metric.selector: a Pods metric is summed over the target's pods and takes no selector; use type External for a metric of another object`,
		}},
		{name: "a type of metric that is none", spec: `demand: {metric: {name: x, type: Object}, perReplica: 1}`, want: []string{
			`spec.demand.metric.type: Unsupported value: "Object": supported values: "Pods", "External"`,
		}},
		{name: "maxMissing as a number", spec: `demand: {metric: {name: x}, perReplica: 1, maxMissing: 10}`, want: []string{
			`spec.demand.maxMissing: maxMissing must be a percentage between 0% and 100%, such as 10%`,
		}},
		{name: "maxMissing above all", spec: `demand: {metric: {name: x}, perReplica: 1, maxMissing: "101%"}`, want: []string{
			`spec.demand.maxMissing: maxMissing must be a percentage between 0% and 100%, such as 10%`,
		}},
		{name: "Fixed without a value", spec: `leadTime: {mode: Fixed}`, want: []string{
			`spec.leadTime: mode Fixed needs value`,
		}},
		{name: "a value without Fixed", spec: `leadTime: {value: 4m}`, want: []string{
			`spec.leadTime: value belongs to mode Fixed; with Auto, initial is used until enough scale-ups were seen`,
		}},
		{name: "no lead time at all", spec: `leadTime: {mode: Fixed, value: 0s}`, want: []string{
			`spec.leadTime.value: leadTime.value must be between 1s and 2h, written like 4m30s`,
		}},
		{name: "a lead time in words", spec: `leadTime: {mode: Fixed, value: 5 minutes}`, want: []string{
			`spec.leadTime.value: leadTime.value must be between 1s and 2h, written like 4m30s`,
		}},
		{name: "an initial lead time in days", spec: `leadTime: {initial: 1d}`, want: []string{
			`spec.leadTime.initial: leadTime.initial must be between 1s and 2h, written like 4m30s`,
		}},
		{name: "history in days", spec: `forecast: {history: 14d}`, want: []string{
			`spec.forecast.history: forecast.history must be between 1h and 1440h (60 days), written like 336h`,
		}},
		{name: "history too short", spec: `forecast: {history: 30m}`, want: []string{
			`spec.forecast.history: forecast.history must be between 1h and 1440h (60 days), written like 336h`,
		}},
		{name: "no risk", spec: `forecast: {risk: {}}`, want: []string{
			`spec.forecast.risk: exactly one of quantile and costRatio`,
		}},
		{name: "two risks", spec: `forecast: {risk: {quantile: "0.95", costRatio: "50"}}`, want: []string{
			`spec.forecast.risk: exactly one of quantile and costRatio`,
		}},
		{name: "a quantile in percent", spec: `forecast: {risk: {quantile: "95%"}}`, want: []string{
			`spec.forecast.risk.quantile: risk.quantile must be between 0.5 and 0.995, written like "0.95"`,
		}},
		{name: "a quantile of 1", spec: `forecast: {risk: {quantile: "1"}}`, want: []string{
			`spec.forecast.risk.quantile: risk.quantile must be between 0.5 and 0.995, written like "0.95"`,
		}},
		{name: "a cost ratio in words", spec: `forecast: {risk: {costRatio: lots}}`, want: []string{
			`spec.forecast.risk.costRatio: risk.costRatio must be between 1 and 199, such as "50"`,
		}},
		{name: "a hold that never ends", spec: `scaleDownHold: 25h`, want: []string{
			`spec.scaleDownHold: scaleDownHold must be between 0s and 24h, written like 4m30s`,
		}},
		{name: "a hold of less than nothing", spec: `scaleDownHold: -1s`, want: []string{
			`spec.scaleDownHold: scaleDownHold must be between 0s and 24h, written like 4m30s`,
		}},
		{name: "a window with no time", spec: `prewarm: {windows: [{name: a, replicas: 3}]}`, want: []string{
			`spec.prewarm.windows[0]: a window is either recurring (schedule and duration) or one-off (from and until)`,
		}},
		{name: "a schedule without a duration", spec: `prewarm: {windows: [{name: a, replicas: 3, schedule: "30 8 * * 1-5"}]}`, want: []string{
			`spec.prewarm.windows[0]: schedule and duration belong together`,
		}},
		{name: "a duration without a schedule", spec: `prewarm: {windows: [{name: a, replicas: 3, duration: 1h}]}`, want: []string{
			`spec.prewarm.windows[0]: a window is either recurring (schedule and duration) or one-off (from and until)`,
			`spec.prewarm.windows[0]: schedule and duration belong together`,
		}},
		{name: "recurring and one-off", spec: `prewarm: {windows: [{name: a, replicas: 3, schedule: "30 8 * * 1-5", duration: 1h, from: "2026-12-01T09:00:00+07:00", until: "2026-12-01T14:00:00+07:00"}]}`, want: []string{
			`spec.prewarm.windows[0]: a window is either recurring (schedule and duration) or one-off (from and until)`,
		}},
		{name: "from without until", spec: `prewarm: {windows: [{name: a, replicas: 3, from: "2026-12-01T09:00:00+07:00"}]}`, want: []string{
			`spec.prewarm.windows[0]: from and until belong together`,
		}},
		{name: "until before from, across zones", spec: `prewarm: {windows: [{name: a, replicas: 3, from: "2026-12-01T09:00:00+07:00", until: "2026-12-01T02:00:00Z"}]}`, want: []string{
			`spec.prewarm.windows[0]: until must be later than from`,
		}},
		{name: "a schedule of another kind", spec: `prewarm: {windows: [{name: a, replicas: 3, schedule: "@daily", duration: 1h}]}`, want: []string{
			`spec.prewarm.windows[0].schedule: schedule must have five fields (minute, hour, day of month, month, day of week), such as "30 8 * * 1-5"`,
		}},
		{name: "a schedule with seconds", spec: `prewarm: {windows: [{name: a, replicas: 3, schedule: "0 30 8 * * 1-5", duration: 1h}]}`, want: []string{
			`spec.prewarm.windows[0].schedule: schedule must have five fields (minute, hour, day of month, month, day of week), such as "30 8 * * 1-5"`,
		}},
		{name: "a duration of nothing", spec: `prewarm: {windows: [{name: a, replicas: 3, schedule: "30 8 * * 1-5", duration: 0s}]}`, want: []string{
			`spec.prewarm.windows[0].duration: duration must be above 0s and at most 8784h (366 days), written like 9h30m`,
		}},
		{name: "a ceiling below the floor", spec: `prewarm: {windows: [{name: a, replicas: 3, maxReplicas: 2, schedule: "30 8 * * 1-5", duration: 1h}]}`, want: []string{
			`spec.prewarm.windows[0].maxReplicas: maxReplicas must not be below replicas`,
		}},
		{name: "a ramp of days", spec: `prewarm: {windows: [{name: a, replicas: 3, ramp: 2d, schedule: "30 8 * * 1-5", duration: 1h}]}`, want: []string{
			`spec.prewarm.windows[0].ramp: ramp must be between 0s and 24h, written like 4m30s`,
		}},
		{name: "two windows of one name", spec: `prewarm: {windows: [{name: a, replicas: 3, schedule: "30 8 * * 1-5", duration: 1h}, {name: a, replicas: 4, schedule: "30 8 * * 1-5", duration: 1h}]}`, want: []string{
			`spec.prewarm.windows[1]: Duplicate value: {"name":"a"}`,
		}},
		{name: "an exception of another form", spec: `prewarm: {exceptions: ["25.12.2026"], windows: [{name: a, replicas: 3, schedule: "30 8 * * 1-5", duration: 1h}]}`, want: []string{
			`spec.prewarm.exceptions[0]: an exception is a date such as 2026-12-25`,
		}},
		{name: "limits crossed", spec: `limits: {minReplicas: 5, maxReplicas: 4}`, want: []string{
			`spec.limits.minReplicas: limits.minReplicas must not be above limits.maxReplicas`,
		}},
		{name: "shrinking growth", spec: `limits: {maxGrowth: 0.5x}`, want: []string{
			`spec.limits.maxGrowth: maxGrowth must be between 1x and 10x, such as 2x`,
		}},
		{name: "growth in words", spec: `limits: {maxGrowth: double}`, want: []string{
			`spec.limits.maxGrowth: maxGrowth must be between 1x and 10x, such as 2x`,
		}},
		{name: "a lift where nothing is in the way", spec: `actuation: {mode: MinReplicas, deadband: Lift}`, want: []string{
			`spec.actuation.deadband: deadband: Lift belongs to mode Metric; the other modes are not subject to the HPA's tolerance`,
		}},
		{name: "which ScaledObject", spec: `actuation: {mode: ScaledObject}`, want: []string{
			`spec.actuation: mode ScaledObject needs the name of KEDA's ScaledObject`,
		}},
		{name: "a ScaledObject in another mode", spec: `actuation: {scaledObjectName: x}`, want: []string{
			`spec.actuation.scaledObjectName: scaledObjectName belongs to mode ScaledObject`,
		}},
		{name: "several at once", spec: `{leadTime: {mode: Fixed}, limits: {maxGrowth: double}, scaleDownHold: 25h}`, want: []string{
			`spec.leadTime: mode Fixed needs value`,
			`spec.limits.maxGrowth: maxGrowth must be between 1x and 10x, such as 2x`,
			`spec.scaleDownHold: scaleDownHold must be between 0s and 24h, written like 4m30s`,
		}},
	} {
		t.Run(test.name, func(t *testing.T) {
			_, err := tryHeadroom(t, test.spec)
			if err == nil {
				t.Fatal("taken")
			}
			if diff := cmp.Diff(test.want, causes(err)); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// TestWhatAHeadroomMaySay: each is taken, and what is left out is what the documentation says.
func TestWhatAHeadroomMaySay(t *testing.T) {
	must(t, shared.InstallCRDs(t.Context()))
	const defaults = `{
		"scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "llama"},
		"demand": {"metric": {"name": "requests_offered_per_second", "type": "Pods"}, "perReplica": "12", "maxMissing": "10%"},
		"leadTime": {"mode": "Auto", "percentile": 90, "initial": "4m"},
		"forecast": {"mode": "On", "risk": {"quantile": "0.95"}, "history": "336h"},
		"buffer": {"replicas": 2, "onForecast": 1},
		"limits": {"maxGrowth": "2x"},
		"actuation": {"mode": "Metric", "deadband": "None"}
	}`
	for _, test := range []struct {
		name string
		spec string
		want string // fields that differ from the defaults, as a JSON object
	}{
		{name: "the least", spec: `{}`, want: `{}`},
		{name: "half a request a second", spec: `demand: {metric: {name: x}, perReplica: "0.5"}`, want: `{"demand": {"metric": {"name": "x", "type": "Pods"}, "perReplica": "0.5", "maxMissing": "10%"}}`},
		{name: "PromQL", spec: `demand: {query: "sum(rate(x[1m]))", perReplica: 12}`, want: `{"demand": {"query": "sum(rate(x[1m]))", "perReplica": 12, "maxMissing": "10%"}}`},
		{name: "an external metric", spec: `demand: {metric: {name: x, type: External, selector: {matchLabels: {a: b}}}, perReplica: 1}`,
			want: `{"demand": {"metric": {"name": "x", "type": "External", "selector": {"matchLabels": {"a": "b"}}}, "perReplica": 1, "maxMissing": "10%"}}`},
		{name: "a fixed lead time", spec: `leadTime: {mode: Fixed, value: 1m30s}`, want: `{"leadTime": {"mode": "Fixed", "value": "1m30s", "percentile": 90, "initial": "4m"}}`},
		{name: "a cost ratio", spec: `forecast: {risk: {costRatio: "50"}}`, want: `{"forecast": {"mode": "On", "risk": {"costRatio": "50"}, "history": "336h"}}`},
		{name: "no hold and no buffer", spec: `{scaleDownHold: 0s, buffer: {replicas: 0, onForecast: 0}}`, want: `{"scaleDownHold": "0s", "buffer": {"replicas": 0, "onForecast": 0}}`},
		{name: "windows", spec: `
prewarm:
  timeZone: Asia/Ho_Chi_Minh
  windows:
  - {name: office, schedule: "30 8 * * 1-5", duration: 9h30m, replicas: 12, ramp: 10m}
  - {name: launch, from: "2026-12-01T09:00:00+07:00", until: "2026-12-01T14:00:00+07:00", replicas: 40, maxReplicas: 50}
  exceptions: ["2026-12-25"]
`, want: `{"prewarm": {"timeZone": "Asia/Ho_Chi_Minh", "exceptions": ["2026-12-25"], "windows": [
			{"name": "office", "schedule": "30 8 * * 1-5", "duration": "9h30m", "replicas": 12, "ramp": "10m"},
			{"name": "launch", "from": "2026-12-01T09:00:00+07:00", "until": "2026-12-01T14:00:00+07:00", "replicas": 40, "maxReplicas": 50}]}}`},
		{name: "a lift", spec: `actuation: {deadband: Lift}`, want: `{"actuation": {"mode": "Metric", "deadband": "Lift"}}`},
		{name: "a ScaledObject", spec: `actuation: {mode: ScaledObject, scaledObjectName: llama}`, want: `{"actuation": {"mode": "ScaledObject", "scaledObjectName": "llama", "deadband": "None"}}`},
	} {
		t.Run(test.name, func(t *testing.T) {
			stored, err := tryHeadroom(t, test.spec)
			if err != nil {
				t.Fatal(err)
			}
			var got, want map[string]any
			text, err := json.Marshal(stored.Object["spec"])
			must(t, err)
			must(t, json.Unmarshal(text, &got))
			must(t, json.Unmarshal([]byte(defaults), &want))
			must(t, json.Unmarshal([]byte(test.want), &want)) // whole fields are replaced
			if diff := cmp.Diff(want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// schemaNode is as much of an OpenAPI schema as describes its fields.
type schemaNode struct {
	Description string                `json:"description"`
	Properties  map[string]schemaNode `json:"properties"`
	Items       *schemaNode           `json:"items"`
}

// TestKubectlExplainHasAWordForEveryField reads what kubectl explain reads.
func TestKubectlExplainHasAWordForEveryField(t *testing.T) {
	must(t, shared.InstallCRDs(t.Context()))
	var document struct {
		Components struct {
			Schemas map[string]schemaNode `json:"schemas"`
		} `json:"components"`
	}
	const name = "dev.headroom.v1alpha1.Headroom"
	must(t, testbed.WaitFor(t.Context(), soon, "the OpenAPI document of Headroom objects", func(ctx context.Context) (bool, string) {
		status, body, err := shared.Get(ctx, "/openapi/v3/apis/headroom.dev/v1alpha1")
		if err != nil || status != http.StatusOK {
			return false, fmt.Sprint(status, err)
		}
		if err := json.Unmarshal([]byte(body), &document); err != nil {
			return false, err.Error()
		}
		_, published := document.Components.Schemas[name]
		return published, fmt.Sprint(slices.Collect(maps.Keys(document.Components.Schemas)))
	}))
	fields := 0
	var walk func(path string, node schemaNode)
	walk = func(path string, node schemaNode) {
		for field, child := range node.Properties {
			at := path + "." + field
			fields++
			if strings.TrimSpace(child.Description) == "" {
				t.Errorf("%s has no description", at)
			}
			if child.Items != nil {
				child = *child.Items
			}
			if at != "headroom.metadata" {
				walk(at, child)
			}
		}
	}
	walk("headroom", document.Components.Schemas[name])
	if fields < 80 {
		t.Errorf("only %d fields were looked at", fields)
	}
	t.Logf("%d fields", fields)
}
