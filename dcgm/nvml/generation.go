package nvml

import "github.com/headroom-autoscaler/headroom/dcgm"

// generations number slices, so that readings of two slices that had the same ids are never taken for one's. A slice keeps its
// number while every look finds it as it was; it gets a new one when it is new, differs in anything, comes back, or may have been
// replaced unseen (an event said that its GPU's layout changed, or a sample failed).
type generations struct {
	last uint64
	gpus map[string]remembered
}

type remembered struct {
	generation uint64
	mig        bool
	devices    map[dcgm.Slice]dcgm.Device
}

// number sets the generations in an inventory that was just read. replaced says which GPUs' slices may be others by now.
func (g *generations) number(inv *dcgm.Inventory, replaced func(gpu string) bool) {
	next := map[string]remembered{}
	for i := range inv.GPUs {
		gpu := &inv.GPUs[i]
		before, known := g.gpus[gpu.UUID]
		now := remembered{generation: before.generation, mig: gpu.MIG, devices: map[dcgm.Slice]dcgm.Device{}}
		changed := !known || before.mig != gpu.MIG || len(before.devices) != len(gpu.Devices) || replaced(gpu.UUID)
		for j := range gpu.Devices {
			d := &gpu.Devices[j]
			old, had := before.devices[d.Slice]
			d.Generation = old.Generation
			if !had || *d != old || replaced(gpu.UUID) {
				g.last++
				d.Generation = g.last
				changed = true
			}
			now.devices[d.Slice] = *d
		}
		if changed {
			g.last++
			now.generation = g.last
		}
		gpu.Generation = now.generation
		next[gpu.UUID] = now
	}
	g.gpus = next
}
