package app

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"slices"
	"strings"
	"time"

	"github.com/spf13/pflag"
	basecmd "sigs.k8s.io/custom-metrics-apiserver/pkg/cmd"
	serveroptions "sigs.k8s.io/custom-metrics-apiserver/pkg/cmd/options"

	"github.com/headroom-autoscaler/headroom/adapter/rules"
	"github.com/headroom-autoscaler/headroom/prewarm/controller"
)

// Options are everything "headroom serve" can be told. DefaultOptions is the one source of defaults.
type Options struct {
	ConfigFile string
	Kubeconfig string // "": the pod's own service account

	Prometheus PrometheusOptions

	CollectInterval time.Duration
	MaxStaleness    time.Duration
	RelistInterval  time.Duration
	MaxAge          time.Duration // 0: the relist interval
	MaxWanted       int

	Serve         []string // of "custom", "external"
	FullDiscovery bool
	Strict        bool
	Legacy        rules.Legacy

	Headrooms HeadroomOptions
	// AllowQueries says whose demand.query is asked: of "none", "namespaced" (confined to the object's namespace), "any".
	AllowQueries string

	MetricsAddress string // "" or "0": no metrics endpoint
	LogFormat      string // "text" or "json"
	LogLevel       string

	// API are the generic API server's own options: ports, certificates, authentication, authorization, audit.
	API *serveroptions.CustomMetricsAdapterServerOptions

	Logger *slog.Logger // nil: standard error, as LogFormat and LogLevel say
}

// PrometheusOptions describe one backend on the command line, in prometheus-adapter's words.
type PrometheusOptions struct {
	URLs              []string
	CAFile            string
	TokenFile         string
	CertFile, KeyFile string
	Headers           []string // "Name=value"
	Timeout           time.Duration
}

const (
	serveCustom   = "custom"
	serveExternal = "external"
	// commandLineBackend is the name of the backend that the flags describe.
	commandLineBackend = "default"
)

// DefaultOptions are the documented defaults.
func DefaultOptions() *Options {
	o := &Options{
		CollectInterval: 5 * time.Second,
		MaxStaleness:    time.Minute,
		RelistInterval:  10 * time.Minute,
		MaxWanted:       2000,
		Serve:           []string{serveCustom, serveExternal},
		Headrooms:       HeadroomOptions{Decide: true, Interval: controller.DefaultPeriod, HPASyncPeriod: controller.DefaultPeriod},
		AllowQueries:    queriesNone,
		MetricsAddress:  ":8080",
		LogFormat:       "text",
		LogLevel:        "info",
		API:             serveroptions.NewCustomMetricsAdapterServerOptions(),
	}
	o.Prometheus.Timeout = 10 * time.Second
	o.API.SecureServing.BindPort = 6443
	// The HPA asks every 15 s and, when its controller's client limit is exhausted, every 50 s: an answer to "may it?"
	// that lasts 10 s would be asked for every time. Revoking a right takes as long as this to show.
	o.API.Authorization.AllowCacheTTL = 2 * time.Minute
	return o
}

