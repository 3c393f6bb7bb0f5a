package outside

import (
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/headroom-autoscaler/headroom/forecaster"
)

const testLead = 10 * time.Minute

func history() forecaster.Series {
	return forecaster.Series{Start: time.Unix(600, 0), Step: time.Minute, Bins: []forecaster.Observation{
		forecaster.Value(3), forecaster.NoData(), forecaster.Zero(), forecaster.LowerBound(9), forecaster.Value(5),
	}}
}

func question() Question { return NewQuestion("shop/llm", history(), []time.Duration{testLead}) }

func serve(t *testing.T, h http.HandlerFunc) *Client {
	t.Helper()
	s := httptest.NewServer(h)
	t.Cleanup(s.Close)
	c, err := New(s.URL, 10*time.Second, nil)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestAskPostsHistoryAndOffersTheAnswer(t *testing.T) {
	var posted string
	c := serve(t, func(w http.ResponseWriter, r *http.Request) {
		text, _ := io.ReadAll(r.Body)
		posted = r.Method + " " + r.Header.Get("Content-Type") + " " + string(text)
		_, _ = io.WriteString(w, `{"from":900,"leads":[{"leadSeconds":600,"maximum":8.5}]}`)
	})
	a, err := c.Ask(t.Context(), question())
	if err != nil {
		t.Fatal(err)
	}
	want := `POST application/json {"series":"shop/llm","from":900,"stepSeconds":60,"demand":[3,null,0,null,5],"leadSeconds":[600]}`
	if d := cmp.Diff(want, posted); d != "" {
		t.Errorf("posted (-want +got):\n%s", d)
	}
	e, err := forecaster.New(forecaster.DefaultOptions())
	if err != nil {
		t.Fatal(err)
	}
	if n := a.Offer(e); n != 1 {
		t.Errorf("the engine took %d leads, want 1", n)
	}
}

func TestWrongAnswersAreErrors(t *testing.T) {
	for _, c := range []struct {
		name, body string
		status     int
		want       string
	}{
		{"not JSON", "<html>", 200, "invalid character"},
		{"empty", "", 200, "unexpected end"},
		{"another moment", `{"from":840,"leads":[{"leadSeconds":600,"maximum":1}]}`, 200, "from: 840"},
		{"no lead", `{"from":900,"leads":[]}`, 200, "leads: none"},
		{"a lead not asked for", `{"from":900,"leads":[{"leadSeconds":60,"maximum":1}]}`, 200, "leads[0].leadSeconds: 60"},
		{"a lead twice", `{"from":900,"leads":[{"leadSeconds":600,"maximum":1},{"leadSeconds":600,"maximum":2}]}`, 200, "leads[1].leadSeconds"},
		{"negative", `{"from":900,"leads":[{"leadSeconds":600,"maximum":-1}]}`, 200, "leads[0].maximum: -1"},
		{"beyond a float", `{"from":900,"leads":[{"leadSeconds":600,"maximum":1e999}]}`, 200, "1e999"},
		{"NaN", `{"from":900,"leads":[{"leadSeconds":600,"maximum":NaN}]}`, 200, "invalid character"},
		{"too long", `{"from":900,"leads":[]}` + strings.Repeat(" ", maxAnswer), 200, "longer than"},
		{"an error", `{}`, 500, "status 500"},
		{"a redirect", `{}`, 307, "status 307"},
	} {
		t.Run(c.name, func(t *testing.T) {
			client := serve(t, func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("Location", "/elsewhere")
				w.WriteHeader(c.status)
				_, _ = io.WriteString(w, c.body)
			})
			_, err := client.Ask(t.Context(), question())
			if !errors.Is(err, ErrAnswer) || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want ErrAnswer that says %q", err, c.want)
			}
		})
	}
}

func TestAskGivesUpInTime(t *testing.T) {
	release := make(chan struct{})
	s := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { <-release }))
	defer s.Close()
	defer close(release)
	c, err := New(s.URL, time.Millisecond, nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.Ask(t.Context(), question()); err == nil || errors.Is(err, ErrAnswer) {
		t.Errorf("got %v from a service that does not answer", err)
	}
}

func TestNewReportsEveryProblem(t *testing.T) {
	_, err := New("ftp://x", 0, nil)
	if err == nil || !strings.Contains(err.Error(), "url:") || !strings.Contains(err.Error(), "timeout:") {
		t.Errorf("got %v, want both problems", err)
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte(`{"from":900,"leads":[{"leadSeconds":600,"maximum":8.5}]}`))
	f.Add([]byte(`{"from":900,"leads":[{"leadSeconds":600,"maximum":-0}]}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		a, err := parse(text, question())
		if err != nil {
			return
		}
		if len(a.Leads) != 1 || !(a.Leads[0].Maximum >= 0) {
			b, _ := json.Marshal(a)
			t.Errorf("%s was accepted", b)
		}
	})
}
