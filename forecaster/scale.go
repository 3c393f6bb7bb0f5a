package forecaster

import "math"

// scale follows the size of one expert's residuals: mean |residual| over 45 minutes, a day and a week and by hour of
// the day, and a log-linear model of it.
//
// The model is log σ = log σ_day + w·x, x being logarithms relative to σ_day of the other means, of how far the expert says
// demand will move, and of how rough demand has been lately. It is linear in logarithms because volatilities multiply (as in
// the Log-HAR and Log-GARCH models; Corsi 2009 for the horizons), which also makes it free of units. It is fitted by
// recursive least squares to log(|e| + σ_day/10): the tenth keeps a perfect hit from being minus infinity. Its prior is the
// plain mixture, log σ = ½ log σ_45min + ½ log σ_day. That the fit estimates E log|e| rather than a scale does not matter:
// residuals are divided by σ and their distribution is learned after that.
type scale struct {
	fast, day, week mean
	byTime          [timeCells]float32 // 0 = unknown
	model           ridge
}

const (
	timeCells     = 24
	scaleShared   = 6                          // features that all experts share
	scaleOwn      = 4                          // fast, by time, week, distance
	scaleFeatures = 1 + scaleOwn + scaleShared // and the constant
	scaleMemory   = 3000.0                     // minutes of the model's forgetting
	modelFrom     = 100                        // labels before the model is used
	logLimit      = 7.0                        // features are held within e^±7 of σ_day
	hitShare      = 0.1
)

func newScale(perLabel float64) scale {
	s := scale{model: newRidge(scaleFeatures, math.Exp(-perLabel/scaleMemory), 0.1, 10)}
	s.model.w[1] = 0.5
	return s
}

// labelRates are the rates of all scales of one lead, worked out once.
type labelRates struct{ fast, day, week, byTime float64 }

func newLabelRates(perLabel float64) labelRates {
	return labelRates{
		fast: rateOf(perLabel, 45), day: rateOf(perLabel, 1440), week: rateOf(perLabel, 10080),
		byTime: min(1, perLabel/180), // an hour a day: three days
	}
}

// expect sets what is thought of the residuals before the first one; it counts as a few labels.
func (s *scale) expect(size float64) {
	const labels = 4
	s.fast, s.day, s.week = mean{labels, size}, mean{labels, size}, mean{labels, size}
}

// plain is ½ EW45min + ½ EW1d.
func (s *scale) plain() float64 { return (s.fast.value + s.day.value) / 2 }

// sharedLogs fills the logarithms that all experts use; size is any scale of the series for the floor.
func sharedLogs(dst *[scaleShared]float64, size float64, raw [scaleShared]float64) {
	floor := hitShare*size + tiny
	for i, v := range raw {
		dst[i] = math.Log(v + floor)
	}
}

// tiny keeps logarithms finite on a dead series; it is below the smallest demand that counts.
const tiny = 1e-33

// features fills x for an expert whose point is distance away from the last value, and returns log σ_day.
func (s *scale) features(x *[scaleFeatures]float64, cell int, distance float64, shared *[scaleShared]float64) (logDay float64) {
	floor := hitShare*s.day.value + tiny
	logDay = math.Log(s.day.value + tiny)
	held := func(v float64) float64 { return min(max(v-logDay, -logLimit), logLimit) }
	x[0] = 1
	x[1] = held(math.Log(s.fast.value + floor/100))
	x[2] = held(math.Log(float64(s.byTime[cell]) + floor))
	x[3] = held(math.Log(s.week.value + floor))
	x[4] = held(math.Log(distance + floor))
	for i, v := range shared {
		x[1+scaleOwn+i] = held(v)
	}
	return logDay
}

// modelled is the model's σ; the plain one until the model has seen enough. The two never differ by more than e^±3.
func (s *scale) modelled(x *[scaleFeatures]float64, logDay float64) float64 {
	plain := s.plain()
	if s.model.seen < modelFrom || plain <= tiny {
		return plain
	}
	const limit = 20
	return min(max(math.Exp(logDay+s.model.predict(x[:])), plain/limit), plain*limit)
}

// learn takes |residual| of a forecast made with features x in the given hour.
func (s *scale) learn(size float64, x []float32, logDay float64, cell int, r *labelRates) {
	if s.day.value > tiny && len(x) == scaleFeatures {
		var f [scaleFeatures]float64
		for i, v := range x {
			f[i] = float64(v)
		}
		day := math.Exp(logDay)
		s.model.learn(f[:], math.Log(size+hitShare*day+tiny)-logDay)
	}
	s.fast.add(size, r.fast)
	s.day.add(size, r.day)
	s.week.add(size, r.week)
	c := &s.byTime[cell]
	if *c == 0 {
		*c = float32(size)
	} else {
		*c += float32(r.byTime * (size - float64(*c)))
	}
}