// AddFlags adds every flag to the set.
func (o *Options) AddFlags(fs *pflag.FlagSet) {
	fs.StringVar(&o.ConfigFile, "config", o.ConfigFile, "rules file, in prometheus-adapter's language and beyond; watched, and reloaded when it changes")
	fs.StringVar(&o.Kubeconfig, "kubeconfig", o.Kubeconfig, "kubeconfig of the cluster; empty for the pod's own service account")
	fs.StringVar(&o.Kubeconfig, "lister-kubeconfig", o.Kubeconfig, "another name of --kubeconfig, as in prometheus-adapter")
	_ = fs.MarkHidden("lister-kubeconfig")

	fs.StringSliceVar(&o.Prometheus.URLs, "prometheus-url", o.Prometheus.URLs, "URL of the default backend; several are tried in order")
	fs.StringVar(&o.Prometheus.CAFile, "prometheus-ca-file", o.Prometheus.CAFile, "CA certificates that the default backend's certificate is verified with")
	fs.StringVar(&o.Prometheus.TokenFile, "prometheus-token-file", o.Prometheus.TokenFile, "file with the bearer token for the default backend; read again when it changes")
	fs.StringVar(&o.Prometheus.CertFile, "prometheus-client-tls-cert-file", o.Prometheus.CertFile, "client certificate for the default backend; read again when it changes")
	fs.StringVar(&o.Prometheus.KeyFile, "prometheus-client-tls-key-file", o.Prometheus.KeyFile, "key of the client certificate")
	fs.StringArrayVar(&o.Prometheus.Headers, "prometheus-header", o.Prometheus.Headers, "header for every request to the default backend, as Name=value; may be repeated")
	fs.DurationVar(&o.Prometheus.Timeout, "prometheus-timeout", o.Prometheus.Timeout, "time that one query may take; sent on to the backend")

	fs.DurationVar(&o.CollectInterval, "collect-interval", o.CollectInterval, "how often wanted metrics are collected")
	fs.DurationVar(&o.MaxStaleness, "max-staleness", o.MaxStaleness, "age past which a sample is no longer served, where a rule says nothing")
	fs.DurationVar(&o.RelistInterval, "metrics-relist-interval", o.RelistInterval, "how often the backends are asked which series exist")
	fs.DurationVar(&o.MaxAge, "metrics-max-age", o.MaxAge, "how far back a series counts as existing; 0 for the relist interval")
	fs.IntVar(&o.MaxWanted, "max-wanted", o.MaxWanted, "how many metrics (name, namespace, selector) may be wanted at once")

	fs.StringSliceVar(&o.Serve, "serve", o.Serve, "APIs to serve: custom, external or both")
	fs.BoolVar(&o.FullDiscovery, "full-discovery", o.FullDiscovery, "list every metric in discovery, not only those that are wanted")
	fs.BoolVar(&o.Strict, "strict", o.Strict, "refuse a configuration with parts that are ignored (resourceRules) instead of warning")
	fs.BoolVar(&o.Legacy.IgnoreNamespaced, "legacy-ignore-namespaced", o.Legacy.IgnoreNamespaced, "as prometheus-adapter: `namespaced: false` has no effect in rules")
	fs.BoolVar(&o.Legacy.RawRegexps, "legacy-raw-regexps", o.Legacy.RawRegexps, "as prometheus-adapter: values of selectors and names are regular expressions")
	fs.BoolVar(&o.Legacy.HideOverlaps, "legacy-hide-overlaps", o.Legacy.HideOverlaps, "as prometheus-adapter: of rules that give the same metric only the last is asked")

	o.Headrooms.addFlags(fs)
	fs.StringVar(&o.AllowQueries, "allow-queries", o.AllowQueries, "whether Headroom objects may measure demand by PromQL of their own (demand.query): none, namespaced (confined to the object's namespace), or any (everything that the adapter's credentials may read)")

	fs.StringVar(&o.MetricsAddress, "metrics-bind-address", o.MetricsAddress, "address of the plain HTTP endpoint for Headroom's own /metrics; 0 for none")
	fs.StringVar(&o.LogFormat, "log-format", o.LogFormat, "text or json")
	fs.StringVar(&o.LogLevel, "log-level", o.LogLevel, "debug, info, warn or error")
	o.API.AddFlags(fs)
}

