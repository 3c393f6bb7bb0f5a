package report

import (
	"math"
	"time"

	"github.com/headroom-autoscaler/headroom/bench/replay"
)

// Schema names the form of a Document; another form gets another name.
const Schema = "headroom.dev/replay/v1"

// Document is a replay's outcome, as --json writes it. docs/replay.md explains every field. Shares are 0 to 1, times are
// seconds, and what is not known is null.
type Document struct {
	Schema      string        `json:"schema"`
	Trace       Trace         `json:"trace"`
	Workload    Workload      `json:"workload"`
	Policies    []Policy      `json:"policies"`
	Calibration []Calibration `json:"calibration"`
	Frontier    *Frontier     `json:"frontier,omitempty"`
	Notes       []string      `json:"notes"`
}

// Trace is the traffic that was replayed.
type Trace struct {
	Name         string    `json:"name"`
	From         time.Time `json:"from"`
	ScoredFrom   time.Time `json:"scoredFrom"`
	To           time.Time `json:"to"`
	StepSeconds  float64   `json:"stepSeconds"`
	UnknownShare float64   `json:"unknownShare"`
	MeanLoad     float64   `json:"meanLoad"`
	Unit         string    `json:"unit"`
	Issues       []string  `json:"issues"`
}

// Workload is what the manifests said.
type Workload struct {
	Target              string  `json:"target"`
	PerReplica          float64 `json:"perReplica"`
	LeadTime            string  `json:"leadTime"`
	LeadTimeUsedSeconds float64 `json:"leadTimeUsedSeconds"`
	HorizonSeconds      float64 `json:"horizonSeconds"`
	Quantile            float64 `json:"quantile"`
	Actuation           string  `json:"actuation"`
	GPUsPerPod          float64 `json:"gpusPerPod"`
	PricePerGPUHour     float64 `json:"pricePerGPUHour"`
	GPUs                int     `json:"gpus"`
	FailuresPerPodHour  float64 `json:"failuresPerPodHour"`
	Patience            float64 `json:"patienceSeconds"`
	Service             string  `json:"service"`
	Seed                uint64  `json:"seed"`
}

// Policy is one line of the table.
type Policy struct {
	Name                  string   `json:"name"`
	What                  string   `json:"what"`
	LateShare             float64  `json:"lateShare"`
	LateWork              float64  `json:"lateWork"`
	UnservedShare         float64  `json:"unservedShare"`
	UnderProvisioned      int      `json:"underProvisionedMinutes"`
	UnderProvisionedShare float64  `json:"underProvisionedShare"`
	WaitP50               float64  `json:"waitP50Seconds"`
	WaitP95               float64  `json:"waitP95Seconds"`
	WaitP99               float64  `json:"waitP99Seconds"`
	ReplicaHours          float64  `json:"replicaHours"`
	Cost                  float64  `json:"cost"`
	ToOracle              *float64 `json:"costToOracle"`
	PodsStarted           int      `json:"podsStarted"`
	PodsFailed            int      `json:"podsFailed"`
	MeanReplicas          float64  `json:"meanReplicas"`
	MostReplicas          int      `json:"mostReplicas"`
	WorstDay              string   `json:"worstDay"`
	WorstDayLateShare     float64  `json:"worstDayLateShare"`
}

// Calibration is one quantile of the forecast.
type Calibration struct {
	Quantile float64 `json:"quantile"`
	Coverage float64 `json:"coverage"`
	Outcomes int     `json:"outcomes"`
}

// Frontier is what a sweep found.
type Frontier struct {
	SLO           float64 `json:"slo"`
	Headroom      []Point `json:"headroom"`
	Constant      []Point `json:"constant"`
	Crane         []Point `json:"crane"`
	Cheapest      *Point  `json:"cheapest"`
	CheapestOwned *Point  `json:"cheapestHeadroom"`
}

// Point is one setting.
type Point struct {
	Name                  string  `json:"name"`
	ReplicaHours          float64 `json:"replicaHours"`
	LateShare             float64 `json:"lateShare"`
	UnderProvisionedShare float64 `json:"underProvisionedShare"`
	Quantile              float64 `json:"quantile,omitempty"`
	Buffer                int     `json:"buffer"`
	Margin                float64 `json:"margin,omitempty"`
}

// About is what a comparison does not know of itself.
type About struct {
	Trace       string
	Unit        string
	Issues      []string
	Target      string
	GPUsPerPod  float64
	Price       float64 // of a GPU-hour
	Notes       []string
	ServiceText string
}

