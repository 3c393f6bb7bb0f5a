package testbed

import (
	"context"
	"encoding/base64"
	"fmt"
	"io"
	"maps"
	"net/http"
	"os"
	"slices"
	"strings"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	autoscalingv2 "k8s.io/api/autoscaling/v2"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

const (
	// Namespace and Service are where kube-apiserver finds the adapter.
	Namespace = "headroom-system"
	Service   = "headroom"
	// ColdStart is the pod annotation that says how long a simulated pod loads before it is Ready.
	ColdStart = "headroom.dev/cold-start"
)

// GPU is the resource that simulated nodes have and pods ask for.
const GPU = corev1.ResourceName("nvidia.com/gpu")

// applyRights gives the adapter's service account what docs/serving.md says it needs, and no more.
func (b *Bed) applyRights(ctx context.Context) error {
	if err := b.EnsureNamespace(ctx, Namespace); err != nil {
		return err
	}
	subject := []rbacv1.Subject{{Kind: "ServiceAccount", Name: Service, Namespace: Namespace}}
	read := []string{"get", "list", "watch"}
	_, err := b.Client.CoreV1().ServiceAccounts(Namespace).Create(ctx, &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Name: Service}}, metav1.CreateOptions{})
	if err := unlessExists(err); err != nil {
		return err
	}
	_, err = b.Client.RbacV1().ClusterRoles().Create(ctx, &rbacv1.ClusterRole{
		ObjectMeta: metav1.ObjectMeta{Name: "headroom"},
		Rules: []rbacv1.PolicyRule{
			{APIGroups: []string{""}, Resources: []string{"pods"}, Verbs: read},
			{APIGroups: []string{"autoscaling"}, Resources: []string{"horizontalpodautoscalers"}, Verbs: read},
			{APIGroups: []string{"headroom.dev"}, Resources: []string{"headrooms"}, Verbs: read},
		},
	}, metav1.CreateOptions{})
	if err := unlessExists(err); err != nil {
		return err
	}
	if err := b.applyDecidingRights(ctx, subject); err != nil {
		return err
	}
	for name, role := range map[string]string{"headroom": "headroom", "headroom:system:auth-delegator": "system:auth-delegator"} {
		_, err = b.Client.RbacV1().ClusterRoleBindings().Create(ctx, &rbacv1.ClusterRoleBinding{
			ObjectMeta: metav1.ObjectMeta{Name: name}, Subjects: subject, RoleRef: rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: role},
		}, metav1.CreateOptions{})
		if err := unlessExists(err); err != nil {
			return err
		}
	}
	_, err = b.Client.RbacV1().RoleBindings("kube-system").Create(ctx, &rbacv1.RoleBinding{
		ObjectMeta: metav1.ObjectMeta{Name: "headroom"}, Subjects: subject,
		RoleRef: rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "Role", Name: "extension-apiserver-authentication-reader"},
	}, metav1.CreateOptions{})
	return unlessExists(err)
}

// applyDecidingRights are what it needs besides to decide about Headroom objects: in MinReplicas and ScaledObject modes to
// write a minimum, and never to write replicas.
func (b *Bed) applyDecidingRights(ctx context.Context, subject []rbacv1.Subject) error {
	const name = "headroom:decide"
	_, err := b.Client.RbacV1().ClusterRoles().Create(ctx, &rbacv1.ClusterRole{
		ObjectMeta: metav1.ObjectMeta{Name: name},
		Rules: []rbacv1.PolicyRule{
			{APIGroups: []string{""}, Resources: []string{"nodes"}, Verbs: []string{"get", "list", "watch"}},
			{APIGroups: []string{"apps"}, Resources: []string{"deployments/scale", "statefulsets/scale", "replicasets/scale"}, Verbs: []string{"get"}},
			{APIGroups: []string{"headroom.dev"}, Resources: []string{"headrooms"}, Verbs: []string{"patch"}},
			{APIGroups: []string{"headroom.dev"}, Resources: []string{"headrooms/status"}, Verbs: []string{"patch"}},
			{APIGroups: []string{"headroom.dev"}, Resources: []string{"headrooms/finalizers"}, Verbs: []string{"update"}},
			{APIGroups: []string{"autoscaling"}, Resources: []string{"horizontalpodautoscalers"}, Verbs: []string{"patch"}},
			{APIGroups: []string{"keda.sh"}, Resources: []string{"scaledobjects"}, Verbs: []string{"get", "list", "patch"}},
			{APIGroups: []string{"autoscaling.x-k8s.io"}, Resources: []string{"capacitybuffers"}, Verbs: []string{"get", "patch"}},
			{APIGroups: []string{"events.k8s.io"}, Resources: []string{"events"}, Verbs: []string{"create", "patch"}},
		},
	}, metav1.CreateOptions{})
	if err := unlessExists(err); err != nil {
		return err
	}
	_, err = b.Client.RbacV1().ClusterRoleBindings().Create(ctx, &rbacv1.ClusterRoleBinding{
		ObjectMeta: metav1.ObjectMeta{Name: name}, Subjects: subject, RoleRef: rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: name},
	}, metav1.CreateOptions{})
	if err := unlessExists(err); err != nil {
		return err
	}
	_, err = b.Client.RbacV1().Roles(Namespace).Create(ctx, &rbacv1.Role{
		ObjectMeta: metav1.ObjectMeta{Name: name},
		Rules: []rbacv1.PolicyRule{
			{APIGroups: []string{"coordination.k8s.io"}, Resources: []string{"leases"}, Verbs: []string{"get", "create", "update"}},
			{APIGroups: []string{""}, Resources: []string{"events"}, Verbs: []string{"create", "patch"}}, // of the lease
		},
	}, metav1.CreateOptions{})
	if err := unlessExists(err); err != nil {
		return err
	}
	_, err = b.Client.RbacV1().RoleBindings(Namespace).Create(ctx, &rbacv1.RoleBinding{
		ObjectMeta: metav1.ObjectMeta{Name: name}, Subjects: subject, RoleRef: rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "Role", Name: name},
	}, metav1.CreateOptions{})
	return unlessExists(err)
}

