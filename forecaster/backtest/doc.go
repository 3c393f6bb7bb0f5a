// Package backtest scores forecasts of the maximum over a lead by one written protocol, so that two people get the same
// numbers, and holds the baselines that the engine has to beat.
//
// # The protocol
//
// Origins are at warm-up, warm-up + every, … while origin + lead does not pass the end. At an origin exactly the bins that end
// by then are known, each fed once. The target is the maximum of the bins that start in [origin, origin + lead); a target
// with a missing bin is not scored. A method is compared with another by the ratio of their mean pinball losses on the same
// origins, and over traces by the geometric mean. Coverage is reported over all origins, over windows that do not overlap,
// and over ramps (the maximum is at least 1.2 times the value at the origin), with a standard error by bootstrap of 6-hour blocks.
//
// # The baselines
//
// Each gets the last 2,880 labelled residuals and the conformal rank ⌈(n+1)τ⌉. Pool runs ten experts, each with additive
// and with volatility-scaled residuals, and on the scaled ten the plain engine; its members' best in hindsight is a yardstick
// that no real method has. The "-like" ones are written after the published code of others, in spirit and with care, but they
// are not those programs.
//
// Nothing here prints, reads a file or asks a clock.
package backtest
