package app

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/go-logr/logr"
	autoscalingv2 "k8s.io/api/autoscaling/v2"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/yaml"
	"k8s.io/client-go/tools/clientcmd"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/log"
	"sigs.k8s.io/json"
	sigsyaml "sigs.k8s.io/yaml"

	"github.com/headroom-autoscaler/headroom/api/v1alpha1"
	"github.com/headroom-autoscaler/headroom/prewarm/controller"
	"github.com/headroom-autoscaler/headroom/prewarm/manifest"
)

// floor is what check says of one Headroom, or of one HPA that has none.
type floor struct {
	Headroom string               `json:"headroom,omitempty"` // namespace/name
	HPA      string               `json:"hpa,omitempty"`
	Mode     string               `json:"mode,omitempty"`
	Problems []string             `json:"problems,omitempty"` // what is wrong with the Headroom itself
	Findings []controller.Finding `json:"findings,omitempty"`
}

// bad says that something keeps the floor from its workload now.
func (f *floor) bad() bool {
	return len(f.Problems) > 0 || slices.ContainsFunc(f.Findings, func(found controller.Finding) bool { return !found.Warns })
}

// maxManifest bounds one file; a Headroom and its HPA take two kilobytes.
const maxManifest = 16 << 20

// readManifests reads Headrooms and HPAs from YAML or JSON files, of which each may hold several documents; "-" is standard input.
// Other kinds are passed over, so that a whole rendered chart can be given.
func readManifests(files []string, in io.Reader) (headrooms []*v1alpha1.Headroom, hpas []*autoscalingv2.HorizontalPodAutoscaler, err error) {
	var problems []error
	for _, file := range files {
		data, err := readAll(file, in)
		if err != nil {
			problems = append(problems, err)
			continue
		}
		documents := yaml.NewYAMLReader(bufio.NewReader(bytes.NewReader(data)))
		for n := 1; ; n++ {
			document, err := documents.Read()
			if errors.Is(err, io.EOF) {
				break
			}
			if err != nil {
				problems = append(problems, fmt.Errorf("%s: document %d: %w", file, n, err))
				break
			}
			h, a, err := readDocument(document)
			if err != nil {
				problems = append(problems, fmt.Errorf("%s: document %d: %w", file, n, err))
			}
			if h != nil {
				headrooms = append(headrooms, h)
			}
			if a != nil {
				hpas = append(hpas, a)
			}
		}
	}
	return headrooms, hpas, errors.Join(problems...)
}

func readAll(file string, in io.Reader) ([]byte, error) {
	if file != "-" {
		opened, err := os.Open(file)
		if err != nil {
			return nil, fmt.Errorf("--filename: %w", err)
		}
		defer func() { _ = opened.Close() }()
		in = opened
	}
	data, err := io.ReadAll(io.LimitReader(in, maxManifest+1))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	if len(data) > maxManifest {
		return nil, fmt.Errorf("%s: more than %d MiB", file, maxManifest>>20)
	}
	return data, nil
}

func readDocument(document []byte) (*v1alpha1.Headroom, *autoscalingv2.HorizontalPodAutoscaler, error) {
	if len(bytes.TrimSpace(document)) == 0 {
		return nil, nil, nil
	}
	var kind metav1.TypeMeta
	if err := sigsyaml.Unmarshal(document, &kind); err != nil {
		return nil, nil, err
	}
	switch {
	case kind.Kind == "Headroom" && strings.HasPrefix(kind.APIVersion, v1alpha1.Group+"/"):
		if kind.APIVersion != v1alpha1.GroupVersion.String() {
			return nil, nil, fmt.Errorf("apiVersion: %q is not %q", kind.APIVersion, v1alpha1.GroupVersion)
		}
		var hr v1alpha1.Headroom
		if err := strictly(document, &hr); err != nil {
			return nil, nil, err
		}
		hr.Namespace = cmp.Or(hr.Namespace, metav1.NamespaceDefault)
		return &hr, nil, nil
	case kind.Kind == "HorizontalPodAutoscaler":
		if kind.APIVersion != autoscalingv2.SchemeGroupVersion.String() {
			return nil, nil, fmt.Errorf("apiVersion: %q is not %q", kind.APIVersion, autoscalingv2.SchemeGroupVersion)
		}
		var hpa autoscalingv2.HorizontalPodAutoscaler
		if err := strictly(document, &hpa); err != nil {
			return nil, nil, err
		}
		hpa.Namespace = cmp.Or(hpa.Namespace, metav1.NamespaceDefault)
		return nil, &hpa, nil
	}
	return nil, nil, nil
}

