package app

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"
	autoscalingv2 "k8s.io/api/autoscaling/v2"

	"github.com/headroom-autoscaler/headroom/api/v1alpha1"
	"github.com/headroom-autoscaler/headroom/bench/replay"
	"github.com/headroom-autoscaler/headroom/bench/report"
)

// NewCommand is "headroom replay".
func NewCommand() *cobra.Command {
	o := DefaultOptions()
	c := &cobra.Command{
		Use:   "replay",
		Short: "See on your own traffic what the HPA alone, N+2, the calendar and the forecast would have done",
		Long: `Replay lives past traffic through the very manifests that are applied: the HPA's arithmetic is that of Kubernetes 1.37, the floor is
Headroom's own decision, and pods take a lead time to be Ready. It compares the HPA as it is; with 1, 2 and 4 more; schedules alone; a
Crane-like margin; the Headroom as written; and an oracle that knows the future. Without a Headroom it proposes one.`,
		Example: "  headroom replay -f hpa.yaml -f headroom.yaml --trace requests.csv.gz --lead-time 2m..6m --report replay.html\n" +
			"  headroom replay -f hpa.yaml --prometheus-url http://localhost:9090 --query 'sum(rate(requests_total[1m]))' --since 14d --sweep --slo 99%",
		Args:         cobra.NoArgs,
		SilenceUsage: true,
		RunE: func(c *cobra.Command, _ []string) error {
			return run(c.Context(), o, c.InOrStdin(), c.OutOrStdout(), c.ErrOrStderr())
		},
	}
	f := c.Flags()
	f.StringArrayVarP(&o.Files, "filename", "f", o.Files, "manifest of the HorizontalPodAutoscaler, and of the Headroom; - for standard input")
	f.StringVar(&o.FromCluster, "from-cluster", o.FromCluster, "namespace/name of a Headroom, or of an HPA without one: read them, and the measured lead times, from the cluster instead of -f")
	f.StringVar(&o.Kubeconfig, "kubeconfig", o.Kubeconfig, "with --from-cluster: kubeconfig file; otherwise $KUBECONFIG, then ~/.kube/config")
	f.StringVar(&o.Context, "context", o.Context, "with --from-cluster: context of the kubeconfig")
	f.StringVar(&o.Trace, "trace", o.Trace, "CSV with timestamp_s and a column, plain or gzip; - for standard input")
	f.StringVar(&o.Column, "column", o.Column, "column of the offered load")
	f.BoolVar(&o.Gauge, "gauge", o.Gauge, "the column is a level; else it counts what happened in the row's time, and is divided by its seconds")
	f.StringVar(&o.PrometheusURL, "prometheus-url", o.PrometheusURL, "read history from Prometheus instead of a trace")
	f.StringVar(&o.Query, "query", o.Query, "PromQL of the offered load, in the unit of perReplica")
	f.Var(days{&o.Since}, "since", "how far back to query")
	f.StringVar(&o.TimeZone, "time-zone", o.TimeZone, "whose days and weeks demand follows (default: the Headroom's, else UTC)")
	f.StringVar(&o.LeadTime, "lead-time", o.LeadTime, "from a pod's creation to Ready: 4m, 2m..6m, or a file with one time a line")
	f.Var(days{&o.Warmup}, "warmup", "what the forecaster sees before anything is scored; half of a shorter trace")
	f.DurationVar(&o.Delay, "delay", o.Delay, "how late demand is known: scrape and collection")
	f.DurationVar(&o.Window, "window", o.Window, "what demand is a mean over, as in rate(…[1m])")
	f.IntVar(&o.GPUs, "gpus", o.GPUs, "pods that can run at once; more are Pending; 0: no limit")
	f.Float64Var(&o.GPUsPerPod, "gpus-per-pod", o.GPUsPerPod, "for the cost")
	f.Float64Var(&o.Price, "price", o.Price, "of a GPU-hour; 0: no cost is shown")
	f.Float64Var(&o.Failures, "failures", o.Failures, "failures of a Ready pod per hour")
	f.DurationVar(&o.Patience, "patience", o.Patience, "how long a request waits in the queue before it is given up; 0: for ever")
	f.StringVar(&o.TokenTime, "itl", o.TokenTime, "time between tokens of a batching server: of one batch and of each request in it, such as 12ms+0.4ms; the queue then has slots")
	f.DurationVar(&o.TokenSLO, "itl-slo", o.TokenSLO, "with --itl: what the time between tokens may be")
	f.IntVar(&o.Slots, "slots", o.Slots, "with --itl: the largest batch")
	f.Float64Var(&o.KVTokens, "kv-tokens", o.KVTokens, "with --itl: tokens that the cache holds; 0: no limit")
	f.Float64Var(&o.Prefill, "prefill", o.Prefill, "with --itl: prompt tokens a second; 0: no limit")
	f.Float64Var(&o.PromptTokens, "prompt-tokens", o.PromptTokens, "with --itl: of a request, where the trace has no such column")
	f.Float64Var(&o.OutputTokens, "output-tokens", o.OutputTokens, "with --itl: of a request, where the trace has no such column")
	f.Uint64Var(&o.Seed, "seed", o.Seed, "of lead times and failures")
	f.BoolVar(&o.Sweep, "sweep", o.Sweep, "find the frontier of cost against late work over quantile, buffer and margin")
	f.StringVar(&o.SLO, "slo", o.SLO, "share of the work that is to be in time; a sweep names the cheapest setting that reaches it")
	f.StringVar(&o.Report, "report", o.Report, "write one self-contained HTML file")
	f.StringVar(&o.JSON, "json", o.JSON, "write the figures as JSON; - for standard output, instead of the table")
	f.StringVar(&o.Propose, "propose", o.Propose, "write the proposed Headroom to this file")
	return c
}

