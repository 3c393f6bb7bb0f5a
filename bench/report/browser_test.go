package report

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"testing"
	"time"
)

// browser is a headless Chromium, spoken to by the DevTools protocol over two pipes: messages are JSON and end with a NUL.
type browser struct {
	t       *testing.T
	in      io.Writer
	answers chan message
	next    int
	opened  int
	session string
	said    []string // console errors, exceptions
	fetched []string // URLs
}

type message struct {
	ID     int             `json:"id"`
	Method string          `json:"method"`
	Params json.RawMessage `json:"params"`
	Result json.RawMessage `json:"result"`
	Error  *struct{ Message string }
}

// chromium is the browser's program, or the reason to skip.
func chromium(t *testing.T) string {
	t.Helper()
	if path := os.Getenv("HEADROOM_CHROMIUM"); path != "" {
		return path
	}
	for _, name := range []string{"chromium", "chromium-browser", "google-chrome", "chrome", "chrome-headless-shell"} {
		if path, err := exec.LookPath(name); err == nil {
			return path
		}
	}
	t.Skip("no Chromium on this machine to look at the page with: apt-get install chromium, or set HEADROOM_CHROMIUM")
	return ""
}

// patience is how long any one answer of the browser may take.
const patience = 60 * time.Second

func startBrowser(t *testing.T) *browser {
	t.Helper()
	program := chromium(t)
	theirIn, ourOut, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	ourIn, theirOut, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	c := exec.Command(program, "--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--hide-scrollbars", "--no-first-run",
		"--remote-debugging-pipe", "--user-data-dir="+t.TempDir(), "about:blank")
	c.ExtraFiles = []*os.File{theirIn, theirOut}
	var noise bytes.Buffer
	c.Stderr = &noise
	if err := c.Start(); err != nil {
		t.Skipf("%s does not start: %v", program, err)
	}
	_, _ = theirIn.Close(), theirOut.Close()
	b := &browser{t: t, in: ourOut, answers: make(chan message, 1024)}
	t.Cleanup(func() {
		_ = b.try("Browser.close", nil, nil)
		_ = ourOut.Close()
		done := make(chan struct{})
		go func() { _ = c.Wait(); close(done) }()
		select {
		case <-done:
		case <-time.After(patience / 6):
			_ = c.Process.Kill()
			<-done
		}
		_ = ourIn.Close()
	})
	go func() {
		defer close(b.answers)
		r := bufio.NewReader(ourIn)
		for {
			raw, err := r.ReadBytes(0)
			if err != nil {
				return
			}
			var m message
			if json.Unmarshal(raw[:len(raw)-1], &m) == nil {
				b.answers <- m
			}
		}
	}()
	var target struct{ TargetID string }
	b.call("Target.createTarget", map[string]any{"url": "about:blank"}, &target)
	var attached struct{ SessionID string }
	b.call("Target.attachToTarget", map[string]any{"targetId": target.TargetID, "flatten": true}, &attached)
	b.session = attached.SessionID
	for _, domain := range []string{"Page", "Runtime", "Log", "Network"} {
		b.call(domain+".enable", nil, nil)
	}
	return b
}

func (b *browser) call(method string, params map[string]any, into any) {
	b.t.Helper()
	if err := b.try(method, params, into); err != nil {
		b.t.Fatalf("%s: %v", method, err)
	}
}

func (b *browser) try(method string, params map[string]any, into any) error {
	b.next++
	request := map[string]any{"id": b.next, "method": method, "params": params}
	if params == nil {
		request["params"] = map[string]any{}
	}
	if b.session != "" && method != "Browser.close" {
		request["sessionId"] = b.session
	}
	raw, err := json.Marshal(request)
	if err != nil {
		return err
	}
	if _, err := b.in.Write(append(raw, 0)); err != nil {
		return err
	}
	late := time.After(patience)
	for {
		select {
		case m, open := <-b.answers:
			switch {
			case !open:
				return io.ErrUnexpectedEOF
			case m.ID != b.next:
				b.note(m)
			case m.Error != nil:
				return fmt.Errorf("%s", m.Error.Message)
			case into == nil:
				return nil
			default:
				return json.Unmarshal(m.Result, into)
			}
		case <-late:
			return fmt.Errorf("no answer within %v", patience)
		}
	}
}

