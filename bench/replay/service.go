package replay

import (
	"errors"
	"fmt"
	"math"
	"time"
)

// Service is what one Ready replica serves from the queue, step by step. The zero Service is PerReplica, as a fluid. It changes the
// waits and what is lost, and never the headline: late work is counted against PerReplica.
type Service struct {
	Rate []float64 // load that one replica serves; nil: PerReplica
	// Slots are requests that one replica works on at once. With them, requests that come by chance at the same time wait for one
	// another (Erlang C) even where there is enough for the mean; without, that is left out. Load must then be requests a second.
	Slots []float64
}

// Law is the linear law of a batching LLM server: with b requests in the batch, the time between two tokens is Alpha + Beta·b.
// From it follow the largest batch that keeps TokenSLO, and the requests that a replica finishes in a second.
type Law struct {
	Alpha, Beta time.Duration
	TokenSLO    time.Duration
	Slots       int     // the largest batch (max_num_seqs)
	KVTokens    float64 // that the cache holds; 0: no limit
	Prefill     float64 // prompt tokens a second; 0: no limit
}

// Validate says everything that is wrong with a law.
func (l Law) Validate() error {
	var problems []error
	refuse := func(wrong bool, path string, value any, allowed string) {
		if wrong {
			problems = append(problems, fmt.Errorf("%s: %v: must be %s", path, value, allowed))
		}
	}
	refuse(l.Alpha < 0 || l.Beta < 0 || l.Alpha+l.Beta <= 0, "time between tokens", fmt.Sprintf("%v+%v", l.Alpha, l.Beta), "two times of 0 or more, not both 0")
	refuse(l.TokenSLO < l.Alpha+l.Beta, "its objective", l.TokenSLO, fmt.Sprintf("at least that of a batch of one, %v", l.Alpha+l.Beta))
	refuse(l.Slots < 1, "slots", l.Slots, "1 or more")
	refuse(!(l.KVTokens >= 0), "cache", l.KVTokens, "0 (no limit) or more tokens")
	refuse(!(l.Prefill >= 0), "prefill", l.Prefill, "0 (no limit) or more tokens a second")
	return errors.Join(problems...)
}

// At is what a replica does with requests of so many tokens on average: requests a second, and how many it works on at once.
//
//	b    = min( (SLO − α)/β,  KV/(prompt + output/2),  slots )        half of an answer is in the cache on average
//	rate = min( b / (output · (α + β·b)),  prefill / prompt )
func (l Law) At(prompt, output float64) (rate, slots float64) {
	alpha, beta := l.Alpha.Seconds(), l.Beta.Seconds()
	b := float64(l.Slots)
	if beta > 0 {
		b = min(b, (l.TokenSLO.Seconds()-alpha)/beta)
	}
	if l.KVTokens > 0 {
		b = min(b, l.KVTokens/(prompt+output/2))
	}
	b = max(math.Floor(b*(1+1e-9)), 1)
	rate = b / (max(output, 1) * (alpha + beta*b))
	if l.Prefill > 0 && prompt > 0 {
		rate = min(rate, l.Prefill/prompt)
	}
	return rate, b
}

// ServiceOf applies the law to requests whose mean tokens are known by the step. Where they are not, those before hold.
func ServiceOf(l Law, prompt, output []float64) Service {
	s := Service{Rate: make([]float64, len(output)), Slots: make([]float64, len(output))}
	p, o := firstKnown(prompt), firstKnown(output)
	rate, slots := l.At(p, o)
	for k := range output {
		changed := false
		if v := prompt[k]; v == v && v != p {
			p, changed = v, true
		}
		if v := output[k]; v == v && v != o {
			o, changed = v, true
		}
		if changed {
			rate, slots = l.At(p, o)
		}
		s.Rate[k], s.Slots[k] = rate, slots
	}
	return s
}

func firstKnown(all []float64) float64 {
	for _, v := range all {
		if v == v {
			return v
		}
	}
	return 1
}

// chance is the waits of requests that find all slots taken though there is enough for the mean: M/M/n.
type chance struct {
	memory map[[2]int]float64
}

// busyGrain is how finely the load of a slot is told apart, upwards.
const busyGrain = 500

// waiting is the share of requests that wait (Erlang C) with n slots of which a are busy on average.
func (c *chance) waiting(n int, a float64) float64 {
	key := [2]int{n, int(math.Ceil(a / float64(n) * busyGrain))}
	if p, ok := c.memory[key]; ok {
		return p
	}
	p := erlangC(n, min(float64(key[1])/busyGrain, 1-1e-6)*float64(n))
	if c.memory == nil {
		c.memory = map[[2]int]float64{}
	}
	c.memory[key] = p
	return p
}

// erlangC is the probability of waiting in M/M/n, from Erlang B's recursion B(i) = a·B(i−1)/(i + a·B(i−1)).
func erlangC(n int, a float64) float64 {
	b := 1.0
	for i := 1; i <= n; i++ {
		b = a * b / (float64(i) + a*b)
	}
	busy := a / float64(n)
	return b / (1 - busy*(1-b))
}

// add books one step without a backlog: of what is offered a share waits, exponentially with the mean hold/(n − a).
func (c *chance) add(w *waits, offered float64, ready int, rate, slots float64) {
	n := int(float64(ready) * slots)
	hold := slots / rate // seconds that a request keeps its slot
	a := offered * hold
	if n < 1 || a >= float64(n) {
		w.add(0, offered)
		return
	}
	left := offered * c.waiting(n, a)
	w.add(0, offered-left)
	fade := math.Exp(-(float64(n) - a) / hold) // of one second
	for seconds := 1; ; seconds++ {
		rest := left * fade
		if rest < offered*1e-9 || seconds == len(w.bins)-1 {
			w.add(float64(seconds), left)
			return
		}
		w.add(float64(seconds), left-rest)
		left = rest
	}
}
