package app

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	autoscalingv2 "k8s.io/api/autoscaling/v2"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/yaml"

	"github.com/headroom-autoscaler/headroom/api/v1alpha1"
	"github.com/headroom-autoscaler/headroom/prewarm/manifest"
)

// manifests are the objects of the files, as they were written.
type manifests struct {
	hpas      []*autoscalingv2.HorizontalPodAutoscaler
	headrooms []*v1alpha1.Headroom
	others    []string // kinds that are not looked at
}

// readManifests reads YAML and JSON files of any number of documents; "-" is standard input. Other kinds are passed over.
func readManifests(files []string, in io.Reader) (manifests, error) {
	var m manifests
	var problems []error
	for _, path := range files {
		r := in
		if path != "-" {
			f, err := os.Open(path)
			if err != nil {
				problems = append(problems, fmt.Errorf("open manifest: %w", err))
				continue
			}
			r = f
			defer func() { _ = f.Close() }() // it was only read
		}
		if err := m.read(r); err != nil {
			problems = append(problems, fmt.Errorf("%s: %w", path, err))
		}
	}
	return m, errors.Join(problems...)
}

func (m *manifests) read(r io.Reader) error {
	documents := yaml.NewDocumentDecoder(io.NopCloser(r))
	defer func() { _ = documents.Close() }() // it closes nothing
	// The longest document that is read; a CRD is a tenth of this.
	buffer := make([]byte, 4<<20)
	for n := 1; ; n++ {
		size, err := documents.Read(buffer)
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("document %d: %w", n, err)
		}
		if err := m.take(buffer[:size]); err != nil {
			return fmt.Errorf("document %d: %w", n, err)
		}
	}
}

func (m *manifests) take(document []byte) error {
	var about metav1.TypeMeta
	if err := yaml.Unmarshal(document, &about); err != nil {
		return err
	}
	switch {
	case about.Kind == "HorizontalPodAutoscaler" && about.APIVersion == "autoscaling/v2":
		hpa := &autoscalingv2.HorizontalPodAutoscaler{}
		if err := yaml.UnmarshalStrict(document, hpa); err != nil {
			return fmt.Errorf("HorizontalPodAutoscaler: %w", err)
		}
		m.hpas = append(m.hpas, hpa)
	case about.Kind == "HorizontalPodAutoscaler":
		return fmt.Errorf("HorizontalPodAutoscaler of %s: only autoscaling/v2 is read; 'kubectl get hpa NAME -o yaml' writes it", about.APIVersion)
	case about.Kind == "Headroom" && strings.HasPrefix(about.APIVersion, v1alpha1.Group+"/"):
		hr := &v1alpha1.Headroom{}
		if err := yaml.UnmarshalStrict(document, hr); err != nil {
			return fmt.Errorf("the Headroom: %w", err)
		}
		m.headrooms = append(m.headrooms, hr)
	case about.Kind != "":
		m.others = append(m.others, about.Kind)
	}
	return nil
}

// pair is the one HPA and the one Headroom that are meant; the Headroom is nil when one is to be proposed.
func (m *manifests) pair() (*autoscalingv2.HorizontalPodAutoscaler, *v1alpha1.Headroom, error) {
	if len(m.hpas) == 0 {
		found := "nothing that is read"
		if len(m.others) > 0 {
			found = "only " + strings.Join(m.others, ", ")
		} else if len(m.headrooms) > 0 {
			found = "only a Headroom"
		}
		return nil, nil, fmt.Errorf("no HorizontalPodAutoscaler in the files, %s: give the one that scales the workload with -f ('kubectl get hpa NAME -o yaml' writes it)", found)
	}
	if len(m.headrooms) > 1 {
		return nil, nil, fmt.Errorf("%d Headrooms in the files: a replay is about one; give the file of one", len(m.headrooms))
	}
	if len(m.headrooms) == 0 {
		if len(m.hpas) > 1 {
			return nil, nil, fmt.Errorf("%d HorizontalPodAutoscalers in the files and no Headroom to say which is meant: give the file of one", len(m.hpas))
		}
		return m.hpas[0], nil, nil
	}
	hr := m.headrooms[0]
	var targets []string
	for _, hpa := range m.hpas {
		sameNamespace := hpa.Namespace == hr.Namespace || hpa.Namespace == "" || hr.Namespace == ""
		if manifest.SameTarget(hpa.Spec.ScaleTargetRef, hr.Spec.ScaleTargetRef) && sameNamespace {
			return hpa, hr, nil
		}
		targets = append(targets, fmt.Sprintf("%s scales %s %s", hpa.Name, hpa.Spec.ScaleTargetRef.Kind, hpa.Spec.ScaleTargetRef.Name))
	}
	ref := hr.Spec.ScaleTargetRef
	return nil, nil, fmt.Errorf("the Headroom %s matches nothing: it is about %s %s, and of the HPAs in the files %s; make spec.scaleTargetRef the same in both",
		hr.Name, ref.Kind, ref.Name, strings.Join(targets, ", "))
}
