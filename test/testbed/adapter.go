package testbed

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"time"

	authenticationv1 "k8s.io/api/authentication/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// AdapterOptions are what a "headroom serve" can be told.
type AdapterOptions struct {
	Name          string // tells several apart; "" for "headroom"
	Rules         string // the rules file's text
	PrometheusURL string
	Port          int  // 0 for a free one
	ShareThePort  bool // two on one port, as replicas behind one Service of type ExternalName
	Args          []string
	Program       string // another program than ./cmd/headroom, with the same flags
	NotReady      bool   // do not wait until it is ready
}

// Adapter is a running "headroom serve".
type Adapter struct {
	*Process
	Port       int
	URL        string // of the metrics APIs, https
	MetricsURL string // of its own metrics
	rulesFile  string
	client     *http.Client
	token      string
}

// adapterFiles are made once for all adapters of a bed.
type adapterFiles struct {
	once       sync.Once
	err        error
	program    string
	cert, key  string
	kubeconfig string
}

// StartAdapter compiles ./cmd/headroom and runs it as a service account with the least rights that it needs.
func (b *Bed) StartAdapter(ctx context.Context, o AdapterOptions) (*Adapter, error) {
	if o.Name == "" {
		o.Name = "headroom"
	}
	files, err := b.adapterFiles(ctx)
	if err != nil {
		return nil, err
	}
	if o.Program == "" {
		o.Program = files.program
	}
	if o.Port == 0 {
		if o.Port, err = FreePort(); err != nil {
			return nil, err
		}
	}
	metrics, err := FreePort()
	if err != nil {
		return nil, err
	}
	rules := filepath.Join(b.Dir, o.Name+"-rules.yaml")
	if err := os.WriteFile(rules, []byte(o.Rules), 0o600); err != nil {
		return nil, err
	}
	args := []string{"serve", "--config", rules, "--kubeconfig", files.kubeconfig,
		"--bind-address", "127.0.0.1", "--secure-port", strconv.Itoa(o.Port), "--tls-cert-file", files.cert, "--tls-private-key-file", files.key,
		"--metrics-bind-address", "127.0.0.1:" + strconv.Itoa(metrics)}
	if o.PrometheusURL != "" {
		args = append(args, "--prometheus-url", o.PrometheusURL)
	}
	if o.ShareThePort {
		args = append(args, "--permit-port-sharing")
	}
	a := &Adapter{
		Process: newProcess(b.Dir, o.Name, o.Program, append(args, o.Args...)...), Port: o.Port, rulesFile: rules, token: b.Token,
		URL: "https://127.0.0.1:" + strconv.Itoa(o.Port), MetricsURL: "http://127.0.0.1:" + strconv.Itoa(metrics) + "/metrics",
	}
	if a.client, err = b.httpClient(); err != nil {
		return nil, err
	}
	if err := b.run(a.Process); err != nil {
		return nil, err
	}
	if o.NotReady {
		return a, nil
	}
	return a, a.WaitReady(ctx)
}

// WaitReady waits until the readiness probe says yes.
func (a *Adapter) WaitReady(ctx context.Context) error {
	err := WaitFor(ctx, time.Minute, a.Name+" ready", func(ctx context.Context) (bool, string) {
		select {
		case <-a.Done():
			return false, "it has ended"
		default:
		}
		status, body, err := a.Get(ctx, "/readyz")
		return err == nil && status == http.StatusOK, fmt.Sprint(status, body, err)
	})
	if err != nil {
		return fmt.Errorf("%w\nend of its log:\n%s", err, a.Tail(20))
	}
	return nil
}

// Get asks the adapter directly, past kube-apiserver, as an administrator.
func (a *Adapter) Get(ctx context.Context, path string) (status int, body string, err error) {
	return get(ctx, a.client, a.URL+path, a.token)
}

// Metrics is the text of the adapter's own metrics.
func (a *Adapter) Metrics(ctx context.Context) (string, error) {
	status, body, err := get(ctx, http.DefaultClient, a.MetricsURL, "")
	if err == nil && status != http.StatusOK {
		err = fmt.Errorf("%s: %d", a.MetricsURL, status)
	}
	return body, err
}

// SetRules replaces the rules file; the adapter notices by itself.
func (a *Adapter) SetRules(text string) error {
	next := a.rulesFile + ".next"
	if err := os.WriteFile(next, []byte(text), 0o600); err != nil {
		return err
	}
	return os.Rename(next, a.rulesFile)
}