// strictly reads a document as kube-apiserver does with strict validation: what it does not know is an error, with its path.
func strictly(document []byte, into any) error {
	text, err := sigsyaml.YAMLToJSONStrict(document)
	if err != nil {
		return err
	}
	unknown, err := json.UnmarshalStrict(text, into)
	return errors.Join(append(unknown, err)...)
}

// examineFloors says of each Headroom what keeps its floor from its workload, and of each HPA that has none what would swallow
// the usual buffer of two.
func examineFloors(headrooms []*v1alpha1.Headroom, hpas []*autoscalingv2.HorizontalPodAutoscaler, toleranceField bool, syncPeriod time.Duration) []floor {
	var found []floor
	taken := map[*autoscalingv2.HorizontalPodAutoscaler]bool{}
	for _, hr := range headrooms {
		var own []*autoscalingv2.HorizontalPodAutoscaler
		for _, hpa := range hpas {
			if hpa.Namespace == hr.Namespace && manifest.SameTarget(hpa.Spec.ScaleTargetRef, hr.Spec.ScaleTargetRef) {
				own = append(own, hpa)
				taken[hpa] = true
			}
		}
		found = append(found, examineOne(hr, own, toleranceField, syncPeriod))
	}
	for _, hpa := range hpas {
		if taken[hpa] {
			continue
		}
		ref := hpa.Spec.ScaleTargetRef
		usual := &v1alpha1.Headroom{Spec: v1alpha1.HeadroomSpec{
			ScaleTargetRef: v1alpha1.ScaleTargetRef{APIVersion: ref.APIVersion, Kind: ref.Kind, Name: ref.Name},
			Actuation:      v1alpha1.Actuation{Mode: v1alpha1.ActuateMetric},
		}}
		f := examineOne(usual, []*autoscalingv2.HorizontalPodAutoscaler{hpa}, toleranceField, syncPeriod)
		f.Problems, f.Mode = nil, ""
		f.HPA = hpa.Namespace + "/" + hpa.Name
		f.Headroom = ""
		f.Findings = slices.DeleteFunc(f.Findings, func(x controller.Finding) bool { return slices.Contains(aboutAHeadroom, x.Reason) })
		for i := range f.Findings {
			f.Findings[i].Warns = true // nobody has asked for a buffer here
		}
		found = append(found, f)
	}
	slices.SortStableFunc(found, func(a, b floor) int { return strings.Compare(a.Headroom+a.HPA, b.Headroom+b.HPA) })
	return found
}

// aboutAHeadroom are the findings that mean nothing where there is none.
var aboutAHeadroom = []string{"NoHeadroomMetric", "AnotherHeadroom", "NoReplicasMetric", "NoScheduleMetric"}

