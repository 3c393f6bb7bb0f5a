package rules

// Catalog is which metrics exist, as far as the rules and the last discovery say. Immutable.
type Catalog struct{}

// NewCatalog knows the fixed metrics (presets) and nothing discovered yet.
func NewCatalog(cfg *Config) *Catalog { panic("soon") }

// With returns a catalog in which the named rules have these series. Rules that
// are not named keep theirs, so one failed discovery harms no other.
func (c *Catalog) With(discovered map[*Rule][]string) *Catalog { panic("soon") }

// Match is a rule, and a series of it, that give a metric.
type Match struct {
	Rule   *Rule
	Series string // "" for a fixed rule
	Label  string // that names the object; "" for external
}

// Candidates are all that may give the metric, best first: the later rule of
// the file before the earlier, the file before presets, the later preset before
// the earlier. Ask them in order: an object (or, external, a selector) takes
// the first that has a valid value for it. None hides another.
func (c *Catalog) Candidates(kind Kind, res Resource, metric string, rs Resources) []Match {
	panic("soon")
}

// Entry is one metric of the discovery list.
type Entry struct {
	Kind       Kind
	Resource   Resource // zero for external
	Namespaced bool
	Metric     string
}

// Metrics is everything on offer, sorted, without duplicates. labelsOf gives
// the label names of a discovered series; nil offers only fixed and external metrics.
func (c *Catalog) Metrics(rs Resources, labelsOf func(rule *Rule, series string) []string) []Entry {
	panic("soon")
}

// Overlap is a metric that more than one rule gives.
type Overlap struct {
	Kind    Kind
	Metric  string
	Matches []Match // best first
}

func (c *Catalog) Overlaps() []Overlap { panic("soon") }