// Get asks kube-apiserver, which hands requests for the metrics APIs on.
func (b *Bed) Get(ctx context.Context, path string) (status int, body string, err error) {
	client, err := b.httpClient()
	if err != nil {
		return 0, "", err
	}
	defer client.CloseIdleConnections()
	return get(ctx, client, b.Server+path, b.Token)
}

// AdapterFiles are what StartAdapter gives an adapter, for whoever starts one otherwise: the program, a serving certificate
// for localhost and the Service, and the kubeconfig of a service account with the least rights.
func (b *Bed) AdapterFiles(ctx context.Context) (program, cert, key, kubeconfig string, err error) {
	f, err := b.adapterFiles(ctx)
	return f.program, f.cert, f.key, f.kubeconfig, err
}

// GoBuild compiles a package of the repository without cgo.
func (b *Bed) GoBuild(ctx context.Context, out, pkg string, flags ...string) error {
	return b.goBuild(ctx, b.root, out, pkg, flags...)
}

// httpClient trusts the bed's authority and nothing else.
func (b *Bed) httpClient() (*http.Client, error) {
	authority, err := os.ReadFile(b.CAFile)
	if err != nil {
		return nil, err
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(authority)
	return &http.Client{Timeout: 70 * time.Second, Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots}, ForceAttemptHTTP2: true}}, nil
}

func (b *Bed) adapterFiles(ctx context.Context) (*adapterFiles, error) {
	b.mu.Lock()
	if b.adapter == nil {
		b.adapter = &adapterFiles{program: filepath.Join(b.Dir, "headroom-program")}
	}
	f := b.adapter
	b.mu.Unlock()
	f.once.Do(func() {
		f.err = errors.Join(
			b.goBuild(ctx, b.root, f.program, "./cmd/headroom"),
			b.issueServingCertificate(f),
			b.adapterKubeconfig(ctx, f),
		)
	})
	return f, f.err
}

// issueServingCertificate makes a certificate that kube-apiserver accepts for the Service, and a person for localhost.
func (b *Bed) issueServingCertificate(f *adapterFiles) error {
	pair, err := tls.LoadX509KeyPair(b.CAFile, b.CAKeyFile)
	if err != nil {
		return err
	}
	ca, err := x509.ParseCertificate(pair.Certificate[0])
	if err != nil {
		return err
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	serial, err := rand.Int(rand.Reader, big.NewInt(1<<62))
	if err != nil {
		return err
	}
	der, err := x509.CreateCertificate(rand.Reader, &x509.Certificate{
		SerialNumber: serial, Subject: pkix.Name{CommonName: "headroom"}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().AddDate(1, 0, 0),
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		DNSNames: []string{"localhost", Service + "." + Namespace + ".svc"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
	}, ca, &key.PublicKey, pair.PrivateKey)
	if err != nil {
		return err
	}
	private, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		return err
	}
	f.cert, f.key = filepath.Join(b.Dir, "serving.crt"), filepath.Join(b.Dir, "serving.key")
	return errors.Join(
		os.WriteFile(f.cert, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o600),
		os.WriteFile(f.key, pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: private}), 0o600),
	)
}

// adapterKubeconfig makes the service account, its rights and a kubeconfig with its token.
func (b *Bed) adapterKubeconfig(ctx context.Context, f *adapterFiles) error {
	if err := b.applyRights(ctx); err != nil {
		return err
	}
	day := int64(24 * 3600)
	token, err := b.Client.CoreV1().ServiceAccounts(Namespace).CreateToken(ctx, Service, &authenticationv1.TokenRequest{
		Spec: authenticationv1.TokenRequestSpec{ExpirationSeconds: &day},
	}, metav1.CreateOptions{})
	if err != nil {
		return fmt.Errorf("service account token: %w", err)
	}
	authority, err := os.ReadFile(b.CAFile)
	if err != nil {
		return err
	}
	f.kubeconfig = filepath.Join(b.Dir, "adapter.kubeconfig")
	return os.WriteFile(f.kubeconfig, fmt.Appendf(nil, `apiVersion: v1
kind: Config
clusters: [{name: c, cluster: {server: %q, certificate-authority-data: %s}}]
users: [{name: u, user: {token: %s}}]
contexts: [{name: x, context: {cluster: c, user: u}}]
current-context: x
`, b.Server, base64.StdEncoding.EncodeToString(authority), token.Status.Token), 0o600)
}
