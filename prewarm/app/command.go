package app

import (
	"context"
	"fmt"
	"io"
	"math"
	"time"

	"github.com/go-logr/logr"
	"github.com/spf13/cobra"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/tools/clientcmd"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/headroom-autoscaler/headroom/adapter/prometheus"
	"github.com/headroom-autoscaler/headroom/adapter/rules"
	"github.com/headroom-autoscaler/headroom/api/v1alpha1"
)

// cluster is how a command reaches the cluster, in kubectl's own words.
type cluster struct{ kubeconfig, context, namespace string }

func (c *cluster) addFlags(cmd *cobra.Command) {
	cmd.Flags().StringVar(&c.kubeconfig, "kubeconfig", "", "kubeconfig file; otherwise $KUBECONFIG, then ~/.kube/config")
	cmd.Flags().StringVar(&c.context, "context", "", "context of the kubeconfig")
	cmd.Flags().StringVarP(&c.namespace, "namespace", "n", "", "namespace; otherwise the context's")
}

// connect gives a client and the namespace in use.
func (c *cluster) connect(scheme *runtime.Scheme) (client.Client, string, error) {
	loading := clientcmd.NewDefaultClientConfigLoadingRules()
	loading.ExplicitPath = c.kubeconfig
	overrides := &clientcmd.ConfigOverrides{CurrentContext: c.context}
	overrides.Context.Namespace = c.namespace
	config := clientcmd.NewNonInteractiveDeferredLoadingClientConfig(loading, overrides)
	namespace, _, err := config.Namespace()
	if err != nil {
		return nil, "", fmt.Errorf("kubeconfig: %w", err)
	}
	rest, err := config.ClientConfig()
	if err != nil {
		return nil, "", fmt.Errorf("kubeconfig: %w", err)
	}
	log.SetLogger(logr.Discard()) // without one, controller-runtime complains on standard error after a while
	made, err := client.New(rest, client.Options{Scheme: scheme})
	if err != nil {
		return nil, "", fmt.Errorf("cluster: %w", err)
	}
	return made, namespace, nil
}

// NewExplainCommand is "headroom explain".
func NewExplainCommand() *cobra.Command {
	var (
		c      cluster
		output string
		url    string
		since  time.Duration
	)
	cmd := &cobra.Command{
		Use:   "explain NAME",
		Short: "Say why a Headroom keeps as many replicas as it does",
		Long: `Say why a Headroom keeps as many replicas as it does: the decision as a sentence, what asked for how many, the forecast,
the lead time with its parts, the next windows, and what is in the way.`,
		Example: `  # why 14?
  kubectl headroom explain llama-70b -n inference

  # with the last three hours of demand, forecast and floor, from Headroom's own metrics in Prometheus
  headroom explain llama-70b --prometheus-url http://localhost:9090

  # for a program
  headroom explain llama-70b -o json | jq .floor`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if output != "text" && output != "json" {
				return fmt.Errorf("--output: %q is not one of text, json", output)
			}
			scheme := runtime.NewScheme()
			if err := v1alpha1.AddToScheme(scheme); err != nil {
				return err
			}
			reader, namespace, err := c.connect(scheme)
			if err != nil {
				return err
			}
			return runExplain(cmd.Context(), reader, types.NamespacedName{Namespace: namespace, Name: args[0]}, output, past{url, since}, cmd.OutOrStdout())
		},
	}
	c.addFlags(cmd)
	cmd.Flags().StringVarP(&output, "output", "o", "text", "text or json")
	cmd.Flags().StringVar(&url, "prometheus-url", "", "a Prometheus that scrapes Headroom, to show the past as well")
	cmd.Flags().DurationVar(&since, "since", 3*time.Hour, "how much of the past")
	return cmd
}

func runExplain(ctx context.Context, reader client.Reader, key types.NamespacedName, output string, p past, out io.Writer) error {
	var hr v1alpha1.Headroom
	switch err := reader.Get(ctx, key, &hr); {
	case meta.IsNoMatchError(err):
		return fmt.Errorf("this cluster has no Headroom objects: its CustomResourceDefinition is not installed")
	case apierrors.IsNotFound(err):
		return fmt.Errorf("there is no Headroom %q in namespace %q; \"kubectl get headroom -A\" lists all", key.Name, key.Namespace)
	case err != nil:
		return fmt.Errorf("read Headroom %s: %w", key, err)
	}
	now := time.Now()
	e := explain(&hr, now)
	if p.url != "" {
		var err error
		if e.Past, err = p.read(ctx, &hr, now); err != nil {
			return err
		}
	}
	if output == "json" {
		return e.json(out)
	}
	return e.print(out)
}

// past reads what Headroom's own metrics said.
type past struct {
	url   string
	since time.Duration
}

// pastWidth is how many points a line of the past has.
const pastWidth = 60

func (p past) read(ctx context.Context, hr *v1alpha1.Headroom, now time.Time) ([]sparkline, error) {
	backend, err := prometheus.New(rules.Backend{Name: "command line", URLs: []string{p.url}, Timeout: 30 * time.Second}, nil)
	if err != nil {
		return nil, err
	}
	defer backend.Close()
	history := prometheus.NewHistory(backend)
	step := max(p.since/pastWidth, time.Second).Round(time.Second)
	from := now.Add(-step * (pastWidth - 1)).Truncate(time.Second)
	read := func(metric, more string) ([]float64, error) {
		// Several replicas may have shown it while the lease changed hands: the largest is the one not yet taken back.
		points, err := history.Points(ctx, fmt.Sprintf("max(%s{exported_namespace=%q,headroom=%q%s} or %s{namespace=%q,headroom=%q%s})",
			metric, hr.Namespace, hr.Name, more, metric, hr.Namespace, hr.Name, more), from, now, step)
		if err != nil {
			return nil, err
		}
		values := make([]float64, pastWidth)
		for i := range values {
			values[i] = math.NaN()
		}
		for _, point := range points {
			if i := int(point.At.Sub(from) / step); i >= 0 && i < pastWidth {
				values[i] = point.Value
			}
		}
		return values, nil
	}
	var lines []sparkline
	add := func(values map[string][]float64, order ...string) {
		top := 0.0
		for _, series := range values {
			for _, v := range series {
				if !math.IsNaN(v) {
					top = math.Max(top, v)
				}
			}
		}
		for _, name := range order {
			lines = append(lines, sparklineOf(name, values[name], top))
		}
	}
	demand, err := read("headroom_controller_demand", "")
	if err != nil {
		return nil, err
	}
	quantile := "0.95"
	if f := hr.Status.Forecast; f != nil && len(f.Quantiles) > 0 {
		quantile = f.Quantiles[len(f.Quantiles)-1].Quantile
	}
	forecast, err := read("headroom_controller_forecast_demand", fmt.Sprintf(",quantile=%q", quantile))
	if err != nil {
		return nil, err
	}
	floor, err := read("headroom_controller_floor_replicas", "")
	if err != nil {
		return nil, err
	}
	ready, err := read("headroom_controller_ready_replicas", "")
	if err != nil {
		return nil, err
	}
	add(map[string][]float64{"demand": demand, "q" + quantile: forecast}, "demand", "q"+quantile)
	add(map[string][]float64{"floor": floor, "ready": ready}, "floor", "ready")
	return lines, nil
}
