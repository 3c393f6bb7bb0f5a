package app

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/headroom-autoscaler/headroom/adapter/rules"
)

// checkOptions are what "headroom check" can be told beside what serve can.
type checkOptions struct {
	*Options
	Files   []string
	Compare string
	CAFile  string
	Output  string
}

// report is what check found; it is also the JSON output.
type report struct {
	File     string        `json:"file,omitempty"`
	Rules    int           `json:"rules"`
	Warnings []string      `json:"warnings,omitempty"`
	Overlaps []string      `json:"overlaps,omitempty"`
	Floors   []floor       `json:"floors,omitempty"`
	HPAs     *hpaReport    `json:"hpas,omitempty"`
	Answers  []comparison  `json:"answers,omitempty"`
	Summary  *comparedWith `json:"compared,omitempty"`
}

// hpaReport says how often the HPA controller can evaluate the cluster's HPAs at its defaults.
type hpaReport struct {
	HPAs            int     `json:"hpas"`
	CustomMetrics   int     `json:"customMetrics"`
	ExternalMetrics int     `json:"externalMetrics"`
	PeriodSeconds   float64 `json:"periodSeconds"`
	Explanation     string  `json:"explanation"`
}

// NewCheckCommand is "headroom check".
func NewCheckCommand() *cobra.Command {
	o := &checkOptions{Options: DefaultOptions(), Output: "text"}
	o.LogLevel = "error"
	cmd := &cobra.Command{
		Use:   "check",
		Short: "Lint rules and manifests, say what keeps floors from workloads, rehearse a move from another adapter",
		Long: `Lint a rules file: every problem at once, with its line and what is allowed there.

With --filename it reads Headrooms and HPAs from manifests and says what would keep each floor from its workload: the HPA's
tolerance, its targets, its policies, its maximum. HPAs without a Headroom are examined as if they were to hold a buffer of two.

With neither it examines the Headrooms and HPAs of the cluster that kubectl uses.

With --config and --kubeconfig it also reads the cluster's HPAs and Headrooms, examines them in the same way, asks the backends what each of them would be told, and says how
often the HPA controller can evaluate that many.

With --compare URL the adapter at that URL is asked the same questions, and the differences are printed. "cluster"
stands for whatever serves the metrics APIs of the cluster now. Nothing is changed anywhere.

The exit status is 0 when all is well, 1 when a file is refused, a floor is swallowed or an answer is missing on one side.`,
		Example: `  headroom check --config config.yaml
  headroom check -f headroom.yaml -f hpa.yaml
  kubectl headroom check
  helm template my-release ./chart | headroom check -f -
  headroom check --config config.yaml --strict -o json
  headroom check --config config.yaml --prometheus-url http://localhost:9090 --kubeconfig ~/.kube/config
  headroom check --config config.yaml --prometheus-url http://localhost:9090 --kubeconfig ~/.kube/config --compare cluster`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return o.run(cmd.Context(), cmd.InOrStdin(), cmd.OutOrStdout())
		},
	}
	fs := cmd.Flags()
	o.AddFlags(fs)
	fs.StringArrayVarP(&o.Files, "filename", "f", o.Files, "manifests of Headrooms and HPAs, - for standard input; may be repeated")
	fs.StringVar(&o.Compare, "compare", o.Compare, "URL of the adapter to compare with, or \"cluster\" for the one that the cluster uses now")
	fs.StringVar(&o.CAFile, "compare-ca-file", o.CAFile, "CA certificates that the other adapter's certificate is verified with")
	fs.StringVarP(&o.Output, "output", "o", o.Output, "text or json")
	return cmd
}

func (o *checkOptions) run(ctx context.Context, in io.Reader, out io.Writer) error {
	if o.Output != "text" && o.Output != "json" {
		return fmt.Errorf("--output: %q is not one of text, json", o.Output)
	}
	r := &report{File: o.ConfigFile}
	var verdict error
	if o.ConfigFile == "" && len(o.Files) == 0 {
		floors, err := clusterFloors(ctx, o.Kubeconfig, o.Headrooms.HPASyncPeriod)
		if err != nil {
			return err
		}
		r.Floors = floors
	}
	if len(o.Files) > 0 {
		headrooms, hpas, err := readManifests(o.Files, in)
		if err != nil {
			return err
		}
		// A manifest does not say which Kubernetes will read it; the present ones keep the tolerance.
		r.Floors = examineFloors(headrooms, hpas, true, o.Headrooms.HPASyncPeriod)
	}
	if o.ConfigFile != "" {
		if err := o.rules(r); err != nil {
			return err
		}
		if o.Kubeconfig != "" || o.Compare != "" {
			verdict = o.cluster(ctx, r)
		}
	}
	if n := countBad(r.Floors); n > 0 {
		verdict = errors.Join(verdict, fmt.Errorf("%d of %d floors do not reach their workloads", n, len(r.Floors)))
	}
	if o.Output == "json" {
		encoder := json.NewEncoder(out)
		encoder.SetIndent("", "  ")
		return errors.Join(encoder.Encode(r), verdict)
	}
	r.print(out)
	return verdict
}

func countBad(floors []floor) (n int) {
	for _, f := range floors {
		if f.bad() {
			n++
		}
	}
	return n
}

