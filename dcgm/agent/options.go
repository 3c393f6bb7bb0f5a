package agent

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/url"
	"os"
	"time"

	"github.com/spf13/pflag"

	"github.com/headroom-autoscaler/headroom/dcgm"
	"github.com/headroom-autoscaler/headroom/dcgm/nvml"
	"github.com/headroom-autoscaler/headroom/dcgm/podmap"
	"github.com/headroom-autoscaler/headroom/dcgm/stream"
)

// Options are everything that headroom-agent can be told. DefaultOptions is the one source of defaults.
type Options struct {
	Node     string
	Interval time.Duration
	Replay   string // a recording in place of the driver
	Driver   DriverOptions
	Pods     PodOptions
	DCGM     DCGMOptions

	MetricsAddress string // "0": none
	StreamAddress  string // "0": none
	TLS            TLSOptions

	LogFormat string // "text" or "json"
	LogLevel  string
	Logger    *slog.Logger // nil: standard error, as LogFormat and LogLevel say
}

// DriverOptions say how NVML is used.
type DriverOptions struct {
	Library         string // "": the system's
	TrustOldDrivers bool
	WithoutGPM      []string // UUIDs
}

// PodOptions say where pods are found out.
type PodOptions struct {
	Socket string // "": pods are not told
	Proc   string
	Logs   string
}

// DCGMOptions are about NVIDIA's dcgm-exporter: one on this node as a source, and its names.
type DCGMOptions struct {
	Compat          string // off, old, new
	URL             string // "": none
	Interval        time.Duration
	CorrectGraphics bool
}

// TLSOptions are files, read again for each handshake.
type TLSOptions struct {
	CertFile, KeyFile string
	ClientCAFile      string
}

// DefaultOptions are the documented defaults.
func DefaultOptions() *Options {
	return &Options{
		Node:     os.Getenv("NODE_NAME"),
		Interval: nvml.DefaultOptions().Interval,
		Pods:     PodOptions{Socket: podmap.DefaultSocket, Proc: podmap.DefaultProc, Logs: podmap.DefaultLogs},
		DCGM:     DCGMOptions{Compat: compatOff, Interval: 30 * time.Second}, // DCGM_EXPORTER_INTERVAL's default

		MetricsAddress: ":9401", // dcgm-exporter has 9400
		StreamAddress:  nowhere,
		LogFormat:      "text",
		LogLevel:       "info",
	}
}

const (
	nowhere   = "0"
	compatOff = "off"
)

// AddFlags adds every flag of the agent to the set.
func (o *Options) AddFlags(fs *pflag.FlagSet) {
	o.addSourceFlags(fs)
	fs.StringVar(&o.DCGM.Compat, "dcgm-compat", o.DCGM.Compat, "also show dcgm-exporter's names: off, old (before DCGM 4.6) or new; refused while --dcgm-exporter-url answers")
	fs.StringVar(&o.MetricsAddress, "metrics-bind-address", o.MetricsAddress, "address of /metrics; 0 for none")
	fs.StringVar(&o.StreamAddress, "stream-bind-address", o.StreamAddress, "address of the stream for adapters; 0 for none")
	fs.StringVar(&o.TLS.CertFile, "tls-cert-file", o.TLS.CertFile, "certificate of the stream's server, with headroom-agent among its names; read again when it is needed")
	fs.StringVar(&o.TLS.KeyFile, "tls-private-key-file", o.TLS.KeyFile, "key of the certificate")
	fs.StringVar(&o.TLS.ClientCAFile, "client-ca-file", o.TLS.ClientCAFile, "CA certificates of those who may watch the stream; read again when it is needed")
	o.addLogFlags(fs)
}

