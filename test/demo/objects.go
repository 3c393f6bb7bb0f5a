package main

import (
	"context"
	"fmt"
	"time"

	autoscalingv2 "k8s.io/api/autoscaling/v2"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/yaml"

	"github.com/headroom-autoscaler/headroom/api/v1alpha1"
	"github.com/headroom-autoscaler/headroom/test/testbed"
)

// manifest is the Headroom of the demo, as it is applied and as it is shown.
func manifest(from, until time.Time) string {
	return fmt.Sprintf(`apiVersion: headroom.dev/v1alpha1
kind: Headroom
metadata: {name: %[1]s, namespace: %[2]s}
spec:
  scaleTargetRef: {apiVersion: apps/v1, kind: Deployment, name: %[1]s}
  demand:
    metric: {name: requests_offered_per_second}
    perReplica: "%[3]g"
  buffer: {replicas: 2}
  forecast: {mode: "On"}
  leadTime: {mode: Auto, initial: %[4]s}
  prewarm:
    windows:
    - {name: launch, from: "%[5]s", until: "%[6]s", replicas: %[7]d}
  actuation: {mode: Metric}
`, deployment, namespaces[ahead], perPod, firstLead, from.UTC().Format(time.RFC3339), until.UTC().Format(time.RFC3339), windowReplicas)
}

// headroom parses a manifest as the API server does: strictly.
func headroom(manifest string) (*v1alpha1.Headroom, error) {
	var hr v1alpha1.Headroom
	if err := yaml.UnmarshalStrict([]byte(manifest), &hr); err != nil {
		return nil, err
	}
	return &hr, nil
}

// addAlone is what there is without Headroom: an HPA on the load of a pod, with the behaviour of one that says nothing of it.
func (s *stage) addAlone(ctx context.Context) error {
	return s.addHPA(ctx, alone, `{"spec":{"behavior":null}}`, testbed.PodsMetric("requests_offered_per_second", target))
}

// addAhead is the HPA that the documentation shows, and the Headroom.
func (s *stage) addAhead(ctx context.Context) error {
	own := map[string]string{"headroom": deployment}
	err := s.addHPA(ctx, ahead, `{"spec":{"behavior":{"scaleUp":{"tolerance":"0","policies":null}}}}`,
		testbed.ExternalMetric(floorMetric, own, "1"), testbed.ExternalMetric("headroom_schedule_replicas", own, "1"))
	if err != nil {
		return err
	}
	hr, err := headroom(s.manifest)
	if err != nil {
		return err
	}
	return s.bed.AddHeadroom(ctx, hr)
}

// addHPA makes an HPA, and changes it: the test bed's own scales up faster than the default.
func (s *stage) addHPA(ctx context.Context, fleet int, change string, metrics ...autoscalingv2.MetricSpec) error {
	if err := s.bed.AddHPA(ctx, namespaces[fleet], deployment, 2, mostPods, metrics...); err != nil {
		return err
	}
	hpas := s.bed.Client.AutoscalingV2().HorizontalPodAutoscalers(namespaces[fleet])
	_, err := hpas.Patch(ctx, deployment, types.MergePatchType, []byte(change), metav1.PatchOptions{})
	return err
}

// floorMetric is what the HPA with Headroom follows.
const floorMetric = "headroom_replicas"