var apiServices = schema.GroupVersionResource{Group: "apiregistration.k8s.io", Version: "v1", Resource: "apiservices"}

// MetricsAPIs are the group versions that an adapter serves.
var MetricsAPIs = []schema.GroupVersion{
	{Group: "custom.metrics.k8s.io", Version: "v1beta2"}, {Group: "custom.metrics.k8s.io", Version: "v1beta1"}, {Group: "external.metrics.k8s.io", Version: "v1beta1"},
}

// RegisterAPIServices makes kube-apiserver hand the metrics APIs to the adapter on the port, and waits until it does.
func (b *Bed) RegisterAPIServices(ctx context.Context, port int) error {
	_, err := b.Client.CoreV1().Services(Namespace).Create(ctx, &corev1.Service{
		ObjectMeta: metav1.ObjectMeta{Name: Service}, Spec: corev1.ServiceSpec{Type: corev1.ServiceTypeExternalName, ExternalName: "localhost"},
	}, metav1.CreateOptions{})
	if err := unlessExists(err); err != nil {
		return err
	}
	for _, api := range MetricsAPIs {
		if err := b.PointAPIService(ctx, api, Service, port); err != nil {
			return err
		}
	}
	return b.WaitAPIServices(ctx)
}

// PointAPIService creates or changes one APIService.
func (b *Bed) PointAPIService(ctx context.Context, api schema.GroupVersion, service string, port int) error {
	authority, err := os.ReadFile(b.CAFile)
	if err != nil {
		return err
	}
	priority := int64(100)
	if api.Version == "v1beta2" {
		priority = 200
	}
	object := &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "apiregistration.k8s.io/v1", "kind": "APIService",
		"metadata": map[string]any{"name": api.Version + "." + api.Group},
		"spec": map[string]any{
			"group": api.Group, "version": api.Version, "groupPriorityMinimum": int64(100), "versionPriority": priority,
			"service":  map[string]any{"namespace": Namespace, "name": service, "port": int64(port)},
			"caBundle": base64.StdEncoding.EncodeToString(authority),
		},
	}}
	_, err = b.Dynamic.Resource(apiServices).Apply(ctx, object.GetName(), object, metav1.ApplyOptions{FieldManager: "testbed", Force: true})
	return err
}

// WaitAPIServices waits until kube-apiserver calls the metrics APIs available.
func (b *Bed) WaitAPIServices(ctx context.Context) error {
	return WaitFor(ctx, time.Minute, "the metrics APIs to be available", func(ctx context.Context) (bool, string) {
		for _, api := range MetricsAPIs {
			object, err := b.Dynamic.Resource(apiServices).Get(ctx, api.Version+"."+api.Group, metav1.GetOptions{})
			if err != nil {
				return false, err.Error()
			}
			if !hasCondition(object, "Available") {
				return false, fmt.Sprint(object.GetName(), ": ", object.Object["status"])
			}
		}
		return true, ""
	})
}

// EnsureNamespace makes a namespace unless there is one.
func (b *Bed) EnsureNamespace(ctx context.Context, name string) error {
	_, err := b.Client.CoreV1().Namespaces().Create(ctx, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name}}, metav1.CreateOptions{})
	return unlessExists(err)
}

