package report

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/headroom-autoscaler/headroom/bench/replay"
	"github.com/headroom-autoscaler/headroom/bench/traces"
	"github.com/headroom-autoscaler/headroom/prewarm"
	"github.com/headroom-autoscaler/headroom/prewarm/hpa"
)

// compared is ten days of a daily service with a calendar, made once.
var compared = sync.OnceValues(func() (*replay.Question, *replay.Comparison) {
	series := traces.DailyService(3, 10)
	series.Start = time.Date(2026, 3, 2, 0, 0, 0, 0, time.UTC)
	offered, err := replay.Offered(series)
	if err != nil {
		panic(err) // the generator makes minutes
	}
	sum := 0.0
	for i, v := range offered {
		if i > 30_000 && i < 30_400 { // a gap in the scored part
			offered[i] = math.NaN()
			continue
		}
		sum += v
	}
	perReplica := sum / float64(len(offered)) / 8
	calendar, err := prewarm.NewCalendar("UTC", []prewarm.Window{{Name: "office", Schedule: "0 8 * * *", Duration: 2 * time.Hour, Replicas: 14}}, nil)
	if err != nil {
		panic(err)
	}
	q := &replay.Question{
		Series: series, Zone: time.UTC, Calendar: calendar, Actuation: replay.ByMetric, Lead: prewarm.DefaultLeadPolicy(), Sweep: true, SLO: 0.99,
		Policy: prewarm.Policy{PerReplica: perReplica, Unit: "req/s", BufferReplicas: 1, MinReplicas: 1, MaxReplicas: 60, MaxGrowth: 2, ForecastMode: prewarm.ForecastOn, Quantile: 0.9},
		Scenario: replay.Scenario{Start: series.Start, Offered: offered, RunFrom: 5 * 5760, ScoreFrom: 5*5760 + 240, PerReplica: perReplica, Flags: hpa.DefaultFlags(), Signal: replay.DefaultSignal(),
			Lead: replay.LeadTimes{Min: 2 * time.Minute, Max: 6 * time.Minute}, Patience: time.Minute, Seed: 1,
			HPA: hpa.Spec{MinReplicas: 1, MaxReplicas: 60, Metrics: []hpa.Metric{{Kind: hpa.External, Name: "demand", Target: hpa.AverageValue, TargetMilli: 1_000_000}},
				Behavior: &hpa.Behavior{ScaleUp: hpa.Rules{Tolerance: new(float64)}}},
			Sources: []replay.Source{{Kind: replay.DemandSource, Scale: 1000 / perReplica}}},
	}
	c, err := replay.Compare(q, nil)
	if err != nil {
		panic(err)
	}
	return q, c
})

// trouble is text that would break a careless page.
const trouble = `</script><b>"quoted"</b> & '€' <!--`

func document(q *replay.Question, c *replay.Comparison) Document {
	return NewDocument(q, c, About{Trace: "daily", Unit: "req/s", Issues: []string{trouble}, Target: "Deployment web", GPUsPerPod: 2, Price: 2.5, Notes: []string{"a note"}, ServiceText: "One each."})
}

func page(t *testing.T) (url string, doc Document, raw []byte) {
	t.Helper()
	q, c := compared()
	doc = document(q, c)
	var b bytes.Buffer
	if err := WritePage(&b, doc, q, c); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "replay.html")
	if err := os.WriteFile(path, b.Bytes(), 0o644); err != nil {
		t.Fatal(err)
	}
	return "file://" + path, doc, b.Bytes()
}

func TestThePageLoadsNothing(t *testing.T) {
	_, _, raw := page(t)
	text := string(raw)
	for _, word := range []string{"<link", " src=", "@import", "url(http", "fetch(", "XMLHttpRequest"} {
		if strings.Contains(text, word) {
			t.Errorf("the page contains %q", word)
		}
	}
	if !strings.Contains(text, "Permission is hereby granted") {
		t.Error("the plotting library's licence is not in the page")
	}
	if strings.Contains(text, trouble) {
		t.Error("text from outside is in the page as it came")
	}
}

func TestPageInABrowser(t *testing.T) {
	b := startBrowser(t)
	url, doc, _ := page(t)
	for _, screen := range []struct {
		name          string
		width, height int
		phone         bool
		scheme        string
	}{
		{"desktop-light", 1280, 900, false, "light"},
		{"desktop-dark", 1280, 900, false, "dark"},
		{"phone-light", 390, 844, true, "light"},
		{"phone-dark", 390, 844, true, "dark"},
	} {
		t.Run(screen.name, func(t *testing.T) {
			b.t = t
			b.screen(screen.width, screen.height, screen.phone, screen.scheme)
			b.open(url)
			b.picture(screen.name)
			b.sameNumbers(doc)
			b.fits(screen.width)
			b.legible()
			b.draws()
		})
	}
	t.Run("keyboard", func(t *testing.T) {
		b.t = t
		b.screen(1280, 900, false, "light")
		b.open(url)
		b.byKeyboard()
	})
	b.t = t
	if len(b.said) > 0 {
		t.Errorf("the console says %q", b.said)
	}
	for _, u := range b.fetched {
		if !strings.HasPrefix(u, "file:") && !strings.HasPrefix(u, "data:") {
			t.Errorf("the page asks for %s", u)
		}
	}
}

