package app

import (
	"strings"
	"testing"
	"time"

	"github.com/headroom-autoscaler/headroom/adapter/rules"
)

func TestOptionsReportEveryProblemWithItsFlag(t *testing.T) {
	o := DefaultOptions()
	o.CollectInterval = time.Millisecond
	o.MaxStaleness = time.Second / 2
	o.MaxAge = time.Second
	o.MaxWanted = 0
	o.Serve = []string{"custom", "resource"}
	o.Prometheus.Headers = []string{"X-Scope-OrgID"}
	o.Prometheus.CertFile = "cert.pem"
	o.MetricsAddress = "8080"
	o.LogLevel = "loud"
	err := o.Validate()
	if err == nil {
		t.Fatal("all of it is accepted")
	}
	for _, want := range []string{
		"--config: a rules file is needed", "--collect-interval: 1ms is below 100ms", "--metrics-max-age: 1s is below the relist interval",
		"--max-wanted: 0 is below 1", `--serve: "resource" is not one of custom, external`, `--prometheus-header: "X-Scope-OrgID" is not of the form Name=value`,
		"--prometheus-client-tls-cert-file: certificate and key are needed together", `--metrics-bind-address: "8080" is not host:port`,
		`--log-level: "loud" is not one of`,
	} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("no mention of %q in:\n%v", want, err)
		}
	}
}

func TestDefaultsAreValidOnceThereIsAFile(t *testing.T) {
	o := DefaultOptions()
	o.ConfigFile = "rules.yaml"
	if err := o.Validate(); err != nil {
		t.Error(err)
	}
}

func TestAuthorizationIsCachedLongerThanAnHPAPeriod(t *testing.T) {
	if ttl := DefaultOptions().API.Authorization.AllowCacheTTL; ttl <= hpaPeriod {
		t.Errorf("allowed for %s, the HPA asks every %s", ttl, hpaPeriod)
	}
}

func TestTheCommandLineBackendComesFirst(t *testing.T) {
	o := DefaultOptions()
	o.Prometheus.URLs = []string{"http://a", "http://b"}
	o.Prometheus.Headers = []string{"X-Scope-OrgID=team=a", "X-Scope-OrgID=b"}
	b, ok := o.backend()
	if !ok || b.Name != commandLineBackend || len(b.URLs) != 2 || len(b.Headers["X-Scope-OrgID"]) != 2 || b.Headers["X-Scope-OrgID"][0] != "team=a" {
		t.Errorf("backend %+v, %v", b, ok)
	}
}

func TestThePeriodOfManyHPAs(t *testing.T) {
	for _, test := range []struct {
		name             string
		custom, external int
		seconds          float64
	}{
		{"few", 10, 10, 15},
		{"the last that fit", 300, 0, 15},
		{"500 with one of each", 500, 500, 25},
		{"1000 external alone", 0, 1000, 50},
	} {
		t.Run(test.name, func(t *testing.T) {
			questions := make([]question, 0, test.custom+test.external)
			for range test.custom {
				questions = append(questions, question{kind: rules.Custom})
			}
			for range test.external {
				questions = append(questions, question{kind: rules.External})
			}
			if r := explainPeriod(500, questions); r.PeriodSeconds != test.seconds {
				t.Errorf("%+v, want %v s", r, test.seconds)
			}
		})
	}
}
