package app

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	autoscalingv2 "k8s.io/api/autoscaling/v2"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/headroom-autoscaler/headroom/api/v1alpha1"
)

// stored is a cluster that holds what was read from manifests.
type stored struct{ manifests }

func (s stored) Get(_ context.Context, key client.ObjectKey, into client.Object, _ ...client.GetOption) error {
	switch out := into.(type) {
	case *v1alpha1.Headroom:
		for _, hr := range s.headrooms {
			if client.ObjectKeyFromObject(hr) == key {
				hr.DeepCopyInto(out)
				return nil
			}
		}
	case *autoscalingv2.HorizontalPodAutoscaler:
		for _, hpa := range s.hpas {
			if client.ObjectKeyFromObject(hpa) == key {
				hpa.DeepCopyInto(out)
				return nil
			}
		}
	}
	return apierrors.NewNotFound(schema.GroupResource{Resource: "objects"}, key.Name)
}

func (s stored) List(_ context.Context, into client.ObjectList, _ ...client.ListOption) error {
	for _, hpa := range s.hpas {
		list := into.(*autoscalingv2.HorizontalPodAutoscalerList)
		list.Items = append(list.Items, *hpa.DeepCopy())
	}
	return nil
}

func TestFromACluster(t *testing.T) {
	var m manifests
	for _, text := range []string{hpaYAML, headroomYAML, strings.ReplaceAll(hpaYAML, "web", "other")} {
		if err := m.read(strings.NewReader(text)); err != nil {
			t.Fatal(err)
		}
	}
	least := int32(3)
	raised := int32(11)
	m.hpas[0].Spec.MinReplicas = &raised
	m.headrooms[0].Status.Actuation = &v1alpha1.ActuationStatus{UserMinReplicas: &least}
	m.headrooms[0].Status.LeadTime = &v1alpha1.LeadTimeStatus{Batches: "tabc12:62 tabd00:412n tabd5k:80+ tabd9z:95t nonsense"}
	found, err := fromCluster(context.Background(), stored{m}, "shop", "web")
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]time.Duration{62 * time.Second, 412 * time.Second, 95 * time.Second}, found.leads.Measured); diff != "" {
		t.Error(diff)
	}
	hpa, hr, err := found.pair()
	if err != nil {
		t.Fatal(err)
	}
	if hpa.Name != "web" || *hpa.Spec.MinReplicas != 3 {
		t.Errorf("HPA %s with a minimum of %d, expected web with its owner's 3", hpa.Name, *hpa.Spec.MinReplicas)
	}
	if q := queryOf(hr); !strings.Contains(q, `headroom="web"`) {
		t.Errorf("the demand is read by %s", q)
	}

	o := DefaultOptions()
	o.PrometheusURL, o.FromCluster = "http://localhost", "shop/web"
	if _, err := o.take(found, nil); err != nil || o.Query == "" || len(o.measured.Measured) != 3 {
		t.Errorf("%v, query %q, lead times %v", err, o.Query, o.measured)
	}

	// Without a Headroom the HPA of that name is taken.
	if found, err = fromCluster(context.Background(), stored{m}, "shop", "other"); err != nil || len(found.hpas) != 1 || len(found.headrooms) != 0 {
		t.Errorf("%d HPAs, %d Headrooms: %v", len(found.hpas), len(found.headrooms), err)
	}
	if _, err := fromCluster(context.Background(), stored{m}, "shop", "nobody"); err == nil || !strings.Contains(err.Error(), "shop/nobody") {
		t.Error(err)
	}
}
