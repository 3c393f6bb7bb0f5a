package agent

import (
	"cmp"
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/headroom-autoscaler/headroom/dcgm"
)

// table writes a view as a person reads it: a line for each GPU and MIG device, with those who hold it. What has no number shows why.
func table(to io.Writer, v *View, now time.Time) error {
	if v.Inventory == nil {
		_, err := fmt.Fprintln(to, "no NVIDIA driver")
		return err
	}
	readings := map[dcgm.Slice]map[dcgm.Signal]dcgm.Reading{}
	oldest := time.Duration(0)
	for _, r := range v.Snapshot.Readings {
		if readings[r.Slice] == nil {
			readings[r.Slice] = map[dcgm.Signal]dcgm.Reading{}
		}
		readings[r.Slice][r.Signal] = r
		if r.Valid() {
			oldest = max(oldest, now.Sub(r.At))
		}
	}
	shared := map[dcgm.Slice]string{}
	for _, p := range v.Snapshot.Pods {
		if p.Sharing != dcgm.Exclusive && p.Sharing != dcgm.MIG {
			shared[p.Slice] = " (" + p.Sharing.String() + ")"
		}
	}
	fmt.Fprintf(to, "driver %s, %s, oldest reading %s\n", v.Inventory.Driver, v.At.Format(time.TimeOnly), oldest.Round(100*time.Millisecond))
	w := tabwriter.NewWriter(to, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "GPU\tDEVICE\tWEIGHT\tSM\tDRAM\tTENSOR\tGRAPHICS\tMEMORY\tQUALITY\tPODS")
	line := func(gpu dcgm.GPU, name string, slice dcgm.Slice) {
		of := readings[slice]
		weight := "-"
		if sm := v.Inventory.Weights(slice).SM; sm > 0 {
			weight = percent(sm)
		}
		fmt.Fprintf(w, "%d\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\n", gpu.Index, name, weight,
			number(of[dcgm.SMActive]), number(of[dcgm.DRAMActive]), number(of[dcgm.TensorActive]), number(of[dcgm.GraphicsActive]), memory(of), quality(of), pods(v.Snapshot.Holders[slice])+shared[slice])
	}
	for _, gpu := range v.Inventory.GPUs {
		line(gpu, gpu.Name, dcgm.Whole(gpu.UUID))
		for _, d := range gpu.Devices {
			line(gpu, "  "+d.Profile.String()+" "+fmt.Sprintf("%d/%d", d.Slice.GI, d.Slice.CI), d.Slice)
		}
	}
	if err := w.Flush(); err != nil {
		return err
	}
	for _, h := range v.Unplaced {
		fmt.Fprintf(to, "%s/%s holds %s, which is no device of this node\n", h.Pod.Namespace, h.Pod.Name, h.ID)
	}
	return nil
}

func percent(ratio float64) string { return fmt.Sprintf("%.1f%%", 100*ratio) }

func number(r dcgm.Reading) string {
	if !r.Valid() {
		return reason(r.Absence)
	}
	return percent(r.Value)
}

func memory(of map[dcgm.Signal]dcgm.Reading) string {
	used, total := of[dcgm.MemoryUsed], of[dcgm.MemoryTotal]
	if !used.Valid() || !total.Valid() {
		return reason(cmp.Or(used.Absence, total.Absence))
	}
	return fmt.Sprintf("%.1f/%.1f GiB", used.Value/(1<<30), total.Value/(1<<30))
}

func reason(why dcgm.Absence) string {
	if why == 0 { // nobody has said anything yet
		return "-"
	}
	return why.String()
}

// quality is the worst among the activities that have a number.
func quality(of map[dcgm.Signal]dcgm.Reading) string {
	var worst dcgm.Quality
	for _, r := range of {
		if r.Valid() && !r.Signal.Bytes() {
			worst = max(worst, r.Quality)
		}
	}
	if worst == 0 {
		return "-"
	}
	return worst.String()
}

func pods(holders []dcgm.Pod) string {
	if len(holders) == 0 {
		return "-"
	}
	var names []string
	for _, p := range slices.SortedFunc(slices.Values(holders), dcgm.Pod.Compare) {
		names = append(names, p.Namespace+"/"+p.Name)
	}
	return strings.Join(slices.Compact(names), " ")
}
