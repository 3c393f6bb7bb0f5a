package prometheus

import (
	"context"
	"fmt"
	"math"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/headroom-autoscaler/headroom/adapter/rules"
)

const oneRow = `{"status":"success","data":{"resultType":"vector","result":[{"metric":{"pod":"a"},"value":[1772366400.5,"12.5"]}]}}`

// server answers every request alike and keeps the last.
func server(t *testing.T, status int, body string) (*httptest.Server, func() (*http.Request, url.Values)) {
	t.Helper()
	type seen struct {
		request *http.Request
		form    url.Values
	}
	var last atomic.Pointer[seen]
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_ = r.ParseForm()
		last.Store(&seen{r, r.Form})
		w.WriteHeader(status)
		fmt.Fprint(w, body)
	}))
	t.Cleanup(s.Close)
	return s, func() (*http.Request, url.Values) {
		l := last.Load()
		if l == nil {
			t.Fatal("no request came")
		}
		return l.request, l.form
	}
}

func client(t *testing.T, b rules.Backend) *Client {
	t.Helper()
	if b.Name == "" {
		b.Name = "eu"
	}
	c, err := New(b, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

func TestAQueryIsSentAsTheBackendSays(t *testing.T) {
	s, last := server(t, 200, oneRow)
	token := filepath.Join(t.TempDir(), "token")
	write := func(text string) {
		if err := os.WriteFile(token, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("first")
	c := client(t, rules.Backend{URLs: []string{s.URL + "/prefix?tenant=t"}, BearerTokenFile: token, Timeout: 3 * time.Second, Headers: map[string][]string{"X-Scope-OrgID": {"team-a"}}})
	samples, err := c.Query(context.Background(), "up")
	if err != nil {
		t.Fatal(err)
	}
	if len(samples) != 1 || samples[0].Value != 12.5 || samples[0].Labels["pod"] != "a" || samples[0].Evaluated.UnixMilli() != 1772366400500 {
		t.Errorf("samples %+v", samples)
	}
	request, form := last()
	if request.Method != http.MethodGet || request.URL.Path != "/prefix/api/v1/query" || form.Get("query") != "up" || form.Get("tenant") != "t" {
		t.Errorf("%s %s %v", request.Method, request.URL.Path, form)
	}
	if request.Header.Get("Authorization") != "Bearer first" || request.Header.Get("X-Scope-OrgID") != "team-a" {
		t.Errorf("headers %v", request.Header)
	}
	// Prometheus takes a plain number of seconds, and refuses "2.9s".
	if timeout, err := strconv.ParseFloat(form.Get("timeout"), 64); err != nil || timeout <= 0 || timeout > 3 {
		t.Errorf("timeout sent on: %q", form.Get("timeout"))
	}
	if form.Get("partial_response") != "false" {
		t.Error("a partial answer is not refused")
	}

	write("second") // a token that is rotated
	if _, err := c.Query(context.Background(), strings.Repeat("x", 3000)); err != nil {
		t.Fatal(err)
	}
	request, form = last()
	if request.Method != http.MethodPost || request.URL.RawQuery != "" || len(form.Get("query")) != 3000 {
		t.Errorf("a long query went as %s %d", request.Method, len(request.URL.RawQuery))
	}
	if got := request.Header.Get("Authorization"); got != "Bearer second" {
		t.Errorf("after the rotation: %q", got)
	}
}

func TestAnswersThatAreNotUsed(t *testing.T) {
	for _, test := range []struct {
		name   string
		status int
		body   string
		want   string
	}{
		{"the server's error", 422, `{"status":"error","errorType":"execution","error":"query timed out"}`, "execution: query timed out"},
		{"a proxy's error page", 502, "<html>Bad Gateway", "HTTP 502 Bad Gateway"},
		{"an error with a 200", 200, `{"status":"error","errorType":"internal","error":"oops"}`, "internal: oops"},
		{"not JSON", 200, "upstream connect error", "read answer"},
		{"JSON of something else", 200, `{"kind":"Status"}`, "200"},
		{"cut off", 200, oneRow[:len(oneRow)-10], "read answer"},
		{"a range vector", 200, `{"status":"success","data":{"resultType":"matrix","result":[]}}`, "the query gives a matrix"},
		{"a string", 200, `{"status":"success","data":{"resultType":"string","result":[1,"x"]}}`, "the query gives a string"},
		{"half of a Thanos", 200, `{"status":"success","warnings":["fetch series for {replica=\"a\"}: receive series from Addr: store-1: deadline exceeded"],"data":{"resultType":"vector","result":[]}}`, "partial: fetch series"},
		{"half of a VictoriaMetrics", 200, `{"status":"success","isPartial":true,"data":{"resultType":"vector","result":[]}}`, "partial: the answer lacks some storage nodes"},
		{"a value that is no number", 200, strings.Replace(oneRow, `"12.5"`, `"twelve"`, 1), "is not a number"},
		{"a time that is none", 200, strings.Replace(oneRow, `1772366400.5`, `"NaN"`, 1), "is not a number of seconds"},
	} {
		t.Run(test.name, func(t *testing.T) {
			s, _ := server(t, test.status, test.body)
			samples, err := client(t, rules.Backend{URLs: []string{s.URL}}).Query(context.Background(), "up")
			if err == nil {
				t.Fatalf("taken as %+v", samples)
			}
			if test.want != "200" && !strings.Contains(err.Error(), test.want) {
				t.Errorf("%v, want it to say %q", err, test.want)
			}
			if !strings.Contains(err.Error(), "backend eu") {
				t.Errorf("%v does not name the backend", err)
			}
		})
	}
}

func TestWarningsThatAreNotAboutMissingDataAreNotErrors(t *testing.T) {
	s, _ := server(t, 200, strings.Replace(oneRow, `"data"`, `"infos":["metric might not be a counter"],"warnings":["PromQL warning: quantile value should be between 0 and 1"],"data"`, 1))
	if _, err := client(t, rules.Backend{URLs: []string{s.URL}}).Query(context.Background(), "up"); err != nil {
		t.Error(err)
	}
}

func TestSpecialNumbersArriveAsTheyAre(t *testing.T) {
	body := `{"status":"success","data":{"resultType":"vector","result":[{"metric":{},"value":[1,"NaN"]},{"metric":{},"value":[1,"+Inf"]},{"metric":{},"value":[1,"1e400"]},{"metric":{},"histogram":[1,{}]}]}}`
	s, _ := server(t, 200, body)
	samples, err := client(t, rules.Backend{URLs: []string{s.URL}}).Query(context.Background(), "up")
	if err != nil || len(samples) != 3 {
		t.Fatalf("%+v, %v", samples, err)
	}
	if !math.IsNaN(samples[0].Value) || !math.IsInf(samples[1].Value, 1) || !math.IsInf(samples[2].Value, 1) {
		t.Errorf("%+v", samples)
	}
}

func TestTheNextURLIsTriedAndKept(t *testing.T) {
	var firstAsked atomic.Int32
	first := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		firstAsked.Add(1)
		w.WriteHeader(http.StatusServiceUnavailable)
	}))
	defer first.Close()
	second, _ := server(t, 200, oneRow)
	c := client(t, rules.Backend{URLs: []string{first.URL, second.URL}})
	for range 5 {
		if _, err := c.Query(context.Background(), "up"); err != nil {
			t.Fatal(err)
		}
	}
	if got := firstAsked.Load(); got != 1 {
		t.Errorf("the first URL was asked %d times: it should be left alone for %s after it failed", got, firstAgainAfter)
	}
	if c.firstURL(time.Now().Add(firstAgainAfter+time.Second)) != 0 {
		t.Error("the first URL is never tried again")
	}
}

func TestAWrongQueryIsNotTriedElsewhere(t *testing.T) {
	first, _ := server(t, 400, `{"status":"error","errorType":"bad_data","error":"parse error"}`)
	var asked atomic.Int32
	second := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { asked.Add(1) }))
	defer second.Close()
	_, err := client(t, rules.Backend{URLs: []string{first.URL, second.URL}}).Query(context.Background(), "sum(")
	if err == nil || !strings.Contains(err.Error(), "bad_data: parse error") || asked.Load() != 0 {
		t.Errorf("%v; the second URL was asked %d times", err, asked.Load())
	}
}

