package prewarm

import (
	"fmt"
	"time"
)

// LeadSource says where a lead time comes from.
type LeadSource int

const (
	LeadFixed    LeadSource = iota + 1 // the object says so
	LeadInitial                        // too few batches were measured: the object's first guess
	LeadMeasured                       // the quantile of what was measured
)

var leadSourceTexts = map[LeadSource]string{LeadFixed: "Fixed", LeadInitial: "Initial", LeadMeasured: "Measured"}

func (s LeadSource) String() string {
	if text, ok := leadSourceTexts[s]; ok {
		return text
	}
	return fmt.Sprintf("lead source %d", int(s))
}

// Estimate is a quantile of how long a batch of pods takes from its creation to the last of them Ready.
type Estimate struct {
	Value      time.Duration // means nothing unless Known
	Known      bool          // something was observed
	AtLeast    bool          // so many batches are unfinished that the quantile lies beyond them all
	Finished   int           // batches behind it
	Unfinished int           // batches that were not, or not yet, Ready: they count with the time they have lasted
}

// String is the estimate as a person reads it.
func (e Estimate) String() string {
	switch {
	case !e.Known:
		return "unknown"
	case e.AtLeast:
		return "at least " + shortly(e.Value)
	}
	return shortly(e.Value)
}

// LeadTime is how long before they are needed replicas must be asked for, in its parts. The zero LeadTime is none at all.
type LeadTime struct {
	Pods          Estimate      // what counts: the creation of a batch to its last pod Ready
	Warm, NewNode Estimate      // the same for batches on nodes that were there, and with a node that had to be made
	Collection    time.Duration // demand is this old at worst when it is looked at
	HPAPeriod     time.Duration // the HPA looks this often
	Policies      time.Duration // what the HPA's scaleUp policies need to reach the floor; 0 where the floor is a minimum
	Failed        int           // pods that never became Ready, of the batches that are remembered
	Source        LeadSource
	Reason        string
}

// Fixed is a lead time that is not measured. It is the whole: nothing is added to what a person has set.
func Fixed(value time.Duration) LeadTime {
	return LeadTime{Pods: Estimate{Value: value, Known: true}, Source: LeadFixed, Reason: "set to " + shortly(value)}
}

// Total is the sum of the parts.
func (l LeadTime) Total() time.Duration {
	return l.Pods.Value + l.Collection + l.HPAPeriod + l.Policies
}

// NewNodeTotal is the lead time when nodes have to be made as well; what spare nodes are kept ahead by. Until that has been
// seen it is the same as Total.
func (l LeadTime) NewNodeTotal() time.Duration {
	total := l.Total()
	if l.NewNode.Known && l.Source != LeadFixed {
		total = max(total, total-l.Pods.Value+l.NewNode.Value)
	}
	return total
}

// LeadPolicy is what the Headroom object and its surroundings say about the lead time.
type LeadPolicy struct {
	Fixed      time.Duration // above 0: this, and nothing is measured
	Percentile float64       // of the batches, between 0 and 1
	Initial    time.Duration // until there are enough batches
	MinBatches int           // how many are enough

	Collection, HPAPeriod, Policies time.Duration

	// NodesKept says that spare nodes are kept (a CapacityBuffer), so that what a batch takes on a node that was there is what
	// counts. Otherwise all batches count, those that waited for a node among them.
	NodesKept bool
}

// DefaultLeadPolicy is what a Headroom object means that says nothing about its lead time. Of five batches, P90 is the longest.
func DefaultLeadPolicy() LeadPolicy {
	return LeadPolicy{Percentile: 0.9, Initial: 4 * time.Minute, MinBatches: 5, HPAPeriod: 15 * time.Second}
}

// LeadTime is the estimate at now from the batches that the tracker remembers.
func (t *Tracker) LeadTime(now time.Time, policy LeadPolicy) LeadTime {
	if policy.Fixed > 0 {
		lead := Fixed(policy.Fixed)
		lead.Warm, lead.NewNode, lead.Failed = t.estimates(now, policy)
		return lead
	}
	lead := LeadTime{Collection: policy.Collection, HPAPeriod: policy.HPAPeriod, Policies: policy.Policies}
	lead.Warm, lead.NewNode, lead.Failed = t.estimates(now, policy)
	counted, of := t.batches(now, policy.MinBatches), "batches"
	if policy.NodesKept {
		counted, of = onlyNewNode(counted, false), "batches on nodes that were there"
	}
	lead.Pods = estimate(counted, policy.Percentile)
	if lead.Pods.Finished >= policy.MinBatches {
		lead.Source = LeadMeasured
		lead.Reason = fmt.Sprintf("P%s of %d %s: %s", number(100*policy.Percentile), lead.Pods.Finished+lead.Pods.Unfinished, of, lead.Pods)
		if lead.Pods.Unfinished > 0 {
			lead.Reason += fmt.Sprintf(" (%d of them not Ready so far)", lead.Pods.Unfinished)
		}
		if told := countTold(counted); told > 0 {
			lead.Reason += fmt.Sprintf(" (%d of them by what their pods' conditions say)", told)
		}
		return lead
	}
	lead.Source = LeadInitial
	lead.Reason = fmt.Sprintf("initial %s, until %d %s have become Ready (%d so far)", shortly(policy.Initial), policy.MinBatches, of, lead.Pods.Finished)
	lead.Pods.Value, lead.Pods.Known, lead.Pods.AtLeast = policy.Initial, true, false
	for _, b := range counted {
		if !b.Finished && b.Took > lead.Pods.Value { // the guess is proven too low
			lead.Pods.Value, lead.Pods.AtLeast = b.Took, true
			lead.Reason = fmt.Sprintf("at least %s: a batch of %d begun at %s is not Ready by then; fewer than %d %s have become so (%d so far)",
				shortly(b.Took), b.Pods, b.Began.UTC().Format("15:04:05Z"), policy.MinBatches, of, lead.Pods.Finished)
		}
	}
	return lead
}

func (t *Tracker) estimates(now time.Time, policy LeadPolicy) (warm, newNode Estimate, failed int) {
	batches := t.batches(now, policy.MinBatches)
	warm = estimate(onlyNewNode(batches, false), policy.Percentile)
	newNode = estimate(onlyNewNode(batches, true), policy.Percentile)
	return warm, newNode, t.failed(now)
}

func estimate(batches []Batch, p float64) Estimate {
	var e Estimate
	observations := make([]observation, 0, len(batches))
	for _, b := range batches {
		observations = append(observations, observation{b.Took, b.Finished})
		if b.Finished {
			e.Finished++
		} else {
			e.Unfinished++
		}
	}
	if len(batches) == 0 {
		return e
	}
	value, reached := survivalQuantile(observations, p)
	e.Value, e.Known, e.AtLeast = value, true, !reached
	return e
}

func countTold(batches []Batch) (n int) {
	for _, b := range batches {
		if b.Told {
			n++
		}
	}
	return n
}

func onlyNewNode(batches []Batch, newNode bool) []Batch {
	var only []Batch
	for _, b := range batches {
		if b.NewNode == newNode {
			only = append(only, b)
		}
	}
	return only
}
