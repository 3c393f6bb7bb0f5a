package main

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	_ "embed"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"time"
)

// options are what one control plane can be told.
type options struct {
	Dir                    string
	Binaries               string
	SyncPeriod             time.Duration
	DownscaleStabilization time.Duration
	NoKwok                 bool
	APIServerArgs          []string
	ControllerManagerArgs  []string
}

// Connection is the line that "up" prints: all that a client needs.
type Connection struct {
	Dir        string `json:"dir"`
	Binaries   string `json:"binaries"`
	Kubeconfig string `json:"kubeconfig"` // an administrator's
	Server     string `json:"server"`
	Token      string `json:"token"` // the administrator's
	CAFile     string `json:"caFile"`
	CAKeyFile  string `json:"caKeyFile"` // for certificates of servers behind the aggregator
	// FrontProxyCertFile and its key are the aggregator's own client certificate: with it a benchmark asks as kube-apiserver does.
	FrontProxyCertFile string `json:"frontProxyCertFile"`
	FrontProxyKeyFile  string `json:"frontProxyKeyFile"`
	// ControllerManager is kube-controller-manager's URL, for its /metrics.
	ControllerManager string         `json:"controllerManager"`
	EtcdURL           string         `json:"etcdURL"`
	PIDs              map[string]int `json:"pids"`
}

// plane is a running control plane.
type plane struct {
	Connection
	children []*child // in the order of their start
	died     chan *child
}

//go:embed stages.yaml
var stages []byte

// up starts everything in order and waits until it is ready. The plane returned must be stopped also when there is an error.
func up(ctx context.Context, o options) (*plane, error) {
	dir, err := filepath.Abs(o.Dir)
	p := &plane{died: make(chan *child, 8), Connection: Connection{Dir: dir, Binaries: o.Binaries, PIDs: map[string]int{}}}
	if err != nil {
		return p, err
	}
	if err := os.MkdirAll(filepath.Join(dir, "pki"), 0o700); err != nil {
		return p, err
	}
	ports, err := freePorts(4)
	if err != nil {
		return p, err
	}
	if err := p.credentials(ports[2]); err != nil {
		return p, fmt.Errorf("credentials: %w", err)
	}
	pki := func(name string) string { return filepath.Join(dir, "pki", name) }

	p.EtcdURL = "http://127.0.0.1:" + strconv.Itoa(ports[0])
	peer := "http://127.0.0.1:" + strconv.Itoa(ports[1])
	if err := p.start("etcd", "--data-dir", filepath.Join(dir, "etcd"), "--unsafe-no-fsync", "--logger", "zap", "--log-level", "warn",
		"--listen-client-urls", p.EtcdURL, "--advertise-client-urls", p.EtcdURL,
		"--listen-peer-urls", peer, "--initial-advertise-peer-urls", peer, "--initial-cluster", "default="+peer); err != nil {
		return p, err
	}
	if err := p.start("kube-apiserver", append([]string{
		"--etcd-servers", p.EtcdURL, "--secure-port", strconv.Itoa(ports[2]), "--bind-address", "127.0.0.1",
		"--advertise-address", "192.0.2.1", "--endpoint-reconciler-type", "none", // loopback may not be advertised; nobody uses this one
		"--tls-cert-file", pki("apiserver.crt"), "--tls-private-key-file", pki("apiserver.key"), "--client-ca-file", pki("ca.crt"),
		"--service-account-issuer", "https://kubernetes.default.svc", "--service-cluster-ip-range", "10.0.0.0/16",
		"--service-account-signing-key-file", pki("service-account.key"), "--service-account-key-file", pki("service-account.pub"),
		"--authorization-mode", "RBAC", "--token-auth-file", pki("tokens.csv"), "--profiling=false",
		"--requestheader-client-ca-file", pki("front-proxy-ca.crt"), "--requestheader-allowed-names", "front-proxy-client",
		"--requestheader-extra-headers-prefix", "X-Remote-Extra-", "--requestheader-group-headers", "X-Remote-Group", "--requestheader-username-headers", "X-Remote-User",
		"--proxy-client-cert-file", pki("front-proxy-client.crt"), "--proxy-client-key-file", pki("front-proxy-client.key"),
		"--event-ttl", "1h", "--disable-admission-plugins", "ServiceAccount", // pods need no tokens: no kubelet mounts them
	}, o.APIServerArgs...)...); err != nil {
		return p, err
	}
	if err := p.waitReady(ctx, "kube-apiserver", p.Server+"/readyz"); err != nil {
		return p, err
	}
	p.ControllerManager = "https://127.0.0.1:" + strconv.Itoa(ports[3])
	p.FrontProxyCertFile, p.FrontProxyKeyFile = pki("front-proxy-client.crt"), pki("front-proxy-client.key")
	if err := p.start("kube-controller-manager", append([]string{
		"--kubeconfig", p.Kubeconfig, "--leader-elect=false", "--use-service-account-credentials=true",
		"--secure-port", strconv.Itoa(ports[3]), "--bind-address", "127.0.0.1", "--authentication-kubeconfig", p.Kubeconfig, "--authorization-kubeconfig", p.Kubeconfig,
		"--tls-cert-file", pki("apiserver.crt"), "--tls-private-key-file", pki("apiserver.key"),
		"--service-account-private-key-file", pki("service-account.key"), "--root-ca-file", pki("ca.crt"),
		"--horizontal-pod-autoscaler-sync-period", o.SyncPeriod.String(), "--horizontal-pod-autoscaler-downscale-stabilization", o.DownscaleStabilization.String(),
		"--node-monitor-grace-period", "5m", "--profiling=false",
	}, o.ControllerManagerArgs...)...); err != nil {
		return p, err
	}
	if err := p.start("kube-scheduler", "--kubeconfig", p.Kubeconfig, "--leader-elect=false", "--secure-port", "0", "--profiling=false"); err != nil {
		return p, err
	}
	if !o.NoKwok {
		config := filepath.Join(dir, "stages.yaml")
		if err := os.WriteFile(config, stages, 0o600); err != nil {
			return p, err
		}
		if err := p.start("kwok", "--kubeconfig", p.Kubeconfig, "--config", config, "--manage-all-nodes=true",
			"--node-lease-duration-seconds", "40", "--cidr", "10.64.0.0/16"); err != nil {
			return p, err
		}
	}
	// The scheduler and kwok have nothing to ask; one that cannot start ends before the controller manager answers.
	return p, p.waitReady(ctx, "kube-controller-manager", p.ControllerManager+"/healthz")
}