func TestAHungURLLeavesTimeForTheNext(t *testing.T) {
	release := make(chan struct{})
	hung := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { <-release }))
	defer hung.Close()
	defer close(release)
	second, _ := server(t, 200, oneRow)
	c := client(t, rules.Backend{URLs: []string{hung.URL, second.URL}, Timeout: 400 * time.Millisecond})
	if _, err := c.Query(context.Background(), "up"); err != nil {
		t.Error(err)
	}
}

func TestErrorsHoldNoPasswordAndNoQuery(t *testing.T) {
	c := client(t, rules.Backend{URLs: []string{"http://user:secret@127.0.0.1:1"}})
	_, err := c.Query(context.Background(), "a_long_query")
	if err == nil || strings.Contains(err.Error(), "secret") || strings.Contains(err.Error(), "a_long_query") {
		t.Errorf("%v", err)
	}
	if _, err := New(rules.Backend{Name: "eu", URLs: []string{"ftp://user:secret@host"}}, nil); err == nil || strings.Contains(err.Error(), "secret") {
		t.Errorf("%v", err)
	}
}

func TestAnEndlessAnswerIsRefused(t *testing.T) {
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprint(w, `{"status":"success","data":{"resultType":"vector","result":[`)
		row := strings.Repeat(" ", 1<<20)
		for range maxAnswerBytes>>20 + 2 {
			if _, err := fmt.Fprint(w, row); err != nil {
				return
			}
		}
	}))
	defer s.Close()
	_, err := client(t, rules.Backend{URLs: []string{s.URL}}).Query(context.Background(), "up")
	if err == nil || !strings.Contains(err.Error(), "longer than 64 MiB") {
		t.Errorf("%v", err)
	}
}