// addSourceFlags adds those that say what is read.
func (o *Options) addSourceFlags(fs *pflag.FlagSet) {
	fs.StringVar(&o.Node, "node-name", o.Node, "name of the node; from NODE_NAME where it is set")
	fs.DurationVar(&o.Interval, "interval", o.Interval, "time between two readings")
	fs.StringVar(&o.Replay, "replay", o.Replay, "recording to read in place of the driver, over and over")
	fs.StringVar(&o.Driver.Library, "nvml-library", o.Driver.Library, "file of the driver's management library; empty for libnvidia-ml.so.1 of the system")
	fs.BoolVar(&o.Driver.TrustOldDrivers, "trust-old-drivers", o.Driver.TrustOldDrivers, "read activity of MIG devices on drivers before 550 too: 535 is reported to break memory readings by it")
	fs.StringSliceVar(&o.Driver.WithoutGPM, "without-gpm", o.Driver.WithoutGPM, "UUIDs of GPUs whose performance counters are left alone")
	fs.StringVar(&o.Pods.Socket, "pod-resources-socket", o.Pods.Socket, "the kubelet's PodResources socket; empty to tell of devices alone")
	fs.StringVar(&o.Pods.Proc, "proc-path", o.Pods.Proc, "the host's /proc; the agent needs the host's PID namespace to tell pods on one device apart")
	fs.StringVar(&o.Pods.Logs, "pod-logs-path", o.Pods.Logs, "where the kubelet keeps logs of pods: the directories' names have the UIDs")
	fs.StringVar(&o.DCGM.URL, "dcgm-exporter-url", o.DCGM.URL, "metrics of a dcgm-exporter on this node, read for GPUs whose driver gives no activity; empty for none")
	fs.DurationVar(&o.DCGM.Interval, "dcgm-exporter-interval", o.DCGM.Interval, "how often that dcgm-exporter collects")
	fs.BoolVar(&o.DCGM.CorrectGraphics, "dcgm-correct-graphics", o.DCGM.CorrectGraphics, "convert its graphics activity of GPU instances on Ampere to compute instances; marked as corrected")
}

func (o *Options) addLogFlags(fs *pflag.FlagSet) {
	fs.StringVar(&o.LogFormat, "log-format", o.LogFormat, "text or json")
	fs.StringVar(&o.LogLevel, "log-level", o.LogLevel, "debug, info, warn or error")
}

// Validate reports every problem at once, each with the flag that it is about.
func (o *Options) Validate() error {
	var problems []error
	bad := func(flag, format string, args ...any) {
		problems = append(problems, fmt.Errorf("--"+flag+": "+format, args...))
	}
	if o.Interval < stream.MinInterval || o.Interval > stream.MaxInterval {
		bad("interval", "%s: want %s to %s", o.Interval, stream.MinInterval, stream.MaxInterval)
	}
	if _, err := o.dialect(); err != nil {
		problems = append(problems, err)
	}
	if u, err := url.Parse(o.DCGM.URL); o.DCGM.URL != "" && (err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "") {
		bad("dcgm-exporter-url", "%q is no URL such as http://127.0.0.1:9400/metrics", o.DCGM.URL)
	}
	if o.DCGM.Interval <= 0 {
		bad("dcgm-exporter-interval", "%s: want more than 0", o.DCGM.Interval)
	}
	for flag, address := range map[string]string{"metrics-bind-address": o.MetricsAddress, "stream-bind-address": o.StreamAddress} {
		if _, _, err := net.SplitHostPort(address); serves(address) && err != nil {
			bad(flag, "%q is not host:port", address)
		}
	}
	if serves(o.StreamAddress) {
		for flag, file := range map[string]string{"tls-cert-file": o.TLS.CertFile, "tls-private-key-file": o.TLS.KeyFile, "client-ca-file": o.TLS.ClientCAFile} {
			if file == "" {
				bad(flag, "needed with --stream-bind-address")
			}
		}
		if o.Node == "" {
			bad("node-name", "needed with --stream-bind-address: adapters tell agents apart by it")
		}
	}
	if _, err := newLogger(o.LogFormat, o.LogLevel); err != nil {
		problems = append(problems, err)
	}
	return errors.Join(problems...)
}

func serves(address string) bool { return address != "" && address != nowhere }

// dialect is DCGM.Compat's; 0 for off.
func (o *Options) dialect() (dcgm.Dialect, error) {
	var d dcgm.Dialect
	if o.DCGM.Compat == compatOff {
		return 0, nil
	}
	if err := d.UnmarshalText([]byte(o.DCGM.Compat)); err != nil || d == 0 {
		return 0, fmt.Errorf("--dcgm-compat: %q is not one of off, old, new", o.DCGM.Compat)
	}
	return d, nil
}

func newLogger(format, level string) (*slog.Logger, error) {
	var l slog.Level
	if err := l.UnmarshalText([]byte(level)); err != nil {
		return nil, fmt.Errorf("--log-level: %q is not one of debug, info, warn, error", level)
	}
	o := &slog.HandlerOptions{Level: l}
	switch format {
	case "text":
		return slog.New(slog.NewTextHandler(os.Stderr, o)), nil
	case "json":
		return slog.New(slog.NewJSONHandler(os.Stderr, o)), nil
	}
	return nil, fmt.Errorf("--log-format: %q is not one of text, json", format)
}
