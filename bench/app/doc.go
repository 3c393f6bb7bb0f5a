// Package app is "headroom replay" and the scoreboard of the replay: it reads manifests, traffic and lead times, hands them as
// values to bench/replay, and writes what comes out.
package app
