package replay

import (
	"cmp"
	"math"
	"slices"
)

// Setting is one policy's place on the plane of cost and lateness.
type Setting struct {
	Name       string
	Cost       float64 // pod-hours
	LateShare  float64
	ShortShare float64 // of the minutes
}

// SettingOf is the place of a result.
func SettingOf(r Result) Setting {
	return Setting{Name: r.Policy, Cost: r.PodHours, LateShare: r.LateShare, ShortShare: r.MinutesShortShare}
}

// Hull is the lower convex hull of some settings in (cost, late work), from the cheapest to the one that is late least: what
// lies between two neighbours is reached by following one of them part of the time.
func Hull(settings []Setting) []Setting {
	sorted := slices.SortedFunc(slices.Values(settings), func(a, b Setting) int {
		return cmp.Or(cmp.Compare(a.Cost, b.Cost), cmp.Compare(a.LateShare, b.LateShare))
	})
	var hull []Setting
	for _, p := range sorted {
		if n := len(hull); n > 0 && p.LateShare >= hull[n-1].LateShare {
			continue // it costs more and is no better
		}
		for n := len(hull); n > 1 && !convex(hull[n-2], hull[n-1], p); n = len(hull) {
			hull = hull[:n-1]
		}
		hull = append(hull, p)
	}
	return hull
}

// convex says that b lies below the line from a to c.
func convex(a, b, c Setting) bool {
	return (b.LateShare-a.LateShare)*(c.Cost-a.Cost) < (c.LateShare-a.LateShare)*(b.Cost-a.Cost)
}

// LateAt is the late work that a hull reaches at a cost; NaN below its cheapest setting.
func LateAt(hull []Setting, cost float64) float64 {
	for i, p := range hull {
		switch {
		case p.Cost < cost:
		case p.Cost == cost:
			return p.LateShare
		case i == 0:
			return math.NaN()
		default:
			a := hull[i-1]
			return a.LateShare + (p.LateShare-a.LateShare)*(cost-a.Cost)/(p.Cost-a.Cost)
		}
	}
	if len(hull) == 0 {
		return math.NaN()
	}
	return hull[len(hull)-1].LateShare
}

// Cheapest is the cheapest setting that is good enough; false when none is.
func Cheapest(settings []Setting, enough func(Setting) bool) (Setting, bool) {
	var best Setting
	found := false
	for _, p := range settings {
		if enough(p) && (!found || p.Cost < best.Cost) {
			best, found = p, true
		}
	}
	return best, found
}
