package fleet

import (
	"slices"
	"time"
)

// Options describe the service.
type Options struct {
	PerPod   float64       // requests/s that one Ready pod serves
	LateWait time.Duration // a request that waits longer is late
	Patience time.Duration // a client that waits longer leaves
	Seconds  float64       // how long a pod works on one request; decides how many are running
}

// DefaultOptions are a small model on one GPU.
func DefaultOptions() Options {
	return Options{PerPod: 12, LateWait: 2 * time.Second, Patience: 30 * time.Second, Seconds: 2}
}

// Service is the state of the model. It is not safe for concurrent use.
type Service struct {
	options Options
	last    time.Time

	Offered float64 // requests so far
	Served  float64
	Lost    float64
	Late    float64 // those served late or lost

	queue []batch              // oldest first
	pods  map[string]*podState // Ready pods
	rate  float64              // served per second in the last step
}

// batch is what arrived in one step and still waits.
type batch struct {
	at     time.Time
	amount float64
}

type podState struct {
	served  float64 // requests since the pod became Ready
	running float64
	waiting float64
	busy    float64 // 0 to 1
}

// New is a service that nothing was offered to yet.
func New(o Options, now time.Time) *Service {
	return &Service{options: o, last: now, pods: map[string]*podState{}}
}

// Step moves the model to now, with so much offered per second since the last step, to the pods that are Ready.
func (s *Service) Step(now time.Time, offeredPerSecond float64, ready []string) {
	dt := now.Sub(s.last).Seconds()
	if dt <= 0 {
		return
	}
	s.last = now
	s.roster(ready)
	arrived := offeredPerSecond * dt
	s.Offered += arrived
	s.queue = append(s.queue, batch{at: now, amount: arrived})

	room := float64(len(ready)) * s.options.PerPod * dt
	served := 0.0
	for len(s.queue) > 0 && room > 0 {
		first := &s.queue[0]
		amount := min(first.amount, room)
		if now.Sub(first.at) > s.options.LateWait {
			s.Late += amount
		}
		served, room, first.amount = served+amount, room-amount, first.amount-amount
		if first.amount <= 0 {
			s.queue = s.queue[1:]
		}
	}
	for len(s.queue) > 0 && now.Sub(s.queue[0].at) > s.options.Patience {
		s.Lost += s.queue[0].amount
		s.Late += s.queue[0].amount
		s.queue = s.queue[1:]
	}
	s.Served += served
	s.rate = served / dt
	s.share(served, dt)
}

// Waiting is how many requests wait now.
func (s *Service) Waiting() float64 {
	sum := 0.0
	for _, b := range s.queue {
		sum += b.amount
	}
	return sum
}

// Rate is how many requests per second were served in the last step.
func (s *Service) Rate() float64 { return s.rate }

// roster forgets pods that are gone and begins with new ones: a new pod's counters start at zero.
func (s *Service) roster(ready []string) {
	for name := range s.pods {
		if !slices.Contains(ready, name) {
			delete(s.pods, name)
		}
	}
	for _, name := range ready {
		if s.pods[name] == nil {
			s.pods[name] = &podState{}
		}
	}
}

func (s *Service) share(served, dt float64) {
	n := float64(len(s.pods))
	for _, pod := range s.pods {
		pod.served += served / n
		pod.running = served / n / dt * s.options.Seconds
		pod.waiting = s.Waiting() / n
		pod.busy = min(1, served/n/dt/s.options.PerPod)
	}
}