// rules lints the rules file.
func (o *checkOptions) rules(r *report) error {
	data, err := os.ReadFile(o.ConfigFile)
	if err != nil {
		return fmt.Errorf("--config: %w", err)
	}
	parsed, err := rules.Parse(o.ConfigFile, data, rules.ParseOptions{Strict: o.Strict, Legacy: o.Legacy, Backends: []string{commandLineBackend}})
	if err != nil {
		return fmt.Errorf("configuration refused:\n%w", err)
	}
	r.Rules = len(parsed.Rules)
	for _, warning := range parsed.Warnings {
		r.Warnings = append(r.Warnings, warning.String())
	}
	r.Warnings = append(r.Warnings, ownNames(parsed)...)
	for _, overlap := range overlaps(parsed) {
		r.Overlaps = append(r.Overlaps, describeOverlap(overlap))
	}
	return nil
}

// cluster adds what the cluster's HPAs would be told, and what the other adapter says to the same.
func (o *checkOptions) cluster(ctx context.Context, r *report) error {
	quiet := *o.Options
	quiet.MetricsAddress = "0"
	if quiet.Logger == nil {
		quiet.Logger = slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelError}))
	}
	adapter, err := New(ctx, &quiet)
	if err != nil {
		return err
	}
	stop := adapter.collect(ctx)
	defer stop()
	if err := adapter.settled(ctx); err != nil {
		return err
	}
	r.Floors = append(r.Floors, adapter.floors()...)
	questions, err := adapter.questions(ctx)
	if err != nil {
		return err
	}
	r.HPAs = explainPeriod(len(adapter.hpas.All()), questions)
	var other *otherAdapter
	if o.Compare != "" {
		if other, err = newOtherAdapter(adapter, o.Compare, o.CAFile); err != nil {
			return err
		}
		r.Summary = &comparedWith{With: o.Compare}
	}
	missing := 0
	for _, q := range questions {
		c := adapter.compare(ctx, q, other)
		r.Answers = append(r.Answers, c)
		if r.Summary != nil {
			r.Summary.count(c)
		}
		if c.Ours.Error != "" {
			missing++
		}
	}
	switch {
	case r.Summary != nil && r.Summary.Missing > 0:
		return fmt.Errorf("%d of %d questions are answered by one side alone", r.Summary.Missing, len(questions))
	case r.Summary == nil && missing > 0:
		return fmt.Errorf("%d of %d metrics that HPAs ask for have no value", missing, len(questions))
	}
	return nil
}

// settled waits until everything wanted has been tried, or a query's time is over.
func (a *Adapter) settled(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 2*a.options.Prometheus.Timeout)
	defer cancel()
	for !a.loop.synced() || a.loop.firstTick.Load() == 0 || !a.headrooms.Tried() {
		if !sleep(ctx, settle) {
			return errors.New("the cluster's pods and HPAs could not be listed in time: does the kubeconfig allow it?")
		}
	}
	return nil
}

// kcmRequestsPerSecond is kube-controller-manager's --kube-api-qps default: its limit for each of the two metrics clients.
const kcmRequestsPerSecond = 20

// hpaPeriod is kube-controller-manager's --horizontal-pod-autoscaler-sync-period default.
const hpaPeriod = 15 * time.Second

// explainPeriod works out how often the HPA controller can evaluate so many metrics. Its two metrics clients send at most
// 20 requests per second each, whatever the adapter does.
func explainPeriod(hpas int, questions []question) *hpaReport {
	r := &hpaReport{HPAs: hpas}
	for _, q := range questions {
		if q.kind == rules.External {
			r.ExternalMetrics++
		} else {
			r.CustomMetrics++
		}
	}
	needed := float64(max(r.CustomMetrics, r.ExternalMetrics)) / kcmRequestsPerSecond
	r.PeriodSeconds = math.Max(hpaPeriod.Seconds(), needed)
	switch {
	case needed > hpaPeriod.Seconds():
		r.Explanation = fmt.Sprintf("kube-controller-manager sends at most %d requests/s to each metrics API, so each HPA is evaluated every %.0f s at best instead of every %.0f s; raise its --kube-api-qps and --kube-api-burst",
			kcmRequestsPerSecond, needed, hpaPeriod.Seconds())
	default:
		r.Explanation = fmt.Sprintf("kube-controller-manager's limit of %d requests/s for each metrics API is enough for these", kcmRequestsPerSecond)
	}
	return r
}

// overlaps are those that somebody may not have meant: presets share names by design.
func overlaps(parsed *rules.Config) []rules.Overlap {
	return slices.DeleteFunc(rules.NewCatalog(parsed).Overlaps(offline{}), func(o rules.Overlap) bool {
		return !slices.ContainsFunc(o.Matches, func(m rules.Match) bool { return m.Rule.Preset == "" })
	})
}

func describeOverlap(o rules.Overlap) string {
	names := make([]string, len(o.Matches))
	for i, match := range o.Matches {
		names[i] = match.Rule.Name
	}
	return fmt.Sprintf("%s metric %s is given by %s", o.Kind, o.Metric, strings.Join(names, ", then ")) + ": an object takes its value from the first that has one"
}
