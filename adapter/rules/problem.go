package rules

// Problem is one thing that is wrong, or doubtful, in a configuration file.
type Problem struct {
	File    string
	Line    int    // 1-based; 0 when the problem has no place
	Path    string // "rules[2].resources.overrides.pod"
	Value   string // what stands there; "" when nothing does
	Message string // what is allowed, and the way out
}

func (p Problem) String() string { panic("soon") }

// Problems is every problem of a file at once.
type Problems []Problem

func (p Problems) Error() string { panic("soon") }
