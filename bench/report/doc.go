// Package report writes a comparison of bench/replay down: as a table for a terminal, as JSON, and as one HTML file that loads
// nothing from elsewhere. All three are made from one Document, so that they cannot say different things.
//
// The page draws with uPlot (MIT, in the folder uplot, with its licence), embedded. Pods and demand share one axis, in
// replicas: demand is shown as what it takes. Late work is the area of demand above what is Ready.
package report