// note keeps what the page complains of and what it asks for.
func (b *browser) note(m message) {
	var p struct {
		Type             string
		Args             []struct{ Value, Description any }
		ExceptionDetails struct {
			Text      string
			Exception struct{ Description string }
		}
		Entry   struct{ Level, Text string }
		Request struct{ URL string }
	}
	_ = json.Unmarshal(m.Params, &p) // other messages have other fields
	switch m.Method {
	case "Runtime.consoleAPICalled":
		if p.Type == "error" || p.Type == "warning" || p.Type == "assert" {
			b.said = append(b.said, fmt.Sprint(p.Args))
		}
	case "Runtime.exceptionThrown":
		b.said = append(b.said, p.ExceptionDetails.Text+" "+p.ExceptionDetails.Exception.Description)
	case "Log.entryAdded":
		if p.Entry.Level == "error" || p.Entry.Level == "warning" {
			b.said = append(b.said, p.Entry.Text)
		}
	case "Network.requestWillBeSent":
		b.fetched = append(b.fetched, p.Request.URL)
	}
}

// screen is how the page is looked at.
func (b *browser) screen(width, height int, phone bool, scheme string) {
	b.t.Helper()
	b.call("Emulation.setDeviceMetricsOverride", map[string]any{"width": width, "height": height, "deviceScaleFactor": 1, "mobile": phone}, nil)
	b.call("Emulation.setEmulatedMedia", map[string]any{"features": []map[string]string{{"name": "prefers-color-scheme", "value": scheme}}}, nil)
}

// open loads a page and waits until it has drawn itself.
func (b *browser) open(url string) {
	b.t.Helper()
	b.opened++
	query := fmt.Sprintf("?%d", b.opened) // so that it is another document than the one before
	b.call("Page.navigate", map[string]any{"url": url + query}, nil)
	b.js(nil, `new Promise((done, fail) => { const began = Date.now(); const look = () =>
		location.search === "`+query+`" && document.documentElement?.dataset.drawn === "true" ? requestAnimationFrame(() => requestAnimationFrame(() => done(true)))
		: Date.now() - began > 30000 ? fail(new Error("the page has not drawn itself")) : setTimeout(look, 20); look(); })`)
}

// js evaluates an expression, or a promise of one, in the page.
func (b *browser) js(into any, expression string) {
	b.t.Helper()
	var answer struct {
		Result           struct{ Value json.RawMessage }
		ExceptionDetails *struct {
			Text      string
			Exception struct{ Description string }
		}
	}
	b.call("Runtime.evaluate", map[string]any{"expression": expression, "awaitPromise": true, "returnByValue": true}, &answer)
	if e := answer.ExceptionDetails; e != nil {
		b.t.Fatalf("%s\n%s %s", expression, e.Text, e.Exception.Description)
	}
	if into != nil {
		if err := json.Unmarshal(answer.Result.Value, into); err != nil {
			b.t.Fatalf("%s gave %s: %v", expression, answer.Result.Value, err)
		}
	}
}

// press is a key, down and up.
func (b *browser) press(key string) {
	b.t.Helper()
	for _, kind := range []string{"keyDown", "keyUp"} {
		event := map[string]any{"type": kind, "key": key}
		if kind == "keyDown" && len(key) == 1 {
			event["text"] = key
		}
		b.call("Input.dispatchKeyEvent", event, nil)
	}
	b.js(nil, `new Promise(done => requestAnimationFrame(() => requestAnimationFrame(() => done(true))))`)
}

// picture keeps a screenshot for a person, in the folder that HEADROOM_SCREENSHOTS names.
func (b *browser) picture(name string) {
	b.t.Helper()
	folder := os.Getenv("HEADROOM_SCREENSHOTS")
	if folder == "" {
		return
	}
	var shot struct{ Data []byte }
	b.call("Page.captureScreenshot", map[string]any{"format": "png", "captureBeyondViewport": true}, &shot)
	if err := os.WriteFile(folder+"/"+name+".png", shot.Data, 0o644); err != nil {
		b.t.Error(err)
	}
}
