package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	autoscalingv2 "k8s.io/api/autoscaling/v2"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/discovery"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/restmapper"
	"k8s.io/client-go/scale"

	"github.com/headroom-autoscaler/headroom/bench/load/ask"
)

// readTargets reads one question a line:
//
//	pods     NAMESPACE METRIC SELECTOR
//	object   NAMESPACE METRIC RESOURCE/NAME [METRICSELECTOR]
//	external NAMESPACE METRIC [SELECTOR]
//
// RESOURCE is plural with its group, such as deployments.apps. Empty lines and lines that begin with # are skipped. Every
// bad line is reported.
func readTargets(r io.Reader) ([]ask.Target, error) {
	var targets []ask.Target
	var problems []error
	lines := bufio.NewScanner(r)
	for n := 1; lines.Scan(); n++ {
		fields := strings.Fields(lines.Text())
		if len(fields) == 0 || strings.HasPrefix(fields[0], "#") {
			continue
		}
		t, err := readTarget(fields)
		if err != nil {
			problems = append(problems, fmt.Errorf("line %d: %w", n, err))
			continue
		}
		targets = append(targets, t)
	}
	if err := lines.Err(); err != nil {
		problems = append(problems, err)
	}
	if len(targets) == 0 && len(problems) == 0 {
		problems = append(problems, errors.New("no questions in it"))
	}
	return targets, errors.Join(problems...)
}

func readTarget(fields []string) (ask.Target, error) {
	field := func(i int) string {
		if i < len(fields) {
			return fields[i]
		}
		return ""
	}
	t := ask.Target{Namespace: field(1), Metric: field(2)}
	var selectors []string
	switch fields[0] {
	case "pods":
		t.Kind, t.Selector = ask.Pods, field(3)
		if len(fields) != 4 {
			return t, errors.New("want: pods NAMESPACE METRIC SELECTOR")
		}
		selectors = fields[3:]
	case "object":
		t.Kind, t.MetricSelector = ask.Object, field(4)
		var ok bool
		t.Resource, t.Name, ok = strings.Cut(field(3), "/")
		if len(fields) < 4 || len(fields) > 5 || !ok || t.Resource == "" || t.Name == "" {
			return t, errors.New("want: object NAMESPACE METRIC RESOURCE/NAME [METRICSELECTOR]")
		}
		selectors = fields[4:]
	case "external":
		t.Kind, t.Selector = ask.External, field(3)
		if len(fields) < 3 || len(fields) > 4 {
			return t, errors.New("want: external NAMESPACE METRIC [SELECTOR]")
		}
		selectors = fields[3:]
	default:
		return t, fmt.Errorf("kind %q is none of pods, object, external", fields[0])
	}
	for _, s := range selectors {
		if _, err := labels.Parse(s); err != nil {
			return t, fmt.Errorf("selector %q: %w", s, err)
		}
	}
	return t, nil
}

// targetsOfCluster are the questions that the HPAs of a cluster ask now: the scale target's selector comes from its scale
// subresource, as for the HPA controller. Resource metrics go to another API and are skipped.
func targetsOfCluster(ctx context.Context, config *rest.Config) ([]ask.Target, error) {
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		return nil, err
	}
	groups, err := restmapper.GetAPIGroupResources(client.Discovery())
	if err != nil && len(groups) == 0 {
		return nil, fmt.Errorf("discover resources: %w", err)
	}
	mapper := restmapper.NewDiscoveryRESTMapper(groups)
	scales, err := scale.NewForConfig(config, mapper, dynamic.LegacyAPIPathResolverFunc, scale.NewDiscoveryScaleKindResolver(discovery.NewDiscoveryClient(client.RESTClient())))
	if err != nil {
		return nil, err
	}
	hpas, err := client.AutoscalingV2().HorizontalPodAutoscalers("").List(ctx, metav1.ListOptions{})
	if err != nil {
		return nil, fmt.Errorf("list HPAs: %w", err)
	}
	resourceOf := func(apiVersion, kind string) (schema.GroupResource, error) {
		gv, err := schema.ParseGroupVersion(apiVersion)
		if err != nil {
			return schema.GroupResource{}, err
		}
		mapping, err := mapper.RESTMapping(gv.WithKind(kind).GroupKind(), gv.Version)
		if err != nil {
			return schema.GroupResource{}, err
		}
		return mapping.Resource.GroupResource(), nil
	}
	var targets []ask.Target
	for i := range hpas.Items {
		hpa := &hpas.Items[i]
		of := hpa.Spec.ScaleTargetRef
		resource, err := resourceOf(of.APIVersion, of.Kind)
		if err != nil {
			return nil, fmt.Errorf("HPA %s/%s: %w", hpa.Namespace, hpa.Name, err)
		}
		s, err := scales.Scales(hpa.Namespace).Get(ctx, resource, of.Name, metav1.GetOptions{})
		if err != nil {
			return nil, fmt.Errorf("HPA %s/%s: scale of %s %s: %w", hpa.Namespace, hpa.Name, of.Kind, of.Name, err)
		}
		asked, err := targetsOfHPA(hpa, s.Status.Selector, resourceOf)
		if err != nil {
			return nil, fmt.Errorf("HPA %s/%s: %w", hpa.Namespace, hpa.Name, err)
		}
		targets = append(targets, asked...)
	}
	return targets, nil
}

func targetsOfHPA(hpa *autoscalingv2.HorizontalPodAutoscaler, podSelector string, resourceOf func(apiVersion, kind string) (schema.GroupResource, error)) ([]ask.Target, error) {
	text := func(s *metav1.LabelSelector) (string, error) {
		if s == nil {
			return "", nil
		}
		selector, err := metav1.LabelSelectorAsSelector(s)
		if err != nil {
			return "", err
		}
		return selector.String(), nil
	}
	var targets []ask.Target
	for _, m := range hpa.Spec.Metrics {
		t := ask.Target{Namespace: hpa.Namespace}
		var err error
		switch {
		case m.Pods != nil:
			t.Kind, t.Metric, t.Selector = ask.Pods, m.Pods.Metric.Name, podSelector
			t.MetricSelector, err = text(m.Pods.Metric.Selector)
		case m.Object != nil:
			t.Kind, t.Metric, t.Name = ask.Object, m.Object.Metric.Name, m.Object.DescribedObject.Name
			var resource schema.GroupResource
			if resource, err = resourceOf(m.Object.DescribedObject.APIVersion, m.Object.DescribedObject.Kind); err == nil {
				t.Resource = resource.String()
				t.MetricSelector, err = text(m.Object.Metric.Selector)
			}
		case m.External != nil:
			t.Kind, t.Metric = ask.External, m.External.Metric.Name
			t.Selector, err = text(m.External.Metric.Selector)
		default:
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("metric %s: %w", t.Metric, err)
		}
		targets = append(targets, t)
	}
	return targets, nil
}