// sameNumbers compares the table with the document, cell by cell.
func (b *browser) sameNumbers(doc Document) {
	b.t.Helper()
	var cells map[string]map[string]string
	b.js(&cells, `Object.fromEntries([...document.querySelectorAll("#policies tbody tr")].map(r => [r.dataset.policy, Object.fromEntries([...r.querySelectorAll("td[data-field]")].map(c => [c.dataset.field, c.textContent]))]))`)
	if len(cells) != len(doc.Policies) {
		b.t.Errorf("%d policies in the page, %d in the document", len(cells), len(doc.Policies))
	}
	for _, p := range doc.Policies {
		oracle := "–"
		if p.ToOracle != nil {
			oracle = fmt.Sprintf("%.3f", *p.ToOracle)
		}
		want := map[string]string{
			"lateShare": Percent(p.LateShare), "unservedShare": Percent(p.UnservedShare), "underProvisionedMinutes": fmt.Sprint(p.UnderProvisioned),
			"waitP50Seconds": fmt.Sprintf("%g s", p.WaitP50), "waitP95Seconds": fmt.Sprintf("%g s", p.WaitP95), "waitP99Seconds": fmt.Sprintf("%g s", p.WaitP99),
			"replicaHours": fmt.Sprintf("%.1f", p.ReplicaHours), "cost": fmt.Sprintf("%.2f", p.Cost), "costToOracle": oracle,
			"podsStarted": fmt.Sprint(p.PodsStarted), "worstDayLateShare": Percent(p.WorstDayLateShare) + " on " + p.WorstDay,
		}
		for field, w := range want {
			if got := cells[p.Name][field]; got != w {
				b.t.Errorf("%s, %s: the page says %q, the document %q", p.Name, field, got, w)
			}
		}
	}
	var marks int
	b.js(&marks, `document.querySelectorAll("#frontier title").length`)
	if want := len(doc.Policies) + len(doc.Frontier.Headroom) + len(doc.Frontier.Constant) + len(doc.Frontier.Crane); marks != want {
		b.t.Errorf("%d marks on the frontier, expected %d", marks, want)
	}
	// The late work that the page's own timelines hold is the document's, as far as minutes tell.
	var late map[string]float64
	b.js(&late, `Object.fromEntries(replay.lives.map(r => { const l = life(r.name); let late = 0, all = 0;
		for (let i = replay.scored; i < x.length; i++) { const d = replay.demand[i]; if (d == null) continue; all += d; late += Math.max(0, d - l.ready[i]); }
		return [r.name, late / all]; }))`)
	for _, p := range doc.Policies {
		// Of a minute the fewest Ready pods are drawn, so what is drawn is no less.
		if got := late[p.Name]; got < p.LateShare-1e-4 || got > p.LateShare*1.35+1e-3 {
			b.t.Errorf("%s: %.4f of the work is drawn as late, the document says %.4f", p.Name, got, p.LateShare)
		}
	}
}

// fits says that nothing but the table, in its own box, is wider than the screen.
func (b *browser) fits(width int) {
	b.t.Helper()
	var wide int
	b.js(&wide, `document.documentElement.scrollWidth`)
	if wide > width {
		b.t.Errorf("the page is %d wide on a screen of %d", wide, width)
	}
}

// legible computes the contrast of text and of lines with the paper (WCAG 2: 4.5 for text, 3 for graphics).
func (b *browser) legible() {
	b.t.Helper()
	var contrast map[string]float64
	b.js(&contrast, `(() => {
		const light = c => { const k = document.createElement("canvas").getContext("2d"); k.fillStyle = c; k.fillRect(0, 0, 1, 1);
			const [r, g, bl] = [...k.getImageData(0, 0, 1, 1).data].slice(0, 3).map(v => (v /= 255) <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4); return 0.2126 * r + 0.7152 * g + 0.0722 * bl; };
		const paper = light(css("--paper"));
		return Object.fromEntries(["--ink", "--soft", "--demand", "--ready", "--floor", "--late", "--other"].map(n => { const l = light(css(n)); return [n, (Math.max(l, paper) + 0.05) / (Math.min(l, paper) + 0.05)]; }));
	})()`)
	for name, ratio := range contrast {
		least := 3.0
		if name == "--ink" || name == "--soft" {
			least = 4.5
		}
		if ratio < least {
			b.t.Errorf("%s has a contrast of %.1f with the paper, %.1f is needed", name, ratio, least)
		}
	}
}