func examineOne(hr *v1alpha1.Headroom, hpas []*autoscalingv2.HorizontalPodAutoscaler, toleranceField bool, syncPeriod time.Duration) floor {
	f := floor{Headroom: hr.Namespace + "/" + hr.Name, Mode: string(cmp.Or(hr.Spec.Actuation.Mode, v1alpha1.ActuateMetric))}
	var userMin, hpaMax int32
	if len(hpas) == 1 {
		f.HPA, hpaMax = hpas[0].Name, hpas[0].Spec.MaxReplicas
		userMin = manifest.Autoscaler(hpas[0]).MinReplicas
	}
	policy, err := manifest.Policy(&hr.Spec, userMin, hpaMax)
	if err != nil {
		f.Problems = append(f.Problems, strings.Split(err.Error(), "\n")...)
	}
	calendar, err := manifest.Calendar(hr.Spec.Prewarm)
	if err != nil {
		f.Problems = append(f.Problems, strings.Split(err.Error(), "\n")...)
	}
	s := controller.Setting{
		Replicas: max(hr.Status.Replicas, 1), Buffer: int32(policy.BufferReplicas), SyncPeriod: syncPeriod, ToleranceField: toleranceField,
		LeadTime: cmp.Or(hr.Spec.LeadTime.Initial.Duration, 4*time.Minute),
	}
	if l := hr.Status.LeadTime; l != nil {
		s.LeadTime = l.Total.Duration
	} else if v := hr.Spec.LeadTime.Value; v != nil {
		s.LeadTime = v.Duration
	}
	if d := hr.Status.Decision; d != nil {
		s.Floor = d.Floor
	} else { // what it will ask for at the least: the buffer, and the largest of the windows to come
		s.Floor = s.Replicas + s.Buffer
		for opening := range calendar.Openings(time.Now(), time.Now().Add(31*24*time.Hour)) {
			s.Floor = max(s.Floor, int32(opening.Replicas))
		}
	}
	f.Findings = controller.Examine(hr, hpas, s)
	return f
}

// floors examines the cluster's own.
func (a *Adapter) floors() []floor {
	field, err := controller.KeepsTolerance(a.kube)
	if err != nil {
		field = true // the version is not known; the present ones keep it
	}
	return examineFloors(a.headrooms.All(), a.hpas.All(), field, a.options.Headrooms.HPASyncPeriod)
}

// clusterFloors examines the cluster of a kubeconfig, "" for the one that kubectl uses. It needs to list HPAs and Headrooms.
func clusterFloors(ctx context.Context, kubeconfig string, syncPeriod time.Duration) ([]floor, error) {
	loading := clientcmd.NewDefaultClientConfigLoadingRules()
	loading.ExplicitPath = kubeconfig
	config, err := clientcmd.NewNonInteractiveDeferredLoadingClientConfig(loading, nil).ClientConfig()
	if err != nil {
		return nil, fmt.Errorf("nothing to check: give --config for a rules file, --filename for manifests, or a kubeconfig for a cluster (%w)", err)
	}
	scheme, err := controller.NewScheme()
	if err != nil {
		return nil, err
	}
	log.SetLogger(logr.Discard()) // without one, controller-runtime complains on standard error
	reader, err := client.New(config, client.Options{Scheme: scheme})
	if err != nil {
		return nil, fmt.Errorf("cluster: %w", err)
	}
	var hpas autoscalingv2.HorizontalPodAutoscalerList
	if err := reader.List(ctx, &hpas); err != nil {
		return nil, fmt.Errorf("list HPAs: %w", err)
	}
	var headrooms v1alpha1.HeadroomList
	if err := reader.List(ctx, &headrooms); err != nil && !meta.IsNoMatchError(err) {
		return nil, fmt.Errorf("list Headrooms: %w", err)
	}
	field, err := controller.KeepsTolerance(config)
	if err != nil {
		return nil, err
	}
	return examineFloors(pointers(headrooms.Items), pointers(hpas.Items), field, syncPeriod), nil
}

func pointers[T any](items []T) []*T {
	list := make([]*T, len(items))
	for i := range items {
		list[i] = &items[i]
	}
	return list
}

// printFloors is the part of check's text that is about floors.
func printFloors(out io.Writer, floors []floor) {
	for _, f := range floors {
		name := "HPA " + f.HPA
		if f.Headroom != "" {
			name = "Headroom " + f.Headroom + " (" + f.Mode + ")"
		}
		switch {
		case len(f.Problems)+len(f.Findings) == 0 && f.Headroom == "":
			fmt.Fprintf(out, "%s: would let a buffer through\n", name)
		case len(f.Problems)+len(f.Findings) == 0:
			fmt.Fprintf(out, "%s: nothing keeps the floor from the workload\n", name)
		}
		for _, problem := range f.Problems {
			fmt.Fprintf(out, "%s: error: %s\n", name, problem)
		}
		for _, found := range f.Findings {
			level := "error"
			if found.Warns {
				level = "warning"
			}
			fmt.Fprintf(out, "%s: %s: %s (%s)\n", name, level, found.Message, found.Reason)
		}
	}
}