func TestALongHistoryIsReadInPieces(t *testing.T) {
	var asked []string
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_ = r.ParseForm()
		asked = append(asked, r.Form.Get("start")+" to "+r.Form.Get("end"))
		fmt.Fprintf(w, `{"status":"success","data":{"resultType":"matrix","result":[{"metric":{},"values":[[%s,"1"]]}]}}`, r.Form.Get("start"))
	}))
	defer s.Close()
	from := time.Unix(0, 0)
	points, err := NewHistory(client(t, rules.Backend{URLs: []string{s.URL}})).Points(context.Background(), "q", from, from.Add(14*24*time.Hour), time.Minute)
	if err != nil || len(points) != 3 || len(asked) != 3 || asked[1] != "600000.000 to 1199940.000" || !strings.HasSuffix(asked[2], " to 1209600.000") {
		t.Errorf("%d points, %v, asked %q", len(points), err, asked)
	}
}

// FuzzReadVector asserts that no answer makes the reader panic, and that what it reads has times.
func FuzzReadVector(f *testing.F) {
	f.Add(oneRow)
	f.Add(`{"status":"success","data":{"resultType":"scalar","result":[1,"2"]}}`)
	f.Add(`{"status":"success","data":{"resultType":"vector","result":[{"value":[1e300,"2"]}]}}`)
	f.Fuzz(func(t *testing.T, body string) {
		samples, err := readVector(strings.NewReader(body))
		if err != nil && samples != nil {
			t.Errorf("an error and %d samples", len(samples))
		}
		for _, s := range samples {
			if s.Evaluated.Year() < -40000 || s.Evaluated.Year() > 40000 {
				t.Errorf("evaluated at %v", s.Evaluated)
			}
		}
	})
}

func BenchmarkReadVector(b *testing.B) {
	var body strings.Builder
	body.WriteString(`{"status":"success","data":{"resultType":"vector","result":[`)
	const pods = 5000
	for i := range pods {
		if i > 0 {
			body.WriteByte(',')
		}
		fmt.Fprintf(&body, `{"metric":{"namespace":"bench-%d","pod":"model-%d-7d9f6b5c4-x2x%d"},"value":[1772366400.512,"%d.25"]}`, i/100, i/10, i, i)
	}
	body.WriteString(`]}}`)
	text := body.String()
	b.ReportAllocs()
	for b.Loop() {
		if _, err := readVector(strings.NewReader(text)); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/pods, "ns/sample")
}
