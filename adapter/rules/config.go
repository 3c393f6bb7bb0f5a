package rules

import "time"

// ParseOptions is what the command line adds to a file.
type ParseOptions struct {
	Strict   bool     // refuse what would otherwise be a warning that something is ignored (resourceRules)
	Backends []string // names of backends that the command line defines
	Legacy   Legacy
}

// Legacy brings back, one by one, behaviour of prometheus-adapter that is
// wrong but that somebody may lean on. The zero value is the right behaviour.
type Legacy struct {
	IgnoreNamespaced bool // `namespaced: false` has no effect in `rules`
	RawRegexps       bool // `in (v)` is =~"v", and nothing is escaped in alternations
	HideOverlaps     bool // of several rules with one metric name only the last is asked
}

// Config is a configuration file that holds.
type Config struct {
	Rules    []*Rule // of both kinds; presets first, then the file's in order: later wins
	Backends []Backend
	Warnings []Problem
	Legacy   Legacy
}

// Parse reads a configuration. The error is Problems: every one at once.
func Parse(file string, data []byte, opts ParseOptions) (*Config, error) { panic("soon") }

// Backend is a place to send queries to.
type Backend struct {
	Name            string
	URLs            []string // tried in order
	BearerTokenFile string
	BasicAuth       *BasicAuth
	TLS             TLS
	Headers         map[string][]string
	MatchLabels     map[string]string // added to every selector sent here
	Timeout         time.Duration     // 0: the server's default
	MaxGetLength    int               // bytes of encoded query above which POST is used; 0: default, -1: always POST
}

// BasicAuth names a user, and the file that holds the password.
type BasicAuth struct{ Username, PasswordFile string }

// TLS of a backend; files are read again when they change.
type TLS struct {
	CAFile, CertFile, KeyFile, ServerName string
}

// Partial says what a Pods answer does when a Ready pod has no valid sample.
type Partial int

const (
	Omit Partial = iota + 1 // leave the pod out (the default)
	Fail                    // the whole answer is not-found
)

// Age says whose age a value has.
type Age int

const (
	SampleAge     Age = iota + 1 // the newest raw sample's (the default)
	EvaluationAge                // the evaluation's: always "now"
)

// Rule turns series into metrics. Immutable.
type Rule struct {
	Name         string // "rules[2]", "externalRules[0]", "presets.vllm.rules[1]"
	Line         int    // of the file; 0 in a preset
	Preset       string // "" for the file's own rules
	Kind         Kind
	Backend      string        // "": the default backend
	MaxStaleness time.Duration // 0: the server's default
	Partial      Partial
	EmptyIsZero  bool
	Age          Age
	Namespaced   bool
}

// SeriesQuery is the selector for discovery, "" when the series are fixed.
func (r *Rule) SeriesQuery() string { panic("soon") }

// MetricFor says which metric the rule makes of a series. A fixed rule
// answers for the series "".
func (r *Rule) MetricFor(series string) (metric string, ok bool) { panic("soon") }

// LabelFor is the label that names an object of the resource.
func (r *Rule) LabelFor(res Resource, rs Resources) (label string, ok bool) { panic("soon") }

// ResourceFor is the resource whose objects the label names.
func (r *Rule) ResourceFor(label string, rs Resources) (ResourceInfo, bool) { panic("soon") }

// Batches says that one query for several namespaces at once, with no object
// names (custom) or no namespace (external), gives every object or namespace
// exactly the value that a query of its own would give.
func (r *Rule) Batches() bool { panic("soon") }

// FiltersInMemory says that, in an external rule, the selector may be left out
// of the query and applied with Selector.Matches to the labels of the result.
// It depends on the keys: `sum by (topic)` answers for topic but not for group.
func (r *Rule) FiltersInMemory(s Selector) bool { panic("soon") }
