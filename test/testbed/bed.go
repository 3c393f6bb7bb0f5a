package testbed

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"sync"
	"syscall"
	"time"

	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
)

// Options are what a bed can be told. The zero value is a cluster with Kubernetes' own defaults.
type Options struct {
	Dir                    string        // state and logs; "" for a temporary folder that Close removes
	SyncPeriod             time.Duration // the HPA controller's; 0 for 15 s
	DownscaleStabilization time.Duration // the HPA controller's; 0 for 5 min
	ControllerManagerArgs  []string
	APIServerArgs          []string
	NoKwok                 bool
	Progress               io.Writer // where compiling shows how far it is; nil for standard error
}

// Connection is what test/cluster says of the control plane it runs.
type Connection struct {
	Dir        string         `json:"dir"`
	Binaries   string         `json:"binaries"`
	Kubeconfig string         `json:"kubeconfig"`
	Server     string         `json:"server"`
	Token      string         `json:"token"`
	CAFile     string         `json:"caFile"`
	CAKeyFile  string         `json:"caKeyFile"`
	EtcdURL    string         `json:"etcdURL"`
	PIDs       map[string]int `json:"pids"`

	FrontProxyCertFile string `json:"frontProxyCertFile"` // the aggregator's client certificate
	FrontProxyKeyFile  string `json:"frontProxyKeyFile"`
	ControllerManager  string `json:"controllerManager"` // URL
}

// Bed is a running cluster and what was started beside it.
type Bed struct {
	Connection
	Dir     string
	Config  *rest.Config // an administrator's, without client-side limits
	Client  kubernetes.Interface
	Dynamic dynamic.Interface

	root      string // of the repository
	removeDir bool
	cluster   *exec.Cmd
	hold      io.Closer // the cluster ends when this is closed
	ended     chan struct{}

	mu        sync.Mutex
	processes []*Process
	adapter   *adapterFiles
}

// Start compiles what is missing and runs a control plane. The first time on a machine takes minutes, later ones seconds.
func Start(ctx context.Context, o Options) (*Bed, error) {
	root, err := repository()
	if err != nil {
		return nil, err
	}
	b := &Bed{Dir: o.Dir, root: root, ended: make(chan struct{})}
	if o.Dir == "" {
		if b.Dir, err = os.MkdirTemp("", "headroom-"); err != nil {
			return nil, err
		}
		b.removeDir = true
	}
	if err := b.start(ctx, o); err != nil {
		b.Close()
		return nil, err
	}
	return b, nil
}

// RestartAPIServer kills kube-apiserver, starts it again on the same address, and waits until it is ready.
func (b *Bed) RestartAPIServer(ctx context.Context) error {
	before := b.PIDs["kube-apiserver"]
	if err := b.cluster.Process.Signal(syscall.SIGUSR1); err != nil {
		return fmt.Errorf("restart kube-apiserver: %w", err)
	}
	return WaitFor(ctx, time.Minute, "kube-apiserver to be back", func(ctx context.Context) (bool, string) {
		text, err := os.ReadFile(filepath.Join(b.Dir, "control-plane", "kube-apiserver.pid"))
		if err != nil {
			return false, err.Error()
		}
		pid, err := strconv.Atoi(string(text))
		if err != nil || pid == before {
			return false, "it still runs"
		}
		b.PIDs["kube-apiserver"] = pid
		status, body, err := b.Get(ctx, "/readyz")
		return err == nil && status == http.StatusOK, fmt.Sprint(status, body, err)
	})
}

func (b *Bed) start(ctx context.Context, o Options) error {
	progress := o.Progress
	if progress == nil {
		progress = os.Stderr
	}
	program := filepath.Join(b.Dir, "cluster")
	if err := b.goBuild(ctx, filepath.Join(b.root, "test", "cluster"), program, "."); err != nil {
		return err
	}
	args := []string{"up", "--dir", filepath.Join(b.Dir, "control-plane")}
	if o.SyncPeriod > 0 {
		args = append(args, "--sync-period", o.SyncPeriod.String())
	}
	if o.DownscaleStabilization > 0 {
		args = append(args, "--downscale-stabilization", o.DownscaleStabilization.String())
	}
	if o.NoKwok {
		args = append(args, "--no-kwok")
	}
	for _, arg := range o.ControllerManagerArgs {
		args = append(args, "--kcm-arg", arg)
	}
	for _, arg := range o.APIServerArgs {
		args = append(args, "--apiserver-arg", arg)
	}
	b.cluster = exec.Command(program, args...)
	b.cluster.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	var complaint bytes.Buffer
	b.cluster.Stderr = io.MultiWriter(&complaint, progress)
	if file, ok := progress.(*os.File); ok {
		b.cluster.Stderr = file // a terminal stays a terminal
	}
	stdin, err := b.cluster.StdinPipe()
	if err != nil {
		return err
	}
	stdout, err := b.cluster.StdoutPipe()
	if err != nil {
		return err
	}
	if err := b.cluster.Start(); err != nil {
		return err
	}
	b.hold = stdin
	line := make(chan error, 1)
	go func() {
		defer close(b.ended)
		text, err := bufio.NewReader(stdout).ReadBytes('\n')
		if err == nil {
			err = json.Unmarshal(text, &b.Connection)
		}
		line <- err
		_ = b.cluster.Wait()
	}()
	select {
	case err := <-line:
		if err != nil {
			return fmt.Errorf("the control plane did not start: %w\n%s", err, complaint.String())
		}
	case <-ctx.Done():
		return ctx.Err()
	}
	return b.connect()
}

func (b *Bed) connect() (err error) {
	if b.Config, err = clientcmd.BuildConfigFromFlags("", b.Kubeconfig); err != nil {
		return err
	}
	b.Config.QPS = -1
	if b.Client, err = kubernetes.NewForConfig(b.Config); err != nil {
		return err
	}
	b.Dynamic, err = dynamic.NewForConfig(b.Config)
	return err
}

// Close stops everything, last started first, and removes the folder if the bed made it.
func (b *Bed) Close() {
	b.mu.Lock()
	processes := b.processes
	b.processes = nil
	b.mu.Unlock()
	for _, p := range slices.Backward(processes) {
		p.Stop()
	}
	if b.hold != nil {
		_ = b.hold.Close()
		<-b.ended
	}
	if b.removeDir {
		_ = os.RemoveAll(b.Dir)
	}
}

// Ended is closed when the control plane has ended.
func (b *Bed) Ended() <-chan struct{} { return b.ended }

// Run starts a program of the bed's; Close stops it.
func (b *Bed) run(p *Process) error {
	if err := p.Start(); err != nil {
		return err
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.processes = append(b.processes, p)
	return nil
}

// goBuild compiles a program of the repository without cgo.
func (b *Bed) goBuild(ctx context.Context, dir, out, pkg string, flags ...string) error {
	cmd := exec.CommandContext(ctx, "go", append(append([]string{"build"}, flags...), "-o", out, pkg)...)
	cmd.Dir, cmd.Env = dir, append(os.Environ(), "CGO_ENABLED=0", "GOFLAGS=-buildvcs=false")
	if output, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("compile %s: %w\n%s", pkg, err, output)
	}
	return nil
}

// repository finds the folder of the root go.mod.
func repository() (string, error) {
	if _, file, _, ok := runtime.Caller(0); ok {
		root := filepath.Dir(filepath.Dir(filepath.Dir(file)))
		if _, err := os.Stat(filepath.Join(root, "go.mod")); err == nil {
			return root, nil
		}
	}
	return "", errors.New("the repository is not where this program was compiled")
}
