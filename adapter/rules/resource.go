package rules

// Kind says which API a rule feeds.
type Kind int

const (
	Custom   Kind = iota + 1 // custom.metrics.k8s.io: a value per object
	External                 // external.metrics.k8s.io: a set of labelled values
)

func (k Kind) String() string {
	switch k {
	case Custom:
		return "custom"
	case External:
		return "external"
	}
	return "none"
}

// Resource is a kind of object, by its plural name: {"apps", "deployments"}.
// The core group is "".
type Resource struct{ Group, Name string }

// String is the discovery form: "pods", "deployments.apps".
func (r Resource) String() string {
	if r.Group == "" {
		return r.Name
	}
	return r.Name + "." + r.Group
}

// namespaces is the one resource that the language knows without asking.
var namespaces = Resource{Name: "namespaces"}

// ResourceInfo is what the cluster says of a resource.
type ResourceInfo struct {
	Resource          // canonical: plural name, full group
	Singular   string // "deployment"; fills <<.Resource>> in label templates
	Namespaced bool
}

// Resources is what the cluster knows at this moment. An implementation may
// learn more later (a CRD is installed): nothing here remembers an answer.
type Resources interface {
	// Resolve accepts plural, singular and short names. An empty group means
	// any group that has the name, the preferred one first.
	Resolve(Resource) (ResourceInfo, bool)
}
