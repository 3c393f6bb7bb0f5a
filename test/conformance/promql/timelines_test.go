package promql

import (
	"fmt"
	"math"
	"testing"
	"time"

	"github.com/headroom-autoscaler/headroom/adapter/rules"
)

// What presets say over time: of servers that are short of pods, restart or lose clients, and of consumer groups that
// stop. Numbers are worked out by hand from the series, not from the queries.

// metric gives a preset's metric in namespace prod at some time, from the first rule that has it, by the labels named.
func (d *database) metric(t *testing.T, preset, metric string, at time.Duration, by ...string) map[string]float64 {
	t.Helper()
	catalog := rules.NewCatalog(parse(t, "presets: ["+preset+"]"))
	kind, ask := rules.Custom, rules.Ask{Resource: rules.Resource{Name: "pods"}, Namespaces: []string{"prod"}}
	matches := catalog.Candidates(kind, ask.Resource, metric, cluster{})
	if len(matches) == 0 {
		kind, ask = rules.External, rules.Ask{}
		matches = catalog.Candidates(kind, ask.Resource, metric, cluster{})
	}
	for _, match := range matches {
		query, err := match.Rule.Build(ask, cluster{})
		if err != nil {
			t.Fatal(err)
		}
		rows, err := d.evaluate(query.Value, time.Unix(0, 0).Add(at))
		if err != nil {
			t.Fatalf("%s: %v", query.Value, err)
		}
		values := map[string]float64{}
		for _, row := range rows {
			key := ""
			for _, label := range by {
				key += row.labels[label] + " "
			}
			values[key] = row.value
		}
		if len(values) > 0 {
			return values
		}
	}
	return nil
}

// server is vLLM in one pod: each number is the growth in 15 s of the finished (a counter), the running and the waiting.
func server(pod string, finished, running, waiting int) string {
	series := func(name string, from, growth int) string {
		return fmt.Sprintf("  vllm:%s{namespace=\"prod\",pod=%q} %d%+dx40\n", name, pod, from, growth)
	}
	return series("request_success_total", 0, finished) + series("num_requests_running", 400, running) + series("num_requests_waiting", 400, waiting)
}

func TestOfferedLoadIsWhatCameNotWhatWasDone(t *testing.T) {
	for _, test := range []struct {
		name              string
		series            string
		finished, offered float64 // requests/s
	}{
		{"enough pods", server("a", 30, 0, 0), 2, 2},
		{"too few: the queue grows by 1.2/s", server("a", 30, 0, 18), 2, 3.2},
		{"filling up: the running grow by 0.2/s", server("a", 30, 3, 0), 2, 2.2},
		{"the queue is worked off", server("a", 30, 0, -9), 2, 1.4},
		{"clients give up faster than any come", server("a", 0, 0, -9), 0, 0},
		{"a restart 30 s ago, the counter from nothing again", `
  vllm:request_success_total{namespace="prod",pod="a"} 0+30x38 0 30
  vllm:num_requests_running{namespace="prod",pod="a"} 400+0x40
  vllm:num_requests_waiting{namespace="prod",pod="a"} 400+0x40
`, 4. / 3, 4. / 3}, // one 15 s step of the window of 60 s is lost: within it are 30, 0 (a reset) and 30; extrapolated from 45 s to 60 s
	} {
		t.Run(test.name, func(t *testing.T) {
			db := load(t, test.series)
			finished := db.metric(t, "vllm", "requests_per_second", lastScrape*time.Second, "pod")
			offered := db.metric(t, "vllm", "requests_offered_per_second", lastScrape*time.Second, "pod")
			if got := finished["a "]; math.Abs(got-test.finished) > 1e-9 {
				t.Errorf("finished: %v, want %v", got, test.finished)
			}
			if got, known := offered["a "]; !known || math.Abs(got-test.offered) > 1e-9 {
				t.Errorf("offered: %v, want %v", got, test.offered)
			}
		})
	}
}

func TestAPodOfTheSameNameElsewhereIsAnotherPod(t *testing.T) {
	db := load(t, server("a", 30, 0, 0)+`
  vllm:request_success_total{namespace="test",pod="a"} 0+3000x40
  vllm:num_requests_running{namespace="test",pod="a"} 0+3000x40
  vllm:num_requests_waiting{namespace="test",pod="a"} 0+3000x40
`)
	if got := db.metric(t, "vllm", "requests_offered_per_second", lastScrape*time.Second, "namespace", "pod"); len(got) != 1 || math.Abs(got["prod a "]-2) > 1e-9 {
		t.Errorf("%v", got)
	}
}

func TestAServerWithoutRequestsHasNoTimeToTheFirstToken(t *testing.T) {
	db := load(t, `
  vllm:time_to_first_token_seconds_bucket{namespace="prod",pod="a",le="1"} 50+0x40
  vllm:time_to_first_token_seconds_bucket{namespace="prod",pod="a",le="+Inf"} 50+0x40
`)
	for pod, got := range db.metric(t, "vllm", "time_to_first_token_p95_seconds", lastScrape*time.Second, "pod") {
		if !math.IsNaN(got) { // which is served as an absence
			t.Errorf("%s: %v", pod, got)
		}
	}
}

