package collect

import (
	"errors"
	"fmt"
	"testing"
	"time"
)

var noon = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

func TestAnAskedWantIsKeptWarmWhileItIsAskedFor(t *testing.T) {
	w := NewWanted(10)
	want := podWant("a", "requests_per_second")
	ask := func(after time.Duration) bool {
		t.Helper()
		isNew, err := w.Ask(want.Key, want, noon.Add(after))
		if err != nil {
			t.Fatal(err)
		}
		return isNew
	}
	if !ask(0) {
		t.Error("the first request finds it known")
	}
	if ask(time.Minute) {
		t.Error("the second request finds it new")
	}
	w.Expire(noon.Add(time.Minute + keptWarm))
	if wants, _ := w.All(); len(wants) != 1 {
		t.Errorf("%d wants %s after the last request, want 1", len(wants), keptWarm)
	}
	w.Expire(noon.Add(time.Minute + keptWarm + time.Second))
	if wants, _ := w.All(); len(wants) != 0 {
		t.Errorf("%d wants a second later, want 0", len(wants))
	}
}

func TestStandingWantsNeedNoAsking(t *testing.T) {
	w := NewWanted(1)
	want := podWant("a", "requests_per_second")
	if !w.SetStanding("HPA", []Want{want}) {
		t.Error("it did not grow")
	}
	before := w.Version()
	if isNew, err := w.Ask(want.Key, want, noon); isNew || err != nil {
		t.Errorf("new %v, %v", isNew, err)
	}
	if w.SetStanding("HPA", []Want{want}) || w.Version() != before {
		t.Error("the same wants count as growth")
	}
	w.Expire(noon.Add(24 * time.Hour))
	if wants, _ := w.All(); len(wants) != 1 {
		t.Error("a standing want expired")
	}
	w.SetStanding("HPA", nil)
	if wants, _ := w.All(); len(wants) != 0 {
		t.Error("a want outlived its HPA")
	}
}

func TestTheLimitRefusesWhatIsNewAndKeepsWhatIsServed(t *testing.T) {
	w := NewWanted(3)
	served := podWant("zzz", "requests_per_second")
	w.SetStanding("HPA", []Want{served})
	var flood []Want
	for i := range 10 {
		flood = append(flood, podWant(fmt.Sprintf("a-%d", i), "requests_per_second"))
	}
	w.SetStanding("HPA", append(flood, served))
	wants, _ := w.All()
	kept := false
	for _, want := range wants {
		kept = kept || want.Key == served.Key
	}
	if len(wants) != 3 || !kept || w.Overflow() != 8 {
		t.Errorf("%d wants, served kept: %v, overflow %d", len(wants), kept, w.Overflow())
	}
	var tooMany *TooManyError
	other := podWant("b", "x")
	if _, err := w.Ask(other.Key, other, noon); !errors.As(err, &tooMany) || tooMany.Limit != 3 {
		t.Errorf("%v", err)
	}
}
