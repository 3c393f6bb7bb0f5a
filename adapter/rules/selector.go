package rules

// Operator is a Kubernetes label selector's operator.
type Operator int

const (
	Equals Operator = iota + 1
	NotEquals
	In
	NotIn
	Exists
	DoesNotExist
	GreaterThan // no PromQL matcher says this: Build refuses it
	LessThan
)

// Requirement is one of a Kubernetes label selector.
type Requirement struct {
	Key      string
	Operator Operator
	Values   []string
}

// Selector is requirements that must all hold. The empty selector selects all.
type Selector []Requirement

// String is canonical: two selectors that ask the same print the same.
func (s Selector) String() string { panic("soon") }

// Matches says whether a series with these labels would pass the PromQL
// matchers that the selector becomes. As in PromQL, a label that is not there
// is a label with the value "".
func (s Selector) Matches(labels map[string]string) bool { panic("soon") }