// AddNode makes a simulated node with GPUs.
func (b *Bed) AddNode(ctx context.Context, name string, gpus int) error {
	_, err := b.Client.CoreV1().Nodes().Create(ctx, &corev1.Node{
		ObjectMeta: metav1.ObjectMeta{Name: name, Labels: map[string]string{"kubernetes.io/hostname": name}},
		Status: corev1.NodeStatus{Capacity: corev1.ResourceList{
			corev1.ResourceCPU: resource.MustParse("256"), corev1.ResourceMemory: resource.MustParse("4Ti"), corev1.ResourcePods: resource.MustParse("1000"),
			GPU: *resource.NewQuantity(int64(gpus), resource.DecimalSI),
		}},
	}, metav1.CreateOptions{})
	return unlessExists(err)
}

// Deployment describes a simulated model server. Each pod asks for one GPU.
type Deployment struct {
	Namespace, Name string
	Replicas        int32
	ColdStart       time.Duration // 0 for none
	Labels          map[string]string
}

// AddDeployment makes the deployment; its pods carry the label app=NAME.
func (b *Bed) AddDeployment(ctx context.Context, d Deployment) error {
	if err := b.EnsureNamespace(ctx, d.Namespace); err != nil {
		return err
	}
	labels := map[string]string{"app": d.Name}
	maps.Copy(labels, d.Labels)
	grace := int64(0)
	_, err := b.Client.AppsV1().Deployments(d.Namespace).Create(ctx, &appsv1.Deployment{
		ObjectMeta: metav1.ObjectMeta{Name: d.Name},
		Spec: appsv1.DeploymentSpec{
			Replicas: &d.Replicas, Selector: &metav1.LabelSelector{MatchLabels: map[string]string{"app": d.Name}},
			Template: corev1.PodTemplateSpec{
				ObjectMeta: metav1.ObjectMeta{Labels: labels, Annotations: map[string]string{ColdStart: d.ColdStart.String()}},
				Spec: corev1.PodSpec{TerminationGracePeriodSeconds: &grace, Containers: []corev1.Container{{
					Name: "server", Image: "server", Resources: corev1.ResourceRequirements{Limits: corev1.ResourceList{GPU: resource.MustParse("1")}},
				}}},
			},
		},
	}, metav1.CreateOptions{})
	return err
}

// PodsMetric, ObjectMetric and ExternalMetric are the three that an HPA asks an adapter for, with AverageValue targets
// (Value for Object).
func PodsMetric(name, target string) autoscalingv2.MetricSpec {
	return autoscalingv2.MetricSpec{Type: autoscalingv2.PodsMetricSourceType, Pods: &autoscalingv2.PodsMetricSource{
		Metric: autoscalingv2.MetricIdentifier{Name: name}, Target: averageValue(target),
	}}
}

// ObjectMetric is about one object in the HPA's namespace.
func ObjectMetric(name, apiVersion, kind, object, target string) autoscalingv2.MetricSpec {
	quantity := resource.MustParse(target)
	return autoscalingv2.MetricSpec{Type: autoscalingv2.ObjectMetricSourceType, Object: &autoscalingv2.ObjectMetricSource{
		DescribedObject: autoscalingv2.CrossVersionObjectReference{APIVersion: apiVersion, Kind: kind, Name: object},
		Metric:          autoscalingv2.MetricIdentifier{Name: name},
		Target:          autoscalingv2.MetricTarget{Type: autoscalingv2.ValueMetricType, Value: &quantity},
	}}
}

// ExternalMetric selects series by labels.
func ExternalMetric(name string, selector map[string]string, target string) autoscalingv2.MetricSpec {
	return autoscalingv2.MetricSpec{Type: autoscalingv2.ExternalMetricSourceType, External: &autoscalingv2.ExternalMetricSource{
		Metric: autoscalingv2.MetricIdentifier{Name: name, Selector: &metav1.LabelSelector{MatchLabels: selector}}, Target: averageValue(target),
	}}
}

func averageValue(target string) autoscalingv2.MetricTarget {
	quantity := resource.MustParse(target)
	return autoscalingv2.MetricTarget{Type: autoscalingv2.AverageValueMetricType, AverageValue: &quantity}
}

// AddHPA makes an HPA for the deployment of the same name. Scaling down is not held back beyond the controller's own
// stabilisation; scaling up may go to the maximum at once.
func (b *Bed) AddHPA(ctx context.Context, namespace, name string, minimum, maximum int32, metrics ...autoscalingv2.MetricSpec) error {
	all, period := int32(1000), int32(15)
	_, err := b.Client.AutoscalingV2().HorizontalPodAutoscalers(namespace).Create(ctx, &autoscalingv2.HorizontalPodAutoscaler{
		ObjectMeta: metav1.ObjectMeta{Name: name},
		Spec: autoscalingv2.HorizontalPodAutoscalerSpec{
			ScaleTargetRef: autoscalingv2.CrossVersionObjectReference{APIVersion: "apps/v1", Kind: "Deployment", Name: name},
			MinReplicas:    &minimum, MaxReplicas: maximum, Metrics: metrics,
			Behavior: &autoscalingv2.HorizontalPodAutoscalerBehavior{ScaleUp: &autoscalingv2.HPAScalingRules{
				Policies: []autoscalingv2.HPAScalingPolicy{{Type: autoscalingv2.PodsScalingPolicy, Value: all, PeriodSeconds: period}},
			}},
		},
	}, metav1.CreateOptions{})
	return err
}

