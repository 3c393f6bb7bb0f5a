// Package traces reads demand traces and makes synthetic ones.
//
// A trace is CSV, plain or gzip, with the header "timestamp_s,requests" and any further columns; a row at t covers
// [t, t + its step). The step of a trace is the commonest difference of neighbouring time stamps. Bin puts one column on a
// grid that starts at t = 0: counts are summed, gauges averaged, and a bin that lacks a row is missing, never zero.
//
// Nothing is repaired in silence: Read returns with the trace a list of what it found wrong, by line, and what it did.
//
// The generators are seeded and deterministic. They stand in for real traffic in tests, and each states what it imitates.
package traces