// NewDocument writes a comparison down.
func NewDocument(q *replay.Question, c *replay.Comparison, about About) Document {
	s := &q.Scenario
	moment := func(step int) time.Time { return s.Start.Add(time.Duration(step) * replay.Step).UTC() }
	doc := Document{
		Schema: Schema,
		Trace: Trace{Name: about.Trace, From: moment(0), ScoredFrom: moment(s.ScoreFrom), To: moment(len(s.Offered)), StepSeconds: q.Series.Step.Seconds(),
			Unit: about.Unit, Issues: notNil(about.Issues)},
		Workload: Workload{Target: about.Target, PerReplica: s.PerReplica, LeadTime: s.Lead.String(), LeadTimeUsedSeconds: c.Lead.Total().Seconds(),
			HorizonSeconds: c.Horizon.Seconds(), Quantile: c.Outlook.Quantile, Actuation: q.Actuation.String(), GPUsPerPod: about.GPUsPerPod,
			PricePerGPUHour: about.Price, GPUs: s.GPUs, FailuresPerPodHour: s.Fails, Patience: s.Patience.Seconds(), Service: about.ServiceText, Seed: s.Seed},
		Notes: notNil(about.Notes),
	}
	sum, known := 0.0, 0
	for _, v := range s.Offered[s.ScoreFrom:] {
		if v == v {
			sum += v
			known++
		}
	}
	doc.Trace.MeanLoad = sum / float64(max(known, 1))
	doc.Trace.UnknownShare = 1 - float64(known)/float64(len(s.Offered)-s.ScoreFrom)
	oracle := c.Life(replay.NameOracle)
	for i := range c.Lives {
		doc.Policies = append(doc.Policies, policyOf(&c.Lives[i], oracle, about, dated(doc.Trace.From)))
	}
	for _, k := range c.Calibrate {
		doc.Calibration = append(doc.Calibration, Calibration(k))
	}
	if c.Frontier != nil {
		doc.Frontier = frontierOf(c.Frontier)
	}
	return doc
}

func policyOf(l *replay.Life, oracle *replay.Life, about About, date func(time.Time) string) Policy {
	r := &l.Result
	p := Policy{Name: l.Name, What: l.What, LateShare: r.LateShare, LateWork: r.Late, UnservedShare: r.Unserved, UnderProvisioned: r.MinutesShort,
		UnderProvisionedShare: r.MinutesShortShare, WaitP50: r.Wait50.Seconds(), WaitP95: r.Wait95.Seconds(), WaitP99: r.Wait99.Seconds(),
		ReplicaHours: r.PodHours, Cost: r.PodHours * about.GPUsPerPod * about.Price, PodsStarted: r.Started, PodsFailed: r.Failed,
		MeanReplicas: r.MeanPods, MostReplicas: r.MostPods, WorstDay: date(r.WorstDay.From), WorstDayLateShare: r.WorstDay.LateShare}
	if oracle != nil && oracle.Result.PodHours > 0 {
		ratio := r.PodHours / oracle.Result.PodHours
		p.ToOracle = &ratio
	}
	return p
}

// dated names a day: by its date, or by its number where the trace's clock starts at 0.
func dated(start time.Time) func(time.Time) string {
	return func(t time.Time) string {
		if start.Unix() == 0 {
			return "day " + number(math.Floor(float64(t.Unix())/86400))
		}
		return t.UTC().Format(time.DateOnly)
	}
}

func frontierOf(f *replay.Frontier) *Frontier {
	return &Frontier{SLO: f.SLO, Headroom: pointsOf(f.Headroom), Constant: pointsOf(f.Constant), Crane: pointsOf(f.Crane), Cheapest: pointOf(f.Best), CheapestOwned: pointOf(f.BestOwn)}
}

func pointsOf(all []replay.Point) []Point {
	out := make([]Point, len(all))
	for i := range all {
		out[i] = *pointOf(&all[i])
	}
	return out
}

func pointOf(p *replay.Point) *Point {
	if p == nil {
		return nil
	}
	return &Point{Name: p.Name, ReplicaHours: p.Cost, LateShare: p.LateShare, UnderProvisionedShare: p.ShortShare, Quantile: p.Quantile, Buffer: p.Buffer, Margin: p.Margin}
}

func notNil(s []string) []string {
	if s == nil {
		return []string{}
	}
	return s
}
