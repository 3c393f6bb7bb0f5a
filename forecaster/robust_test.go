package forecaster

import (
	"encoding/binary"
	"math"
	"math/rand/v2"
	"testing"
	"time"
)

const seeds = 50

// disturbance is something that befalls a series, and coverage must recover from it within a day.
type disturbance struct {
	name  string
	at    func(i int, r *rand.Rand, o Observation) Observation // changes minute i, counted from the disturbance
	scale float64                                              // of the whole series
	days  int                                                  // of calm before
}

func disturbances() []disturbance {
	same := func(_ int, _ *rand.Rand, o Observation) Observation { return o }
	return []disturbance{
		{"5 % missing at random", func(_ int, r *rand.Rand, o Observation) Observation {
			if r.Float64() < 0.05 {
				return NoData()
			}
			return o
		}, 100, 3},
		{"an hour's outage", func(i int, _ *rand.Rand, o Observation) Observation {
			if i < 60 {
				return NoData()
			}
			return o
		}, 100, 3},
		{"level times three", func(_ int, _ *rand.Rand, o Observation) Observation {
			o.Value *= 3
			return o
		}, 100, 3},
		{"burst times five for ten minutes", func(i int, _ *rand.Rand, o Observation) Observation {
			if i < 10 {
				o.Value *= 5
			}
			return o
		}, 100, 3},
		{"brand new", same, 100, 0},
		{"values of 1e-9", same, 1e-9, 3},
		{"values of 1e12", same, 1e12, 3},
	}
}

// After each disturbance, from a day on and for a day, the mean coverage at 0.95 over all seeds is within 2 points.
func TestCoverageRecoversWithinADay(t *testing.T) {
	for _, d := range disturbances() {
		t.Run(d.name, func(t *testing.T) {
			t.Parallel()
			hit, n := 0.0, 0.0
			for seed := range uint64(seeds) {
				h, m := coverageAfter(t, d, seed)
				hit, n = hit+h, n+m
			}
			if c := hit / n; math.Abs(c-0.95) > 0.02 {
				t.Errorf("coverage at 0.95 a day after is %.4f, want 0.93 to 0.97", c)
			} else {
				t.Logf("coverage at 0.95 a day after is %.4f over %d seeds", c, seeds)
			}
		})
	}
}

func coverageAfter(t *testing.T, d disturbance, seed uint64) (hit, n float64) {
	e := newEngine(t, nil)
	r := rand.New(rand.NewPCG(seed, 77))
	x := 0.0
	begin, end := d.days*1440, (d.days+2)*1440
	y := make([]Observation, end+10)
	for i := range y {
		x += -0.02*x + 0.03*r.NormFloat64()
		y[i] = Value(d.scale * (1.5 + math.Sin(2*math.Pi*float64(i)/1440)) * math.Exp(x+0.05*r.NormFloat64()))
		if i >= begin {
			y[i] = d.at(i-begin, r, y[i])
		}
	}
	for i := range end {
		e.Observe(minute(i), y[i])
		f, err := e.Forecast(minute(i + 1))
		if err != nil {
			if d.days == 0 && i == 0 && y[0].Kind == Missing {
				continue
			}
			t.Fatal(err)
		}
		row, _ := f.Row(10 * time.Minute)
		for j, q := range row {
			if !(q >= 0) || math.IsInf(q, 0) || j > 0 && q < row[j-1] {
				t.Fatalf("seed %d, minute %d: quantiles %v", seed, i, row)
			}
		}
		if i < begin+1440 || i%5 != 0 {
			continue
		}
		m, whole := 0.0, true
		for _, o := range y[i+1 : i+11] {
			v, ok := o.Number()
			m, whole = max(m, v), whole && ok
		}
		if whole {
			n++
			if m <= row[2] {
				hit++
			}
		}
	}
	return hit, n
}

// A series that dies is forecast to stay near zero within a day, and a return is not met with a panic. Its coverage is 1
// by definition, as a maximum of zero is never above a forecast.
func TestDeadSeries(t *testing.T) {
	for seed := range uint64(seeds) {
		e := newEngine(t, nil)
		r := rand.New(rand.NewPCG(seed, 78))
		feed(e, 0, 1440, func(i int) Observation { return Value(wave(r, i)) })
		feed(e, 1440, 4*1440, func(int) Observation { return Zero() })
		f, err := e.Forecast(minute(4 * 1440))
		if err != nil {
			t.Fatal(err)
		}
		for _, tau := range f.Quantiles() {
			if q, _ := f.Max(10*time.Minute, tau); !(q >= 0 && q < 5) {
				t.Errorf("seed %d: q%v of a series dead for three days is %v, it was 150", seed, tau, q)
			}
		}
		feed(e, 4*1440, 4*1440+120, func(i int) Observation { return Value(wave(r, i)) })
		if q := top(t, e, minute(4*1440+120)); q < 100 {
			t.Errorf("seed %d: q0.95 two hours after the return is %v", seed, q)
		}
	}
}

// Any input: never NaN, never infinite, never negative, never falling with the quantile or the lead, no panic.
func FuzzEngine(f *testing.F) {
	f.Add([]byte{1, 2, 3})
	f.Add([]byte{0xff, 0xf0, 0, 0, 0, 0, 0, 0, 0, 1})
	r := rand.New(rand.NewPCG(1, 1))
	long := make([]byte, 4096)
	for i := range long {
		long[i] = byte(r.Uint32())
	}
	f.Add(long)
	f.Fuzz(func(t *testing.T, data []byte) {
		e := newEngine(t, func(o *Options) {
			o.Step = time.Duration(1+len(data)%5) * time.Minute
			o.Leads = []time.Duration{o.Step, 7 * o.Step, 12 * o.Step}
		})
		now := start
		for len(data) >= 10 {
			kind, jump := Kind(data[0]%6), int8(data[1])
			v := math.Float64frombits(binary.LittleEndian.Uint64(data[2:]))
			if data[0]&0x80 != 0 {
				v = float64(data[2]) // keep ordinary numbers common
			}
			data = data[10:]
			switch {
			case jump > 120:
				now = now.Add(time.Duration(jump) * 24 * time.Hour)
			case jump < -120:
				now = now.Add(time.Duration(jump) * 24 * time.Hour)
			case jump > 100:
				now = now.Add(time.Duration(jump) * time.Minute)
			default:
				now = now.Add(e.opts.Step)
			}
			switch data := byte(kind); {
			case data == 5:
				e.Offer(now, e.opts.Leads[1], v)
				e.Announce([]Event{{From: now, Until: now.Add(time.Hour), Demand: v}})
			default:
				e.Observe(now, Observation{Kind: kind, Value: v})
			}
			fc, err := e.Forecast(now.Add(e.opts.Step))
			if err != nil {
				continue
			}
			last := make([]float64, len(e.opts.Quantiles))
			for _, l := range e.opts.Leads {
				row, _ := fc.Row(l)
				for j, q := range row {
					if !(q >= 0) || math.IsInf(q, 0) || q < last[j] || j > 0 && q < row[j-1] {
						t.Fatalf("lead %v: quantiles %v after %v", l, row, last)
					}
					last[j] = q
				}
			}
		}
	})
}
