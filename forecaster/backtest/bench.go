package backtest

import (
	"time"

	"github.com/headroom-autoscaler/headroom/forecaster"
)

// Names of what Compare scores beside the engine; the experts of the fixed pool have their own, in both forms.
const (
	NameEngine  = "headroom"
	NamePlain   = "plain engine"
	NameLast    = "last + additive"
	NameLastVol = "last + scaled"
	NameRunMax  = "running max + additive"
	NameUniform = "uniform average"
)

// Scored is one method's run.
type Scored struct {
	Name string
	Run  Run
}

// Comparison is the engine and every baseline on one series at one lead.
type Comparison struct {
	Lead   time.Duration
	Engine *forecaster.Engine // as it stood at the end
	All    []Scored           // the engine first
	Pool   []int              // which of All are the fixed pool's members

}

// Compare scores one engine with the options o, at the lead of the protocol alone, beside the baselines.
func Compare(s forecaster.Series, p Protocol, o forecaster.Options, watch func(done, total int)) (Comparison, error) {
	o.Step, o.Leads, o.Quantiles = s.Step, []time.Duration{p.Lead}, p.Quantiles
	e, err := forecaster.New(o)
	if err != nil {
		return Comparison{}, err
	}
	if err := p.Validate(s.Step); err != nil {
		return Comparison{}, err
	}
	pool := NewPool(s.Step, p.Lead, p.Quantiles)
	names := []string{NameEngine, NamePlain, NameUniform, "crane-like", "dynamo-like", "phpa-like"}
	all := []Predictor{
		Engine(e, p.Lead), pool.Plain(), pool.Uniform(),
		CraneLike(s.Step, p.Lead, p.Quantiles), DynamoLike(s.Step, p.Lead, p.Quantiles), PHPALike(s.Step, p.Lead, p.Quantiles),
	}
	c := Comparison{Lead: p.Lead, Engine: e}
	for k, n := range pointNames {
		for _, form := range []string{"additive", "scaled"} {
			c.Pool = append(c.Pool, len(all))
			all = append(all, pool.Member(k, form == "scaled"))
			names = append(names, n+" + "+form)
		}
	}
	runs, err := Evaluate(s, p, watch, all...)
	if err != nil {
		return Comparison{}, err
	}
	for i, r := range runs {
		c.All = append(c.All, Scored{names[i], r})
	}
	return c, nil
}

// Run is the run of a name; the zero Run if there is none.
func (c Comparison) Run(name string) Run {
	for _, s := range c.All {
		if s.Name == name {
			return s.Run
		}
	}
	return Run{}
}

// Best is, per quantile, the smallest loss of the fixed pool's members, seen in hindsight, and whose it is.
func (c Comparison) Best() (loss []float64, whose []string) {
	for _, i := range c.Pool {
		l, _ := c.All[i].Run.Loss()
		if loss == nil {
			loss, whose = make([]float64, len(l)), make([]string, len(l))
			copy(loss, l)
			for j := range whose {
				whose[j] = c.All[i].Name
			}
			continue
		}
		for j := range l {
			if l[j] < loss[j] {
				loss[j], whose[j] = l[j], c.All[i].Name
			}
		}
	}
	return loss, whose
}
