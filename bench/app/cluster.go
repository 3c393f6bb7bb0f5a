package app

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/go-logr/logr"
	autoscalingv2 "k8s.io/api/autoscaling/v2"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/tools/clientcmd"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/headroom-autoscaler/headroom/api/v1alpha1"
	"github.com/headroom-autoscaler/headroom/bench/replay"
	"github.com/headroom-autoscaler/headroom/prewarm/manifest"
)

// reader is what is asked of a cluster.
type reader interface {
	Get(ctx context.Context, key client.ObjectKey, into client.Object, options ...client.GetOption) error
	List(ctx context.Context, into client.ObjectList, options ...client.ListOption) error
}

// connect reaches the cluster that a kubeconfig names.
func connect(kubeconfig, named string) (reader, string, error) {
	scheme := runtime.NewScheme()
	if err := errors.Join(autoscalingv2.AddToScheme(scheme), v1alpha1.AddToScheme(scheme)); err != nil {
		return nil, "", err
	}
	loading := clientcmd.NewDefaultClientConfigLoadingRules()
	loading.ExplicitPath = kubeconfig
	config := clientcmd.NewNonInteractiveDeferredLoadingClientConfig(loading, &clientcmd.ConfigOverrides{CurrentContext: named})
	namespace, _, err := config.Namespace()
	if err != nil {
		return nil, "", fmt.Errorf("kubeconfig: %w", err)
	}
	rest, err := config.ClientConfig()
	if err != nil {
		return nil, "", fmt.Errorf("kubeconfig: %w", err)
	}
	log.SetLogger(logr.Discard()) // without one, controller-runtime complains on standard error after a while
	c, err := client.New(rest, client.Options{Scheme: scheme})
	if err != nil {
		return nil, "", fmt.Errorf("cluster: %w", err)
	}
	return c, namespace, nil
}

// live is what a cluster says of one workload.
type live struct {
	manifests
	leads replay.LeadTimes // measured; none where nothing was
}

// fromCluster reads the Headroom of that name and its HPA; or, where there is no such Headroom, the HPA of that name.
func fromCluster(ctx context.Context, c reader, namespace, name string) (live, error) {
	var found live
	hr := &v1alpha1.Headroom{}
	err := c.Get(ctx, types.NamespacedName{Namespace: namespace, Name: name}, hr)
	switch {
	case apierrors.IsNotFound(err), isNoKind(err):
		hpa := &autoscalingv2.HorizontalPodAutoscaler{}
		if err := c.Get(ctx, types.NamespacedName{Namespace: namespace, Name: name}, hpa); err != nil {
			return found, fmt.Errorf("--from-cluster %s/%s: neither a Headroom nor a HorizontalPodAutoscaler of that name: %w", namespace, name, err)
		}
		found.hpas = append(found.hpas, hpa)
		return found, nil
	case err != nil:
		return found, fmt.Errorf("--from-cluster: read Headroom %s/%s: %w", namespace, name, err)
	}
	var all autoscalingv2.HorizontalPodAutoscalerList
	if err := c.List(ctx, &all, client.InNamespace(namespace)); err != nil {
		return found, fmt.Errorf("--from-cluster: list HPAs of %s: %w", namespace, err)
	}
	found.headrooms = append(found.headrooms, hr)
	for i := range all.Items {
		hpa := &all.Items[i]
		if !manifest.SameTarget(hpa.Spec.ScaleTargetRef, hr.Spec.ScaleTargetRef) {
			continue
		}
		// A minimum that Headroom raised is not its owner's.
		if a := hr.Status.Actuation; a != nil && a.UserMinReplicas != nil {
			hpa.Spec.MinReplicas = a.UserMinReplicas
		}
		found.hpas = append(found.hpas, hpa)
	}
	if l := hr.Status.LeadTime; l != nil {
		found.leads.Measured = measuredLeads(l.Batches)
	}
	return found, nil
}

// isNoKind says that the cluster does not know Headrooms at all.
func isNoKind(err error) bool {
	return err != nil && strings.Contains(err.Error(), "no matches for kind")
}

// measuredLeads are the scale-ups of a status that were seen whole, as prewarm.Tracker persists them: "began:seconds", then n, + or
// t. One marked + was never whole and tells no time.
func measuredLeads(batches string) []time.Duration {
	var leads []time.Duration
	for word := range strings.FieldsSeq(batches) {
		_, rest, found := strings.Cut(word, ":")
		if !found || strings.Contains(rest, "+") {
			continue
		}
		if seconds, err := strconv.ParseUint(strings.TrimRight(rest, "nt"), 10, 31); err == nil {
			leads = append(leads, time.Duration(seconds)*time.Second)
		}
	}
	return leads
}

// queryOf is the PromQL of a Headroom's demand: its own, or what the controller exports of it. A scrape may have renamed the label.
func queryOf(hr *v1alpha1.Headroom) string {
	if hr.Spec.Demand.Query != "" {
		return hr.Spec.Demand.Query
	}
	return fmt.Sprintf("max(headroom_controller_demand{exported_namespace=%[1]q,headroom=%[2]q} or headroom_controller_demand{namespace=%[1]q,headroom=%[2]q})", hr.Namespace, hr.Name)
}