// credentials writes the authorities, certificates, tokens and the administrator's kubeconfig.
func (p *plane) credentials(port int) error {
	dir := filepath.Join(p.Dir, "pki")
	ca, err := newAuthority(dir, "ca")
	if err != nil {
		return err
	}
	frontProxy, err := newAuthority(dir, "front-proxy-ca")
	if err != nil {
		return err
	}
	if err := ca.issue("apiserver", pkix.Name{CommonName: "kube-apiserver"}, "127.0.0.1", "localhost", "kubernetes", "kubernetes.default", "kubernetes.default.svc"); err != nil {
		return err
	}
	if err := frontProxy.issue("front-proxy-client", pkix.Name{CommonName: "front-proxy-client"}); err != nil {
		return err
	}
	if err := writeServiceAccountKeys(dir); err != nil {
		return err
	}
	secret := make([]byte, 16)
	if _, err := rand.Read(secret); err != nil {
		return err
	}
	p.Token = hex.EncodeToString(secret)
	if err := os.WriteFile(filepath.Join(dir, "tokens.csv"), []byte(p.Token+",admin,admin,system:masters\n"), 0o600); err != nil {
		return err
	}
	p.Server, p.CAFile, p.CAKeyFile = "https://127.0.0.1:"+strconv.Itoa(port), ca.file("crt"), ca.file("key")
	authority, err := os.ReadFile(p.CAFile)
	if err != nil {
		return err
	}
	p.Kubeconfig = filepath.Join(p.Dir, "kubeconfig")
	return os.WriteFile(p.Kubeconfig, fmt.Appendf(nil, `apiVersion: v1
kind: Config
clusters:
- name: headroom
  cluster: {server: %q, certificate-authority-data: %s}
users:
- name: admin
  user: {token: %s}
contexts:
- name: headroom
  context: {cluster: headroom, user: admin}
current-context: headroom
`, p.Server, base64.StdEncoding.EncodeToString(authority), p.Token), 0o600)
}

// readyWithin is far more than kube-apiserver takes (about three seconds) on a machine that is busy.
const readyWithin = 2 * time.Minute

// waitReady waits until the program answers its probe, or until any program has ended.
func (p *plane) waitReady(ctx context.Context, name, probe string) error {
	ctx, cancel := context.WithTimeout(ctx, readyWithin)
	defer cancel()
	authority, err := os.ReadFile(p.CAFile)
	if err != nil {
		return err
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(authority)
	client := &http.Client{Timeout: 2 * time.Second, Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots}}}
	defer client.CloseIdleConnections()
	var last string
	for {
		request, err := http.NewRequestWithContext(ctx, http.MethodGet, probe, nil)
		if err != nil {
			return err
		}
		request.Header.Set("Authorization", "Bearer "+p.Token)
		response, err := client.Do(request)
		if err == nil {
			_ = response.Body.Close()
			if response.StatusCode == http.StatusOK {
				return nil
			}
			last = response.Status
		} else {
			last = err.Error()
		}
		select {
		case dead := <-p.died:
			return fmt.Errorf("%s ended by itself:\n%s", dead.name, dead.tail())
		case <-ctx.Done():
			return fmt.Errorf("%s is not ready: %s", name, last)
		case <-time.After(100 * time.Millisecond):
		}
	}
}

// freePorts finds ports that nobody listens on. They are held together until all are found, so that they differ.
func freePorts(n int) ([]int, error) {
	var ports []int
	for range n {
		listener, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return nil, err
		}
		defer func() { _ = listener.Close() }()
		ports = append(ports, listener.Addr().(*net.TCPAddr).Port)
	}
	return ports, nil
}
