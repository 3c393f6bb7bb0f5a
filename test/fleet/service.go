package fleet

import (
	"maps"
	"slices"
	"time"
)

// Options describe the service.
type Options struct {
	PerPod   float64       // requests/s that one Ready pod serves
	LateWait time.Duration // a request that waits longer is late
	Patience time.Duration // a client that waits longer leaves
	Seconds  float64       // how long a pod works on one request; decides how many are running
	Prefill  time.Duration // from a request's turn to its first token
}

// DefaultOptions are a small model on one GPU.
func DefaultOptions() Options {
	return Options{PerPod: 12, LateWait: 2 * time.Second, Patience: 30 * time.Second, Seconds: 2, Prefill: 300 * time.Millisecond}
}

// Service is the state of the model. It is not safe for concurrent use.
type Service struct {
	options Options
	last    time.Time

	Offered float64 // requests so far
	Served  float64
	Lost    float64
	Late    float64 // those served late or lost

	homeless []batch              // requests that no Ready pod has taken yet, oldest first
	pods     map[string]*podState // Ready pods
	rate     float64              // served per second in the last step
}

// batch is what arrived in one step and still waits.
type batch struct {
	at     time.Time
	amount float64
}

type podState struct {
	gpu     int
	queue   []batch // what the pod has taken and not served yet, oldest first
	served  float64 // requests since the pod became Ready
	running float64
	busy    float64 // 0 to 1

	firstToken        [len(firstTokenBounds) + 1]float64 // requests by the time to their first token; the last are above all bounds
	firstTokenSeconds float64                            // sum of these times
}

// firstTokenBounds are a choice of those that vLLM has, in seconds.
var firstTokenBounds = [...]float64{0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10, 20, 40}

// tell counts requests that got their first token after so long.
func (p *podState) tell(after time.Duration, requests float64) {
	i := 0
	for i < len(firstTokenBounds) && after.Seconds() > firstTokenBounds[i] {
		i++
	}
	p.firstToken[i] += requests
	p.firstTokenSeconds += after.Seconds() * requests
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
	s.Offered += offeredPerSecond * dt
	s.homeless = append(s.homeless, batch{at: now, amount: offeredPerSecond * dt})
	s.deal()
	served := 0.0
	for _, pod := range s.pods {
		amount := s.serve(pod, now, s.options.PerPod*dt)
		pod.served += amount
		pod.running = amount / dt * s.options.Seconds
		pod.busy = min(1, amount/dt/s.options.PerPod)
		served += amount
		pod.queue = s.giveUp(pod.queue, now)
	}
	s.homeless = s.giveUp(s.homeless, now)
	s.Served += served
	s.rate = served / dt
}

// deal gives what waits in front of the pods to those with the shortest queues, as a gateway does that knows them: a new
// pod helps at once, while the others work off what they have taken.
func (s *Service) deal() {
	if len(s.pods) == 0 {
		return
	}
	waiting := make(map[*podState]float64, len(s.pods))
	for _, pod := range s.pods {
		waiting[pod] = amount(pod.queue)
	}
	for _, b := range s.homeless {
		level := level(slices.Collect(maps.Values(waiting)), b.amount)
		for pod, has := range waiting {
			if share := level - has; share > 0 {
				pod.queue = append(pod.queue, batch{at: b.at, amount: share})
				waiting[pod] = level
			}
		}
	}
	if len(s.homeless) > 1 { // what a pod that is gone had taken is older than what the others have taken since
		for _, pod := range s.pods {
			pod.queue = merge(pod.queue)
		}
	}
	s.homeless = nil
}

// level is how high all queues that are shorter become when more is poured over them.
func level(queues []float64, more float64) float64 {
	slices.Sort(queues)
	sum := more
	for i, q := range queues {
		sum += q
		if high := sum / float64(i+1); i+1 == len(queues) || high <= queues[i+1] {
			return high
		}
	}
	return 0 // no queues, nothing to pour over
}

// serve takes up to room requests off a pod's queue.
func (s *Service) serve(pod *podState, now time.Time, room float64) (served float64) {
	for len(pod.queue) > 0 && room > 0 {
		first := &pod.queue[0]
		amount := min(first.amount, room)
		if now.Sub(first.at) > s.options.LateWait {
			s.Late += amount
		}
		pod.tell(now.Sub(first.at)+s.options.Prefill, amount)
		served, room, first.amount = served+amount, room-amount, first.amount-amount
		if first.amount <= 0 {
			pod.queue = pod.queue[1:]
		}
	}
	return served
}

// giveUp drops what has waited longer than a client's patience.
func (s *Service) giveUp(queue []batch, now time.Time) []batch {
	for len(queue) > 0 && now.Sub(queue[0].at) > s.options.Patience {
		s.Lost += queue[0].amount
		s.Late += queue[0].amount
		queue = queue[1:]
	}
	return queue
}

// merge puts batches in the order of their arrival, those of one moment together again: each pod had a share of them.
func merge(queue []batch) []batch {
	slices.SortStableFunc(queue, func(a, b batch) int { return a.at.Compare(b.at) })
	merged := queue[:0]
	for _, b := range queue {
		if last := len(merged) - 1; last >= 0 && merged[last].at.Equal(b.at) {
			merged[last].amount += b.amount
			continue
		}
		merged = append(merged, b)
	}
	return merged
}

// Waiting is how many requests wait now.
func (s *Service) Waiting() float64 {
	sum := amount(s.homeless)
	for _, pod := range s.pods {
		sum += amount(pod.queue)
	}
	return sum
}

func amount(queue []batch) float64 {
	sum := 0.0
	for _, b := range queue {
		sum += b.amount
	}
	return sum
}

// Rate is how many requests per second were served in the last step.
func (s *Service) Rate() float64 { return s.rate }

// roster begins with new pods at zero and forgets those that are gone, whose waiting requests are tried again elsewhere.
func (s *Service) roster(ready []string) {
	for name, pod := range s.pods {
		if !slices.Contains(ready, name) {
			s.homeless = append(s.homeless, pod.queue...)
			delete(s.pods, name)
		}
	}
	s.homeless = merge(s.homeless)
	for _, name := range ready {
		if s.pods[name] == nil {
			s.pods[name] = &podState{gpu: s.freeGPU()}
		}
	}
}

// freeGPU is the lowest number that no Ready pod has: a pod keeps its GPU while it lives.
func (s *Service) freeGPU() int {
	for gpu := 0; ; gpu++ {
		taken := false
		for _, pod := range s.pods {
			taken = taken || pod.gpu == gpu
		}
		if !taken {
			return gpu
		}
	}
}