// A group that reads two partitions at 10/s each for an hour, with 1,200 messages left, and then stops.
const stops = time.Hour

func consumers(exporter string) string {
	moves, stands := int(stops/(15*time.Second)), 240 // an hour of standing
	var text string
	for partition := range 2 {
		labels := fmt.Sprintf(`{job="kafka",instance=%q,namespace="kafka",consumergroup="scorer",topic="prompts",partition="%d"}`, exporter, partition)
		text += fmt.Sprintf("  kafka_consumergroup_current_offset%s 0+150x%d %d+0x%d\n", labels, moves, 150*moves, stands)
		text += fmt.Sprintf("  kafka_consumergroup_lag%s 600+0x%d\n", labels, moves+stands)
	}
	unknown := fmt.Sprintf(`{job="kafka",instance=%q,namespace="kafka",consumergroup="scorer",topic="prompts",partition="2"}`, exporter)
	return text + fmt.Sprintf("  kafka_consumergroup_current_offset%s -1+0x%d\n  kafka_consumergroup_lag%s -1+0x%d\n", unknown, moves+stands, unknown, moves+stands)
}

func TestTheTimeToDrainOfAGroupThatStops(t *testing.T) {
	db := load(t, consumers("a")+consumers("b")) // two exporters of one cluster count once
	const atWork = 1200. / 20
	last := 0.
	for _, test := range []struct {
		name         string
		after        time.Duration // of the stop
		least, most  float64       // seconds; 0 and 0: no value
		neverShrinks bool
	}{
		{"at work", -10 * time.Minute, atWork, atWork, false},
		{"a pause of a rebalance", 45 * time.Second, atWork, 1.25 * atWork, false},
		{"five minutes", 5 * time.Minute, atWork, 2 * atWork, true},
		{"fifteen minutes", 15 * time.Minute, atWork, 2 * atWork, true},
		{"29 minutes", 29 * time.Minute, 1.5 * atWork, 2 * atWork, true},
		{"32 minutes", 32 * time.Minute, 0, 0, false},
	} {
		seconds := db.metric(t, "kafka-exporter", "kafka_consumer_lag_seconds", stops+test.after, "consumergroup")
		if len(seconds) > 1 || (test.most == 0) != (len(seconds) == 0) {
			t.Errorf("%s: %v", test.name, seconds)
			continue
		}
		got := seconds["scorer "]
		if got < test.least*(1-1e-9) || got > test.most*(1+1e-9) || test.neverShrinks && got < last {
			t.Errorf("%s: %v s, want %v to %v and not less than %v", test.name, got, test.least, test.most, last)
		}
		last = got
		if lag := db.metric(t, "kafka-exporter", "kafka_consumer_lag", stops+test.after, "consumergroup"); lag["scorer "] != 1200 || len(lag) != 1 {
			t.Errorf("%s: the lag is %v, want 1200", test.name, lag)
		}
	}
}

func TestAGroupWithoutLagHasNothingToDrain(t *testing.T) {
	db := load(t, `
  kafka_consumergroup_current_offset{job="kafka",namespace="kafka",consumergroup="idle",topic="prompts",partition="0"} 77+0x40
  kafka_consumergroup_lag{job="kafka",namespace="kafka",consumergroup="idle",topic="prompts",partition="0"} 0+0x40
  kafka_consumergroup_current_offset{job="kafka",namespace="kafka",consumergroup="new",topic="prompts",partition="0"} -1+0x40
  kafka_consumergroup_lag{job="kafka",namespace="kafka",consumergroup="new",topic="prompts",partition="0"} -1+0x40
  kafka_consumergroup_current_offset{job="kafka",namespace="kafka",consumergroup="setback",topic="prompts",partition="0"} 9000-10x40
  kafka_consumergroup_lag{job="kafka",namespace="kafka",consumergroup="setback",topic="prompts",partition="0"} 50+10x40
`)
	got := db.metric(t, "kafka-exporter", "kafka_consumer_lag_seconds", lastScrape*time.Second, "consumergroup")
	if value, known := got["idle "]; !known || value != 0 || len(got) != 1 { // of the others nothing is known
		t.Errorf("%v, want 0 for idle alone", got)
	}
}

func TestTwoClustersOfOneGroupAndTopicAreTwoRows(t *testing.T) {
	db := load(t, `
  kafka_consumergroup_lag{job="east",namespace="kafka",consumergroup="g",topic="t",partition="0"} 5+0x40
  kafka_consumergroup_lag{job="west",namespace="kafka",consumergroup="g",topic="t",partition="0"} 7+0x40
`)
	if got := db.metric(t, "kafka-exporter", "kafka_consumer_lag", lastScrape*time.Second, "job"); got["east "] != 5 || got["west "] != 7 {
		t.Errorf("%v", got)
	}
}