// Validate reports every problem at once, each with the flag it is about.
func (o *Options) Validate() error {
	var problems []error
	bad := func(flag, format string, args ...any) {
		problems = append(problems, fmt.Errorf("--"+flag+": "+format, args...))
	}
	if o.ConfigFile == "" {
		bad("config", "a rules file is needed; a minimal one is \"presets: [vllm]\"")
	}
	for flag, d := range map[string]time.Duration{"collect-interval": o.CollectInterval, "max-staleness": o.MaxStaleness, "prometheus-timeout": o.Prometheus.Timeout, "metrics-relist-interval": o.RelistInterval} {
		if d < 100*time.Millisecond {
			bad(flag, "%s is below 100ms", d)
		}
	}
	o.Headrooms.validate(bad)
	if !slices.Contains([]string{queriesNone, queriesNamespaced, queriesAny}, o.AllowQueries) {
		bad("allow-queries", "%q is not one of none, namespaced, any", o.AllowQueries)
	}
	if o.MaxAge != 0 && o.MaxAge < o.RelistInterval {
		bad("metrics-max-age", "%s is below the relist interval (%s): series would vanish between relists", o.MaxAge, o.RelistInterval)
	}
	if o.MaxStaleness < o.CollectInterval {
		bad("max-staleness", "%s is below the collect interval (%s): nothing would ever be fresh", o.MaxStaleness, o.CollectInterval)
	}
	if o.MaxWanted < 1 {
		bad("max-wanted", "%d is below 1", o.MaxWanted)
	}
	if len(o.Serve) == 0 {
		bad("serve", "nothing to serve; allowed are custom and external")
	}
	for _, api := range o.Serve {
		if api != serveCustom && api != serveExternal {
			bad("serve", "%q is not one of custom, external", api)
		}
	}
	for _, header := range o.Prometheus.Headers {
		if name, _, ok := strings.Cut(header, "="); !ok || name == "" {
			bad("prometheus-header", "%q is not of the form Name=value", header)
		}
	}
	if (o.Prometheus.CertFile == "") != (o.Prometheus.KeyFile == "") {
		bad("prometheus-client-tls-cert-file", "certificate and key are needed together")
	}
	if o.servesMetrics() {
		if _, _, err := net.SplitHostPort(o.MetricsAddress); err != nil {
			bad("metrics-bind-address", "%q is not host:port", o.MetricsAddress)
		}
	}
	if _, err := newLogger(o.LogFormat, o.LogLevel); err != nil {
		problems = append(problems, err)
	}
	return errors.Join(append(problems, o.API.Validate()...)...)
}

func (o *Options) serves(api string) bool { return slices.Contains(o.Serve, api) }

func (o *Options) servesMetrics() bool { return o.MetricsAddress != "" && o.MetricsAddress != "0" }

// backend is the one that the command line describes, if it describes one.
func (o *Options) backend() (rules.Backend, bool) {
	if len(o.Prometheus.URLs) == 0 {
		return rules.Backend{}, false
	}
	b := rules.Backend{
		Name: commandLineBackend, URLs: o.Prometheus.URLs, BearerTokenFile: o.Prometheus.TokenFile, Timeout: o.Prometheus.Timeout,
		TLS: rules.TLS{CAFile: o.Prometheus.CAFile, CertFile: o.Prometheus.CertFile, KeyFile: o.Prometheus.KeyFile},
	}
	for _, header := range o.Prometheus.Headers {
		name, value, _ := strings.Cut(header, "=")
		if b.Headers == nil {
			b.Headers = map[string][]string{}
		}
		b.Headers[name] = append(b.Headers[name], value)
	}
	return b, true
}

// base is the library's own shape of the options. Where nothing else is said, asking who a caller is and what it may do
// goes to the same cluster as everything else.
func (o *Options) base() *basecmd.AdapterBase {
	if o.Kubeconfig != "" {
		if o.API.Authentication.RemoteKubeConfigFile == "" {
			o.API.Authentication.RemoteKubeConfigFile = o.Kubeconfig
		}
		if o.API.Authorization.RemoteKubeConfigFile == "" {
			o.API.Authorization.RemoteKubeConfigFile = o.Kubeconfig
		}
	}
	return &basecmd.AdapterBase{
		CustomMetricsAdapterServerOptions: o.API, Name: "headroom", RemoteKubeConfigFile: o.Kubeconfig,
		FlagSet:   pflag.NewFlagSet("library", pflag.ContinueOnError), // its flags are ours, added above
		ClientQPS: clientQPS, ClientBurst: clientBurst,
	}
}

// The client's own limits: discovery at start is a burst of one request for each API group, and after that there are
// only watches. 5 requests/s, the default, would make a start with many CRDs take a minute.
const (
	clientQPS   = 50
	clientBurst = 200
)
