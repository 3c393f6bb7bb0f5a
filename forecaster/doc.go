// Package forecaster says, for one series of offered demand, how high it may get before new capacity can be ready: calibrated
// quantiles of the maximum over (now, now + lead], online and causal.
//
// # Shape
//
// An Engine is fed one Observation per bin and asked for a Forecast. Both are deterministic functions of what was fed: no
// clock, no goroutine, no randomness, no allocation in the steady state. One engine serves one series; engines share
// nothing, so thousands may run in parallel. Per lead it has:
//
//   - points (points.go): cheap forecasts of the maximum. Last value; running maximum; EWMAs; a day and a week ago; the
//     mean day scaled by the present ratio, and by its root; additive Holt-Winters without trend; a week ago shifted to
//     today's level; a ridge regression on all of these; the mean since the last change point; TSB for intermittent demand
//     (Teunter, Syntetos and Babai 2011); an announced event; an outside forecast. A raw linear trend does harm and is not here.
//   - a scale for each (scale.go): how large its residuals are now, as the geometric mean of ½ EW45min + ½ EW1d and of
//     a log-linear model of recent roughness, time of day and how far the expert says demand will move. This is the
//     largest single gain: it knows that a forecast of a steep rise is less certain than one of calm.
//   - a sketch for each (sketch.go): the distribution of residual/scale as a log-linear histogram with exponential forgetting.
//     Point + scale × quantile are the expert's quantiles.
//   - a mixture per quantile (aggregate.go): Bernstein online aggregation on pinball loss with delayed labels, the mean of
//     two with memories of hours and of days. Its learning rate allows for labels that overlap.
//   - a second stage: the mixture's own median as one more point, with its own scale and sketch.
//   - a correction (horizon.go, combine): the conformal quantile of what the mixture missed by over a week, shrunk by
//     n/(n+10), n being the independent labels beyond the quantile (conformal prediction on residuals, with forgetting in
//     place of exchangeability; Gibbs and Candès 2021 for the online idea). A gradient step per label was tried and was worse.
//   - a record and a gate (record.go): where the engine does 25 % worse than "last value + scaled residuals" over some
//     days, that is what Forecast gives.
//
// # What is not a number
//
// A missing bin is never a zero and never trains anything: no label is taken from a window that lacks a bin, and none for a
// forecast made during a gap. In a gap of g bins the spread grows by √(1+g/L), L being the lead, as for a random walk. A lower
// bound (AtLeast) moves levels up only, and teaches only those experts whose quantiles it proves too low.
//
// # Time
//
// Bins are counted from 1970. A bin already past is refused, so that repeats change nothing; after five refused in a row, each
// later than the last, the clock has been set back and the engine goes on from there. Seasons are tables by wall-clock
// phase in the series' time zone (season.go), so neither gaps nor clock changes disturb them.
//
// # Learning less often
//
// Neighbouring labels share most of their window. Three to seven forecasts a lead are learned from, at strides of 3, 7, 13, …
// bins that meet no round rhythm of the data at always the same beat (with a stride of 2 the scores on data with ten-minute
// steps depend on which half of the minutes one happens to learn from).
//
// # Budget
//
// One series at one lead and four quantiles holds about 81 KiB, a further lead about 47 KiB; see the tests in cost_test.go.
// Observing and forecasting takes about 10 µs at a lead of two minutes and 6 µs from ten minutes on: a forecast that was made to be
// learned from is the one that is given.
// A week of minutes is in half precision and the mixtures in single; the regressions need double.
//
// # Tried and left out
//
// Linear quantile regression as a further expert (at best half a per cent); purely multiplicative residuals (they blow up
// on bursty series); an aggregator per fast, medium and slow memory (two do); windows of exactly two days (the sketch
// equals them at a fifth of the state); change-point resets of gains (the short memory and the mean since the last
// change point do that); every expert with a second σ beside its own (unscaled, plain, by the week, by the level or wholly
// modelled: each helps one kind of traffic by half a per cent and costs the other as much); three memories of the
// aggregation; residuals remembered for longer (better at q0.99, but coverage at 0.9 follows too slowly).
package forecaster
