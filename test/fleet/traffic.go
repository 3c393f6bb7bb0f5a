package fleet

import "time"

// Traffic is what is offered over time, as straight pieces.
type Traffic []Piece

// Piece lasts For and goes from From to To requests/s; a step is a piece that begins elsewhere than the last one ended.
type Piece struct {
	Name     string
	For      time.Duration
	From, To float64
}

// At is the piece and the requests/s at a time since the start; after the end, the last piece's end.
func (t Traffic) At(since time.Duration) (name string, perSecond float64) {
	for _, p := range t {
		if since < p.For {
			return p.Name, p.From + (p.To-p.From)*float64(since)/float64(p.For)
		}
		since -= p.For
	}
	if len(t) == 0 {
		return "", 0
	}
	last := t[len(t)-1]
	return last.Name, last.To
}

// Start is when the first piece of that name begins, and the end where there is none.
func (t Traffic) Start(name string) time.Duration {
	var since time.Duration
	for _, p := range t {
		if p.Name == name {
			return since
		}
		since += p.For
	}
	return since
}

// Length is how long all pieces last.
func (t Traffic) Length() time.Duration {
	var sum time.Duration
	for _, p := range t {
		sum += p.For
	}
	return sum
}

// Scaled is the same traffic in another length of time.
func (t Traffic) Scaled(to time.Duration) Traffic {
	scaled := make(Traffic, len(t))
	for i, p := range t {
		p.For = time.Duration(float64(p.For) * float64(to) / float64(t.Length()))
		scaled[i] = p
	}
	return scaled
}