// draws says that the plots have ink of every kind on them, near the HPA's worst minute.
func (b *browser) draws() {
	b.t.Helper()
	b.js(nil, `(() => { const l = life("HPA as it is"); let worst = 0, most = -1; for (let i = replay.scored; i < x.length; i++) { const s = (replay.demand[i] ?? 0) - l.ready[i]; if (s > most) { most = s; worst = i; } }
		look(x[worst] - 1800, x[worst] + 1800); return new Promise(done => requestAnimationFrame(() => requestAnimationFrame(() => done(true)))); })()`)
	var missing []string
	b.js(&missing, `(() => { const out = [];
		const near = (d, c) => { const k = document.createElement("canvas").getContext("2d"); k.fillStyle = c; k.fillRect(0, 0, 1, 1); const w = k.getImageData(0, 0, 1, 1).data;
			for (let i = 0; i < d.length; i += 4) if (d[i + 3] > 200 && Math.abs(d[i] - w[0]) + Math.abs(d[i + 1] - w[1]) + Math.abs(d[i + 2] - w[2]) < 60) return true; return false; };
		for (const p of all) { const c = p.u.ctx.canvas, d = c.getContext("2d").getImageData(0, 0, c.width, c.height).data;
			for (const n of ["--ready", "--demand"].concat(p.life.floor ? ["--floor"] : []).concat(p.name === "HPA as it is" ? ["--late"] : [])) if (!near(d, css(n))) out.push(p.name + " " + n); }
		if (all.length < 3) out.push("plots: " + all.length);
		return out; })()`)
	if len(missing) > 0 {
		b.t.Errorf("not on the plots: %q", missing)
	}
}

// byKeyboard moves, zooms and reads without a mouse.
func (b *browser) byKeyboard() {
	b.t.Helper()
	b.js(nil, `(document.querySelector('.plot[aria-label^="Timeline of Headroom."]').focus(), true)`)
	read := func() string {
		var text string
		b.js(&text, `all.find(p => p.name === "Headroom").read.textContent`)
		return text
	}
	width := func() float64 {
		var w float64
		b.js(&w, `range[1] - range[0]`)
		return w
	}
	b.press("ArrowRight")
	first := read()
	b.press("ArrowRight")
	if second := read(); second == first || !strings.Contains(second, "2026-03-") || !strings.Contains(second, "ready") {
		b.t.Errorf("the cursor says %q and then %q", first, second)
	}
	var why, expected string
	b.js(&why, `all.find(p => p.name === "Headroom").read.querySelector(".why").textContent`)
	b.js(&expected, `(() => { const p = all.find(p => p.name === "Headroom"); return reason(p.life, p.u.cursor.idx); })()`)
	if why == "" || why != expected {
		b.t.Errorf("the reason under the cursor is %q, expected %q", why, expected)
	}
	before := width()
	b.press("+")
	if after := width(); math.Abs(after-before/2) > before*0.02 {
		b.t.Errorf("+ shows %v s of %v", after, before)
	}
	b.press("0")
	var whole bool
	b.js(&whole, `range[0] === x[0] && range[1] === x[x.length - 1] && all.every(p => p.u.scales.x.min === range[0])`)
	if !whole {
		b.t.Error("0 does not show all of it in all plots")
	}
	b.js(nil, `(document.querySelector('.plot[aria-label^="Timeline of HPA as it is."]').focus(), true)`)
	b.press("l")
	var text string
	b.js(&text, `all[0].read.textContent`)
	if !strings.Contains(text, "short by") {
		b.t.Errorf("L goes to %q, which is not late", text)
	}
	b.js(nil, `(document.querySelector("#p0").focus(), true)`)
	b.press(" ")
	var shown int
	b.js(&shown, `all.length`)
	if shown != 2 {
		b.t.Errorf("%d plots after the box of one was cleared, expected 2", shown)
	}
}

func TestTheDocumentIsJSON(t *testing.T) {
	q, c := compared()
	raw, err := json.Marshal(document(q, c))
	if err != nil {
		t.Fatal(err)
	}
	if bytes.Contains(raw, []byte("NaN")) {
		t.Error("what is not known is not null")
	}
	var table bytes.Buffer
	doc := document(q, c)
	if err := doc.WriteTable(&table); err != nil {
		t.Fatal(err)
	}
	for _, p := range doc.Policies {
		if !strings.Contains(table.String(), p.Name) || !strings.Contains(table.String(), Percent(p.LateShare)) {
			t.Errorf("the table lacks %s", p.Name)
		}
	}
}
