// Package exporter shows a node's readings as Prometheus metrics, under names of its own that are frozen, and if wanted a second time as
// dcgm-exporter would, in either spelling, so that dashboards made for that go on working.
//
// A reading that is stale or absent has no series; gpu_slice_absent says why. Series have no timestamps of their own: a reading is shown
// for StaleIntervals intervals at most, which is less than a scrape, and Prometheus marks what ends as stale at once.
//
// # What differs from a dcgm-exporter
//
// Values are of compute instances, not of GPU instances; several compute instances of one GPU instance are told apart by GPU_C_ID. A
// MIG device's parent has no series, as with dcgm-exporter's default selection. A device that several pods share has a series for each, with
// the device's value, so a sum over pods counts it several times; ours (gpu_pod_…) say by their basis what they are. FB_FREE contains
// what the driver reserves. A dcgm-exporter on the same node would double everything: the agent is to refuse that.
package exporter
