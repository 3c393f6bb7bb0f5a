package fleet

import (
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"
)

var start = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

func pods(n int) []string { return []string{"a", "b", "c", "d", "e", "f", "g", "h"}[:n] }

// drive steps a service every 100 ms.
func drive(s *Service, from, seconds int, offered float64, ready []string) {
	for i := from*10 + 1; i <= (from+seconds)*10; i++ {
		s.Step(start.Add(time.Duration(i)*100*time.Millisecond), offered, ready)
	}
}

func TestWhatFitsIsServedAtOnce(t *testing.T) {
	s := New(DefaultOptions(), start)
	drive(s, 0, 60, 20, pods(2))
	if s.Waiting() > 0.01 || s.Late != 0 || math.Abs(s.Served-1200) > 0.01 || math.Abs(s.Rate()-20) > 0.01 {
		t.Errorf("served %v, waiting %v, late %v, rate %v", s.Served, s.Waiting(), s.Late, s.Rate())
	}
}

func TestWhatDoesNotFitWaitsIsLateAndIsLost(t *testing.T) {
	s := New(DefaultOptions(), start)
	drive(s, 0, 10, 60, pods(2)) // 36/s too much
	if got := s.Waiting(); math.Abs(got-360) > 4 {
		t.Errorf("waiting after 10 s: %v, want about 360", got)
	}
	if s.Late == 0 || s.Lost != 0 {
		t.Errorf("late %v, lost %v: waits are over 2 s and below 30 s", s.Late, s.Lost)
	}
	drive(s, 10, 60, 60, pods(2))
	if s.Lost == 0 {
		t.Error("nobody lost patience")
	}
	drive(s, 70, 120, 10, pods(6))
	late := s.Late
	if s.Waiting() > 0.01 {
		t.Errorf("still waiting: %v", s.Waiting())
	}
	drive(s, 190, 10, 10, pods(6))
	if s.Late != late {
		t.Error("late goes on growing with room to spare")
	}
}

func TestNothingIsEverLostFromTheAccount(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	s := New(DefaultOptions(), start)
	now := start
	for range 5000 {
		now = now.Add(time.Duration(random.IntN(900)+1) * time.Millisecond)
		s.Step(now, random.Float64()*100, pods(random.IntN(8)))
		if sum := s.Served + s.Waiting() + s.Lost; math.Abs(sum-s.Offered) > 1e-6*s.Offered {
			t.Fatalf("offered %v, served + waiting + lost %v", s.Offered, sum)
		}
		if s.Late < s.Lost {
			t.Fatalf("late %v is less than lost %v", s.Late, s.Lost)
		}
	}
}

func TestANewPodHelpsAtOnce(t *testing.T) {
	s := New(DefaultOptions(), start)
	drive(s, 0, 40, 30, pods(2)) // 6/s too much: 240 wait
	drive(s, 40, 10, 30, pods(3))
	// All three serve 12/s. Were new requests dealt to all alike, the new pod would get 10/s, and 200 would still wait.
	if got := s.Waiting(); math.Abs(got-180) > 4 {
		t.Errorf("waiting 10 s after the third pod came: %v, want about 180", got)
	}
}

// levelSlowly finds the same by halving.
func levelSlowly(queues []float64, more float64) float64 {
	low, high := 0.0, more+1e6
	for range 200 {
		middle, takes := (low+high)/2, 0.0
		for _, q := range queues {
			takes += max(0, middle-q)
		}
		if takes < more {
			low = middle
		} else {
			high = middle
		}
	}
	return high
}

func TestTheLevelOfPouredQueues(t *testing.T) {
	random := rand.New(rand.NewPCG(3, 4))
	for range 2000 {
		queues := make([]float64, 1+random.IntN(12))
		for i := range queues {
			queues[i] = float64(random.IntN(3)) * random.Float64() * 300
		}
		more := 0.001 + random.Float64()*500
		if got, want := level(slices.Clone(queues), more), levelSlowly(queues, more); math.Abs(got-want) > 1e-6 {
			t.Fatalf("%v over %v: level %v, want %v", more, queues, got, want)
		}
	}
}

