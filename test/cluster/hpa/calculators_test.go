package hpa

import (
	"context"
	"math/rand/v2"
	"os"
	"strconv"
	"testing"
	"testing/synctest"
	"time"
	"unsafe"

	autoscaling "k8s.io/api/autoscaling/v2"
	"k8s.io/apimachinery/pkg/labels"
	listcore "k8s.io/client-go/listers/core/v1"
	"k8s.io/client-go/tools/cache"
	"k8s.io/kubernetes/pkg/controller/podautoscaler"

	"github.com/headroom-autoscaler/headroom/prewarm/hpa"
)

// cases runs a comparison on many seeds and says how many states it compared.
func cases(t *testing.T, count int, one func(t *testing.T, g gen) int) {
	first := uint64(time.Now().UnixNano())
	if s := os.Getenv("HPA_SEED"); s != "" {
		seed, err := strconv.ParseUint(s, 10, 64)
		if err != nil {
			t.Fatal(err)
		}
		first, count = seed, 1
	}
	if s := os.Getenv("HPA_CASES"); s != "" {
		n, err := strconv.Atoi(s)
		if err != nil {
			t.Fatal(err)
		}
		count = n
	}
	compared := 0
	for seed := first; seed < first+uint64(count); seed++ {
		compared += one(t, gen{rand.New(rand.NewPCG(seed, 0))})
		if t.Failed() {
			t.Fatalf("again with HPA_SEED=%d", seed)
		}
	}
	t.Logf("%d states of %d seeds from %d agree", compared, count, first)
}

// tolerances has the fields of the controller's own, which nothing exported makes.
func tolerances(down, up float64) podautoscaler.Tolerances {
	own := struct{ down, up float64 }{down, up}
	if unsafe.Sizeof(own) != unsafe.Sizeof(podautoscaler.Tolerances{}) {
		panic("podautoscaler.Tolerances has changed")
	}
	return *(*podautoscaler.Tolerances)(unsafe.Pointer(&own))
}

func TestCalculators(t *testing.T) {
	cases(t, 20000, func(t *testing.T, g gen) (compared int) {
		synctest.Test(t, func(t *testing.T) { // a clock that stands still
			spec, flags := g.spec(), g.flags()
			ours, err := hpa.New(spec, flags)
			if err != nil {
				t.Fatalf("%v\n%+v", err, spec)
			}
			down, up := flags.Tolerance, flags.Tolerance
			if b := spec.Behavior; b != nil && b.ScaleDown.Tolerance != nil {
				down = *b.ScaleDown.Tolerance
			}
			if b := spec.Behavior; b != nil && b.ScaleUp.Tolerance != nil {
				up = *b.ScaleUp.Tolerance
			}
			for range 3 {
				w := g.workload(time.Now(), int32(g.IntN(30)))
				readings := g.readings(time.Now(), spec, w)
				for i := range spec.Metrics {
					got, failure := ours.Propose(time.Now(), i, w, readings[i])
					want, err := theirs(spec, flags, tolerances(down, up), i, w, readings)
					compared++
					if (failure != 0) != (err != nil) || err == nil && got != want {
						t.Fatalf("metric %d: %d (%v), the calculator says %d (%v)\nspec %+v\nworkload %+v\nreading %+v", i, got, failure, want, err, spec, w, readings[i])
					}
				}
			}
		})
		return compared
	})
}

func theirs(spec hpa.Spec, flags hpa.Flags, tolerances podautoscaler.Tolerances, i int, w hpa.Workload, readings []hpa.Reading) (replicas int32, err error) {
	indexer := cache.NewIndexer(cache.MetaNamespaceKeyFunc, cache.Indexers{cache.NamespaceIndex: cache.MetaNamespaceIndexFunc})
	for _, pod := range pods(spec, w, readings) {
		if err := indexer.Add(pod); err != nil {
			return 0, err
		}
	}
	m, all := spec.Metrics[i], labels.Everything()
	calc := podautoscaler.NewReplicaCalculator(&answers{spec, readings}, listcore.NewPodLister(indexer), flags.CPUInitializationPeriod, flags.InitialReadinessDelay)
	container := ""
	if m.Kind == hpa.ContainerResource {
		container = m.Name
	}
	ref := &autoscaling.CrossVersionObjectReference{Kind: "Service", Name: name}
	switch {
	case m.Kind == hpa.Pods:
		replicas, _, _, err = calc.GetMetricReplicas(w.SpecReplicas, m.TargetMilli, m.Name, tolerances, namespace, all, all)
	case m.Kind == hpa.Object && m.Target == hpa.Value:
		replicas, _, _, err = calc.GetObjectMetricReplicas(w.SpecReplicas, m.TargetMilli, m.Name, tolerances, namespace, ref, all, all)
	case m.Kind == hpa.Object:
		replicas, _, _, err = calc.GetObjectPerPodMetricReplicas(w.StatusReplicas, m.TargetMilli, m.Name, tolerances, namespace, ref, all)
	case m.Kind == hpa.External && m.Target == hpa.Value:
		replicas, _, _, err = calc.GetExternalMetricReplicas(w.SpecReplicas, m.TargetMilli, m.Name, tolerances, namespace, nil, all)
	case m.Kind == hpa.External:
		replicas, _, _, err = calc.GetExternalPerPodMetricReplicas(w.StatusReplicas, m.TargetMilli, m.Name, tolerances, namespace, nil)
	case m.Target == hpa.Utilization:
		replicas, _, _, _, err = calc.GetResourceReplicas(context.Background(), w.SpecReplicas, int32(m.TargetMilli), resourceName(m), tolerances, namespace, all, container)
	default:
		replicas, _, _, err = calc.GetRawResourceReplicas(context.Background(), w.SpecReplicas, m.TargetMilli, resourceName(m), tolerances, namespace, all, container)
	}
	return replicas, err
}
