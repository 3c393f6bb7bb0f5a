// Package app is the command "headroom forecast" and the program behind the forecaster's scoreboard: it reads a trace or
// Prometheus, replays it through the engine and the baselines, and prints, writes and draws what came out.
package app
