package app

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"text/tabwriter"

	"github.com/go-logr/logr"
	"github.com/spf13/cobra"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/headroom-autoscaler/headroom/api/v1alpha1"
	"github.com/headroom-autoscaler/headroom/prewarm/controller"
)

// NewReleaseCommand is "headroom release".
func NewReleaseCommand() *cobra.Command {
	var (
		c      cluster
		output string
		all    bool
		dryRun bool
	)
	cmd := &cobra.Command{
		Use:   "release (NAME | --all)",
		Short: "Give back the minimum replicas that Headroom holds, without a controller",
		Long: `Give back what Headroom objects in the modes MinReplicas and ScaledObject hold: the minReplicas of HPAs and the minReplicaCount of
KEDA's ScaledObjects become what their owners wrote, the annotations headroom.dev/user-min-replicas go, and so do the finalizers
that would keep a Headroom, or its whole namespace, from being deleted.

Deleting a Headroom, or setting its spec.actuation.mode to None, does the same while "headroom serve" runs. This command is for
when it does not: it was uninstalled before its objects, or cannot start. A controller that does run raises the floors of objects
that are still there again within seconds.

Pods that are no longer needed are then removed by the HPA, by its own rules.`,
		Example: `  # what would be given back, in all namespaces; the API server checks each change and makes none
  kubectl headroom release --all --dry-run

  # everything, after "helm uninstall" left objects that cannot be deleted
  headroom release --all

  # everything in one namespace, for a program
  headroom release --all -n inference -o json

  # what one Headroom holds
  kubectl headroom release llama-70b -n inference`,
		Args:         cobra.MaximumNArgs(1),
		SilenceUsage: true,
		RunE: func(cmd *cobra.Command, args []string) error {
			switch {
			case output != "text" && output != "json":
				return fmt.Errorf("--output: %q is not one of text, json", output)
			case all == (len(args) == 1):
				return errors.New("say either the NAME of one Headroom or --all")
			}
			log.SetLogger(logr.Discard()) // the client library's own, which complains when nobody sets one
			scheme := runtime.NewScheme()
			if err := v1alpha1.AddToScheme(scheme); err != nil {
				return err
			}
			cluster, namespace, err := c.connect(scheme)
			if err != nil {
				return err
			}
			o := controller.ReleaseOptions{Namespace: namespace, DryRun: dryRun}
			if all {
				o.Namespace = c.namespace // the context's namespace is not meant where nobody named one
			} else {
				o.Headroom = args[0]
			}
			return runRelease(cmd.Context(), cluster, o, output, cmd.OutOrStdout(), cmd.ErrOrStderr())
		},
	}
	c.addFlags(cmd)
	cmd.Flags().BoolVar(&all, "all", false, "everything that Headroom holds, in all namespaces or in the one that --namespace names")
	cmd.Flags().BoolVar(&dryRun, "dry-run", false, "let the API server check each change without making it")
	cmd.Flags().StringVarP(&output, "output", "o", "text", "text or json")
	return cmd
}

// runRelease prints what was given back even when something else could not be.
func runRelease(ctx context.Context, cluster client.Client, o controller.ReleaseOptions, output string, out, trouble io.Writer) error {
	done := []controller.Released{} // an empty list in JSON, not null
	err := controller.ReleaseAll(ctx, cluster, o, func(r controller.Released) { done = append(done, r) })
	if len(done) == 0 && err == nil && o.Headroom != "" {
		err = exists(ctx, cluster, types.NamespacedName{Namespace: o.Namespace, Name: o.Headroom})
	}
	if output == "json" {
		encoder := json.NewEncoder(out)
		encoder.SetIndent("", "  ")
		return errors.Join(err, encoder.Encode(done))
	}
	return errors.Join(err, printReleased(out, done, o.DryRun, err == nil), warn(trouble, asking(ctx, cluster, o)))
}

// exists is an error where there is no such Headroom: it is more likely a slip of the pen than nothing to do.
func exists(ctx context.Context, cluster client.Client, key types.NamespacedName) error {
	err := cluster.Get(ctx, key, &v1alpha1.Headroom{})
	if apierrors.IsNotFound(err) || meta.IsNoMatchError(err) {
		return fmt.Errorf("there is no Headroom %q in namespace %q, and nothing is held in its name", key.Name, key.Namespace)
	}
	return err
}

func printReleased(out io.Writer, done []controller.Released, dryRun, all bool) error {
	if len(done) == 0 {
		if !all {
			return nil
		}
		_, err := fmt.Fprintln(out, "Nothing is held: there is nothing to give back.")
		return err
	}
	table := tabwriter.NewWriter(out, 0, 0, 3, ' ', 0)
	_, _ = fmt.Fprintln(table, "NAMESPACE\tOBJECT\tMINIMUM\tNOW\tWHAT") // a failure shows in Flush
	for _, r := range done {
		from, to := "", ""
		if r.Kind != "Headroom" {
			from, to = count(r.From), count(r.To)
		}
		_, _ = fmt.Fprintf(table, "%s\t%s/%s\t%s\t%s\t%s\n", r.Namespace, r.Kind, r.Name, from, to, r.Note)
	}
	if err := table.Flush(); err != nil {
		return err
	}
	if dryRun {
		_, err := fmt.Fprintln(out, "\nA dry run: nothing was changed.")
		return err
	}
	return nil
}

func count(n *int32) string {
	if n == nil {
		return "left out"
	}
	return fmt.Sprint(*n)
}

// asking counts the Headrooms for which a running controller would take it all again; none where that cannot be said.
func asking(ctx context.Context, cluster client.Client, o controller.ReleaseOptions) (n int) {
	var list v1alpha1.HeadroomList
	if cluster.List(ctx, &list, client.InNamespace(o.Namespace)) != nil {
		return 0 // ReleaseAll has asked the same and told of it
	}
	for _, hr := range list.Items {
		mode := hr.Spec.Actuation.Mode
		if (o.Headroom == "" || hr.Name == o.Headroom) && hr.DeletionTimestamp == nil && (mode == v1alpha1.ActuateMinReplicas || mode == v1alpha1.ActuateScaledObject) {
			n++
		}
	}
	return n
}

func warn(trouble io.Writer, asking int) error {
	if asking == 0 {
		return nil
	}
	_, err := fmt.Fprintf(trouble, "Headrooms that still ask for a floor: %d. Where \"headroom serve\" runs, it raises those again: delete them first, or set their spec.actuation.mode to None.\n", asking)
	return err
}
