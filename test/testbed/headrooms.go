package testbed

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/go-logr/logr"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/log"
	"sigs.k8s.io/yaml"

	"github.com/headroom-autoscaler/headroom/api/v1alpha1"
)

var crds = schema.GroupVersionResource{Group: "apiextensions.k8s.io", Version: "v1", Resource: "customresourcedefinitions"}

// InstallCRDs applies the chart's CustomResourceDefinitions and waits until their objects can be made.
func (b *Bed) InstallCRDs(ctx context.Context) error {
	return b.eachCRD(func(crd *unstructured.Unstructured) error {
		if _, err := b.Dynamic.Resource(crds).Apply(ctx, crd.GetName(), crd, metav1.ApplyOptions{FieldManager: "testbed", Force: true}); err != nil {
			return fmt.Errorf("apply %s: %w", crd.GetName(), err)
		}
		return b.waitCRD(ctx, crd.GetName(), "Established")
	})
}

// RemoveCRDs deletes the CustomResourceDefinitions with all their objects, and waits until they are gone.
func (b *Bed) RemoveCRDs(ctx context.Context) error {
	return b.eachCRD(func(crd *unstructured.Unstructured) error {
		if err := b.Dynamic.Resource(crds).Delete(ctx, crd.GetName(), metav1.DeleteOptions{}); err != nil && !apierrors.IsNotFound(err) {
			return err
		}
		return WaitFor(ctx, time.Minute, crd.GetName()+" to be gone", func(ctx context.Context) (bool, string) {
			_, err := b.Dynamic.Resource(crds).Get(ctx, crd.GetName(), metav1.GetOptions{})
			return apierrors.IsNotFound(err), fmt.Sprint(err)
		})
	})
}

func (b *Bed) eachCRD(do func(*unstructured.Unstructured) error) error {
	files, err := filepath.Glob(filepath.Join(b.root, "charts", "headroom", "files", "crds", "*.yaml"))
	if err != nil || len(files) == 0 {
		return fmt.Errorf("the chart has no CustomResourceDefinitions (%w)", err)
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			return err
		}
		var crd unstructured.Unstructured
		if err := yaml.Unmarshal(text, &crd.Object); err != nil {
			return fmt.Errorf("%s: %w", file, err)
		}
		if err := do(&crd); err != nil {
			return err
		}
	}
	return nil
}

func (b *Bed) waitCRD(ctx context.Context, name, condition string) error {
	return WaitFor(ctx, time.Minute, name+" to be "+condition, func(ctx context.Context) (bool, string) {
		crd, err := b.Dynamic.Resource(crds).Get(ctx, name, metav1.GetOptions{})
		if err != nil {
			return false, err.Error()
		}
		return hasCondition(crd, condition), fmt.Sprint(crd.Object["status"])
	})
}

func hasCondition(object *unstructured.Unstructured, name string) bool {
	conditions, _, _ := unstructured.NestedSlice(object.Object, "status", "conditions")
	for _, c := range conditions {
		if condition, ok := c.(map[string]any); ok && condition["type"] == name && condition["status"] == "True" {
			return true
		}
	}
	return false
}

// HeadroomClient reads and writes Headroom objects. Each call makes one, so that it knows the resource however lately it was
// installed.
func (b *Bed) HeadroomClient() (client.Client, error) {
	scheme := runtime.NewScheme()
	if err := v1alpha1.AddToScheme(scheme); err != nil {
		return nil, err
	}
	log.SetLogger(logr.Discard()) // the library complains, once and at length, when it is given none
	return client.New(b.Config, client.Options{Scheme: scheme})
}

// AddHeadroom makes a Headroom in a namespace that it makes too, and gives it the status of the object, as if a leader had
// written it. The object is what the API server made of it.
func (b *Bed) AddHeadroom(ctx context.Context, hr *v1alpha1.Headroom) error {
	if err := b.EnsureNamespace(ctx, hr.Namespace); err != nil {
		return err
	}
	c, err := b.HeadroomClient()
	if err != nil {
		return err
	}
	status := hr.Status
	if err := c.Create(ctx, hr); err != nil {
		return err
	}
	if status.ObservedGeneration == 0 && status.Decision == nil && len(status.Conditions) == 0 {
		return nil
	}
	return b.SetHeadroomStatus(ctx, client.ObjectKeyFromObject(hr), status)
}

// SetHeadroomStatus writes the whole status of an object, as a leader does.
func (b *Bed) SetHeadroomStatus(ctx context.Context, key types.NamespacedName, status v1alpha1.HeadroomStatus) error {
	c, err := b.HeadroomClient()
	if err != nil {
		return err
	}
	var hr v1alpha1.Headroom
	if err := c.Get(ctx, key, &hr); err != nil {
		return err
	}
	hr.Status = status
	return c.Status().Update(ctx, &hr)
}
