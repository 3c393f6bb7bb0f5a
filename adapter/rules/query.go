package rules

import (
	"errors"
	"time"
)

// Ask is a question to a rule.
type Ask struct {
	Series   string
	Resource Resource // custom only
	// Names of the objects wanted (custom only). None: all objects of the
	// namespaces, which needs Batches, and the answer is grouped by namespace too.
	// For the resource namespaces itself, Names are the namespaces.
	Names       []string
	Namespaces  []string // several need Batches
	Selector    Selector
	MatchLabels map[string]string // of the backend
}

// Query is PromQL that answers an Ask.
type Query struct {
	Value string
	// Age gives, for the objects of Value, the time in Unix seconds of the newest
	// raw sample that Value stands on. "" with EvaluationAge.
	Age            string
	ResourceLabel  string // names the object in the result
	NamespaceLabel string // names its namespace in the result; "" when the result has none
	Window         time.Duration
}

var (
	ErrUnsupportedOperator = errors.New("operator not supported by prometheus")
	ErrValuesRequired      = errors.New("operator requires values")
	ErrValuesRefused       = errors.New("operator does not support values")
	ErrEmptyQuery          = errors.New("the query is empty")
	ErrNoLabel             = errors.New("no label names the resource")
	ErrNotBatched          = errors.New("the rule's query cannot be asked for several objects at once")
)

// Build writes the queries.
func (r *Rule) Build(a Ask, rs Resources) (Query, error) { panic("soon") }