// Replicas is what the deployment is told to have.
func (b *Bed) Replicas(ctx context.Context, namespace, name string) (int32, error) {
	scale, err := b.Client.AppsV1().Deployments(namespace).GetScale(ctx, name, metav1.GetOptions{})
	if err != nil {
		return 0, err
	}
	return scale.Spec.Replicas, nil
}

// WaitReplicas waits until the HPA has set the deployment's replicas. The error shows the HPA's conditions and events.
func (b *Bed) WaitReplicas(ctx context.Context, within time.Duration, namespace, name string, want int32) error {
	err := WaitFor(ctx, within, fmt.Sprintf("%s/%s to have %d replicas", namespace, name, want), func(ctx context.Context) (bool, string) {
		got, err := b.Replicas(ctx, namespace, name)
		return err == nil && got == want, fmt.Sprint(got, " ", err)
	})
	if err != nil {
		return fmt.Errorf("%w\n%s", err, b.DescribeHPA(context.WithoutCancel(ctx), namespace, name))
	}
	return nil
}

// ReadyPods are the names of the deployment's pods that are Ready.
func (b *Bed) ReadyPods(ctx context.Context, namespace, name string) ([]string, error) {
	list, err := b.Client.CoreV1().Pods(namespace).List(ctx, metav1.ListOptions{LabelSelector: "app=" + name, ResourceVersion: "0"})
	if err != nil {
		return nil, err
	}
	var names []string
	for _, pod := range list.Items {
		ready := slices.ContainsFunc(pod.Status.Conditions, func(c corev1.PodCondition) bool {
			return c.Type == corev1.PodReady && c.Status == corev1.ConditionTrue
		})
		if ready && pod.DeletionTimestamp == nil {
			names = append(names, pod.Name)
		}
	}
	slices.Sort(names)
	return names, nil
}

// WaitReady waits until so many of the deployment's pods are Ready and returns their names.
func (b *Bed) WaitReady(ctx context.Context, within time.Duration, namespace, name string, want int) (pods []string, err error) {
	err = WaitFor(ctx, within, fmt.Sprintf("%d Ready pods of %s/%s", want, namespace, name), func(ctx context.Context) (bool, string) {
		pods, err = b.ReadyPods(ctx, namespace, name)
		return err == nil && len(pods) == want, fmt.Sprint(pods, " ", err)
	})
	return pods, err
}

// DescribeHPA is what a person would look at: replicas, conditions, current metrics and events.
func (b *Bed) DescribeHPA(ctx context.Context, namespace, name string) string {
	var text strings.Builder
	hpa, err := b.Client.AutoscalingV2().HorizontalPodAutoscalers(namespace).Get(ctx, name, metav1.GetOptions{})
	if err != nil {
		return err.Error()
	}
	fmt.Fprintf(&text, "HPA %s/%s: current %d, desired %d\n", namespace, name, hpa.Status.CurrentReplicas, hpa.Status.DesiredReplicas)
	for _, c := range hpa.Status.Conditions {
		fmt.Fprintf(&text, "  %s=%s %s: %s\n", c.Type, c.Status, c.Reason, c.Message)
	}
	events, err := b.Client.CoreV1().Events(namespace).List(ctx, metav1.ListOptions{FieldSelector: "involvedObject.name=" + name})
	if err == nil {
		for _, event := range events.Items[max(0, len(events.Items)-8):] {
			fmt.Fprintf(&text, "  %s %s: %s\n", event.LastTimestamp.Format("15:04:05"), event.Reason, event.Message)
		}
	}
	return text.String()
}

func unlessExists(err error) error {
	if apierrors.IsAlreadyExists(err) {
		return nil
	}
	return err
}

func get(ctx context.Context, client *http.Client, url, token string) (int, string, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return 0, "", err
	}
	request.Header.Set("Authorization", "Bearer "+token)
	response, err := client.Do(request)
	if err != nil {
		return 0, "", err
	}
	defer func() { _ = response.Body.Close() }()
	body, err := io.ReadAll(io.LimitReader(response.Body, 16<<20))
	return response.StatusCode, string(body), err
}
