// Package nodeagent listens to the node agents, so that metrics of GPUs are a second old.
//
//	agents ──stream──► Decoder ──► formulas: series ──► a number for each pod and metric ──► Deliver: store, by quality
//
// Every replica of the adapter watches every agent: there is nobody in the middle, and no leader. A stream that breaks takes its node's
// numbers along within three of the agent's intervals; nothing else notices.
//
// # What it gives
//
// The names that the preset of dcgm-exporter gives, so that an HPA need not know where a number comes from, and for devices that pods share
// a pod's own part beside them (Metrics). A shared device is told to each of its pods whole: four pods at a quarter each look idle by their
// parts while the device is full, and scaling must see that. A pod with several devices has their mean, as in the preset, and no number
// when one of them has none: the mean of the rest would be somebody else's.
//
// # Which source wins
//
// Each quality is a source of its own in the store, with a rank: measured for the slice, converted, taken from the GPU instance; those stand
// before any rule. A duty cycle stands behind all rules, as a dcgm-exporter knows more. The store shows the best that is fresh and goes to
// a worse one only when the better one's last value is stale; the worse one's readings of the same slice may be a third of it, so the change
// is made once and not back and forth. Nothing is averaged over sources.
//
// # Age
//
// An agent says on a clock of its own when it measured and when it sent. The quickest message of the last minute stands for one without
// delay (lag); what another took longer is its delay, and counts as age. So neither clocks that differ nor a message that lay in a buffer make anything
// look fresh. Dropped is what is older than three intervals.
//
// # Who may speak for whom
//
// The agent's certificate says that it is an agent, not which node's. With Options.Bound an agent is heard for pods of its node alone. Two
// nodes that speak for a pod of one name both lose the word: which of them means the present one is not known.
package nodeagent