func TestPodsThatAreGoneAreNotExported(t *testing.T) {
	s := New(DefaultOptions(), start)
	drive(s, 0, 5, 20, pods(2))
	if text := s.Text("inference"); !strings.Contains(text, `vllm:request_success_total{namespace="inference",pod="a",model_name="demo",engine="0"} 50`) {
		t.Errorf("no count of a's 50 requests in\n%s", text)
	}
	drive(s, 5, 5, 20, pods(1))
	if text := s.Text("inference"); strings.Contains(text, `pod="b"`) {
		t.Errorf("b is gone and still there:\n%s", text)
	}
}

func TestTimeToFirstToken(t *testing.T) {
	s := New(DefaultOptions(), start)
	drive(s, 0, 10, 12, pods(1)) // 120 that fit: 0.3 s each
	drive(s, 10, 10, 24, pods(1))
	pod, sum := s.pods["a"], 0.0
	for _, count := range pod.firstToken {
		sum += count
	}
	if math.Abs(sum-pod.served) > 1e-6 {
		t.Errorf("%v requests have a first token, of %v served", sum, pod.served)
	}
	// The first 120 and 6 more wait less than 0.2 s; the wait grows by half a second each second, to 5 s.
	if got := pod.firstToken[2]; math.Abs(got-126) > 0.1 {
		t.Errorf("%v in (0.25 s, 0.5 s], want 126", got)
	}
	if got := pod.firstToken[6] + pod.firstToken[7]; math.Abs(got-66) > 0.1 {
		t.Errorf("%v over 2.5 s, want 66: the last 5.5 s", got)
	}
	text, labels := s.Text("inference"), `namespace="inference",pod="a",model_name="demo",engine="0"`
	for _, want := range []string{`_bucket{` + labels + `,le="0.25"} 0`, `_bucket{` + labels + `,le="+Inf"} 2`, `_sum{` + labels + `} 37`} {
		if !strings.Contains(text, "vllm:time_to_first_token_seconds"+want) {
			t.Errorf("no %q in\n%s", want, text)
		}
	}
}

func TestNobodyWaitsBeyondPatienceWhenAPodIsGone(t *testing.T) {
	s := New(DefaultOptions(), start)
	drive(s, 0, 20, 60, []string{"a"})
	drive(s, 20, 5, 60, []string{"a", "b"})
	for second := 25; second < 60; second++ {
		drive(s, second, 1, 60, []string{"b"})
		now := start.Add(time.Duration(second+1) * time.Second)
		for _, waiting := range s.pods["b"].queue {
			if age := now.Sub(waiting.at); age > DefaultOptions().Patience {
				t.Fatalf("at %d s a request has waited %s", second+1, age)
			}
		}
	}
}

func TestAPodKeepsItsGPU(t *testing.T) {
	s := New(DefaultOptions(), start)
	drive(s, 0, 1, 20, []string{"b"})
	drive(s, 1, 1, 20, []string{"a", "b"})
	if text := s.Text("n"); !strings.Contains(text, `gpu="0",namespace="n",pod="b"`) || !strings.Contains(text, `gpu="1",namespace="n",pod="a"`) {
		t.Errorf("b had GPU 0 first:\n%s", text)
	}
}

func TestTraffic(t *testing.T) {
	traffic := Traffic{{"calm", time.Minute, 20, 20}, {"step", time.Minute, 60, 60}, {"ramp", 2 * time.Minute, 60, 120}}
	for _, test := range []struct {
		at   time.Duration
		name string
		want float64
	}{{0, "calm", 20}, {59 * time.Second, "calm", 20}, {time.Minute, "step", 60}, {3 * time.Minute, "ramp", 90}, {time.Hour, "ramp", 120}} {
		if name, got := traffic.At(test.at); name != test.name || got != test.want {
			t.Errorf("at %s: %s %v, want %s %v", test.at, name, got, test.name, test.want)
		}
	}
	for name, want := range map[string]time.Duration{"calm": 0, "step": time.Minute, "ramp": 2 * time.Minute, "none": 4 * time.Minute} {
		if got := traffic.Start(name); got != want {
			t.Errorf("%s starts at %s, want %s", name, got, want)
		}
	}
	if got := traffic.Scaled(time.Minute).Length(); got != time.Minute {
		t.Errorf("scaled to a minute: %s", got)
	}
}