func run(ctx context.Context, o Options, in io.Reader, out, log io.Writer) error {
	if err := o.Validate(); err != nil {
		return err
	}
	read, err := readObjects(ctx, &o, in)
	if err != nil {
		return err
	}
	hpa, hr, err := read.pair()
	if err != nil {
		return err
	}
	var proposed *proposal
	if hr == nil {
		p, err := propose(hpa)
		if err != nil {
			return err
		}
		proposed = &p
		if hr, err = proposed.object(); err != nil {
			return err
		}
	}
	found, err := readTraffic(ctx, o, in, time.Now())
	if err != nil {
		return err
	}
	q, notes, err := ask(o, hpa, hr, found)
	if err != nil {
		return err
	}
	var serviceText string
	if q.Scenario.Service, serviceText, err = serviceOf(o, found); err != nil {
		return err
	}
	if r := q.Scenario.Service.Rate; r != nil && mean(r) < q.Scenario.PerReplica {
		notes = append(notes, fmt.Sprintf("by --itl a replica finishes %.3g a second on average, less than perReplica, %.3g: the queue grows while the floor is kept; lower perReplica", mean(r), q.Scenario.PerReplica))
	}
	bar := newProgress(log)
	c, err := replay.Compare(q, func(what string, share float64) { bar.show(what, share) })
	bar.done()
	if err != nil {
		return err
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	ref := hr.Spec.ScaleTargetRef
	doc := report.NewDocument(q, c, report.About{Trace: found.name, Unit: found.unit, Issues: found.issues, Target: ref.Kind + " " + ref.Name,
		GPUsPerPod: o.GPUsPerPod, Price: o.Price, Notes: notes, ServiceText: serviceText})
	if err := write(o, doc, q, c, out); err != nil {
		return err
	}
	for _, issue := range found.issues {
		fmt.Fprintln(log, issue)
	}
	if proposed == nil {
		return nil
	}
	return offer(o, proposed, doc.Frontier, out)
}

// readObjects reads the manifests from files, or from a cluster, which also knows the lead times and what to query.
func readObjects(ctx context.Context, o *Options, in io.Reader) (manifests, error) {
	if o.FromCluster == "" {
		return readManifests(o.Files, in)
	}
	c, namespace, err := connect(o.Kubeconfig, o.Context)
	if err != nil {
		return manifests{}, err
	}
	name := o.FromCluster
	if before, after, ok := strings.Cut(name, "/"); ok {
		namespace, name = before, after
	}
	return o.take(fromCluster(ctx, c, namespace, name))
}

// take fills in what the cluster knows and the command line does not say.
func (o *Options) take(found live, err error) (manifests, error) {
	if err != nil {
		return manifests{}, err
	}
	if o.LeadTime == DefaultOptions().LeadTime {
		o.measured = found.leads
	}
	if o.PrometheusURL != "" && o.Query == "" {
		if len(found.headrooms) == 0 {
			return manifests{}, errors.New("--query: empty, and there is no Headroom whose demand could be read: give the PromQL of the offered load")
		}
		o.Query = queryOf(found.headrooms[0])
	}
	return found.manifests, nil
}

func write(o Options, doc report.Document, q *replay.Question, c *replay.Comparison, out io.Writer) error {
	if o.Report != "" {
		if err := writeFile(o.Report, func(w io.Writer) error { return report.WritePage(w, doc, q, c) }); err != nil {
			return fmt.Errorf("write report: %w", err)
		}
	}
	encode := func(w io.Writer) error {
		e := json.NewEncoder(w)
		e.SetIndent("", "  ")
		return e.Encode(doc)
	}
	switch o.JSON {
	case "-":
		return encode(out)
	case "":
	default:
		if err := writeFile(o.JSON, encode); err != nil {
			return fmt.Errorf("write JSON: %w", err)
		}
	}
	return doc.WriteTable(out)
}

// offer shows the proposed Headroom, or writes it; with a sweep, that of the setting which reaches the SLO most cheaply.
func offer(o Options, p *proposal, f *report.Frontier, out io.Writer) error {
	settled := p.settle(f)
	if o.Propose != "" {
		return writeFile(o.Propose, func(w io.Writer) error {
			_, err := io.WriteString(w, p.yaml())
			return err
		})
	}
	if o.JSON == "-" {
		return nil // standard output is JSON
	}
	what := "# No Headroom was given. The one above is this, with the defaults:"
	if settled {
		what = fmt.Sprintf("# No Headroom was given. This one is the cheapest with %s of the work in time:", report.Percent(f.SLO))
	}
	_, err := fmt.Fprintf(out, "\n%s\n%s", what, p.yaml())
	return err
}

// object is the proposal as it will be read.
func (p *proposal) object() (*v1alpha1.Headroom, error) {
	m := manifests{hpas: []*autoscalingv2.HorizontalPodAutoscaler{p.hpa}}
	if err := m.read(strings.NewReader(p.yaml())); err != nil {
		return nil, fmt.Errorf("the proposed Headroom: %w", err)
	}
	_, hr, err := m.pair()
	return hr, err
}

func writeFile(path string, write func(io.Writer) error) error {
	var page bytes.Buffer
	if err := write(&page); err != nil {
		return err
	}
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	_, err = f.Write(page.Bytes())
	return errors.Join(err, f.Close())
}
