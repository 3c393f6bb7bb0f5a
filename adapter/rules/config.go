package rules

import "time"

// ParseOptions is what the command line adds to a file.
type ParseOptions struct {
	Strict   bool     // refuse what would otherwise only be a warning
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

// Backend is a place to send queries to. The rule without a backend goes to
// the command line's, or else to the first of these.
type Backend struct {
	Name            string
	URLs            []string // tried in order; a URL's own query string is part of every request
	BearerTokenFile string
	BasicAuth       *BasicAuth
	TLS             TLS
	Headers         map[string][]string
	MatchLabels     map[string]string // added to every selector sent here
	Timeout         time.Duration     // 0: the server's default
	MaxGetLength    int               // bytes of encoded query above which POST is used; 0: the server's default; AlwaysPost
}

// AlwaysPost as MaxGetLength: no query is short enough for GET.
const AlwaysPost = -1

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

func (p Partial) String() string {
	switch p {
	case Omit:
		return "Omit"
	case Fail:
		return "Fail"
	}
	return "none"
}

// Age says whose age a value has.
type Age int

const (
	SampleAge     Age = iota + 1 // the newest raw sample's (the default)
	EvaluationAge                // the evaluation's: always "now"
)

func (a Age) String() string {
	switch a {
	case SampleAge:
		return "sample"
	case EvaluationAge:
		return "evaluation"
	}
	return "none"
}
