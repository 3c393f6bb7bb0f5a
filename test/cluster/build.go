package main

import (
	"bufio"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"time"
)

// kubernetesVersion is what the binaries say they are. Clients refuse the version that a plain go build stamps.
const kubernetesVersion = "v1.37.2"

// binary is one program that is compiled from a module of its own or this one.
type binary struct {
	name    string
	module  string // folder of the go.mod, seen from this one
	pkg     string
	ldflags string
}

const versionPackage = "k8s.io/component-base/version"

var kubernetesLDFlags = strings.Join([]string{"-s -w",
	"-X " + versionPackage + ".gitVersion=" + kubernetesVersion, "-X " + versionPackage + ".gitMajor=1", "-X " + versionPackage + ".gitMinor=37",
}, " ")

var binaries = []binary{
	{"etcd", ".", "go.etcd.io/etcd/server/v3", "-s -w"},
	{"kube-apiserver", ".", "k8s.io/kubernetes/cmd/kube-apiserver", kubernetesLDFlags},
	{"kube-controller-manager", ".", "k8s.io/kubernetes/cmd/kube-controller-manager", kubernetesLDFlags},
	{"kube-scheduler", ".", "k8s.io/kubernetes/cmd/kube-scheduler", kubernetesLDFlags},
	{"kwok", "kwok", "sigs.k8s.io/kwok/cmd/kwok", "-s -w"},
	{"prometheus", "prometheus", "github.com/prometheus/prometheus/cmd/prometheus", "-s -w"},
	{"promtool", "prometheus", "github.com/prometheus/prometheus/cmd/promtool", "-s -w"},
	{"victoria-metrics", "victoriametrics", "github.com/VictoriaMetrics/VictoriaMetrics/app/victoria-metrics", "-s -w"},
}

// build compiles the binaries that are missing and returns their folder, whose name follows from the modules' contents:
// another version is another folder.
func build(ctx context.Context, cache, only string, progress io.Writer) (string, error) {
	source, err := sourceFolder()
	if err != nil {
		return "", err
	}
	folder, err := cacheFolder(cache, source)
	if err != nil {
		return "", err
	}
	missing := missing(folder, only)
	if len(missing) == 0 {
		return folder, nil
	}
	unlock, err := lock(ctx, filepath.Join(folder, ".lock"))
	if err != nil {
		return "", err
	}
	defer unlock()
	missing = slices.DeleteFunc(missing, func(b binary) bool { return exists(filepath.Join(folder, b.name)) }) // another process made them
	for i, b := range missing {
		if err := b.compile(ctx, source, folder, fmt.Sprintf("[%d/%d] %s", i+1, len(missing), b.name), progress); err != nil {
			return "", err
		}
	}
	return folder, nil
}

func missing(folder, only string) []binary {
	wanted := strings.Split(only, ",")
	var missing []binary
	for _, b := range binaries {
		if (only == "" || slices.Contains(wanted, b.name)) && !exists(filepath.Join(folder, b.name)) {
			missing = append(missing, b)
		}
	}
	return missing
}

// sourceFolder is where this program's go.mod lies: it compiles from there.
func sourceFolder() (string, error) {
	if folder := os.Getenv("HEADROOM_CLUSTER_SOURCE"); folder != "" {
		return folder, nil
	}
	_, file, _, ok := runtime.Caller(0)
	if folder := filepath.Dir(file); ok && exists(filepath.Join(folder, "go.mod")) {
		return folder, nil
	}
	return "", errors.New("the folder test/cluster is not where it was compiled; set HEADROOM_CLUSTER_SOURCE to it")
}

func cacheFolder(cache, source string) (string, error) {
	if cache == "" {
		user, err := os.UserCacheDir()
		if err != nil {
			return "", fmt.Errorf("no cache folder (%w): give --cache", err)
		}
		cache = filepath.Join(user, "headroom")
	}
	sum := sha256.New()
	fmt.Fprintln(sum, runtime.Version(), binaries)
	for _, module := range []string{".", "kwok", "prometheus", "victoriametrics"} {
		for _, name := range []string{"go.mod", "go.sum"} {
			content, err := os.ReadFile(filepath.Join(source, module, name))
			if err != nil {
				return "", err
			}
			sum.Write(content)
		}
	}
	folder := filepath.Join(cache, fmt.Sprintf("cluster-%s-%x", kubernetesVersion, sum.Sum(nil)[:6]))
	return folder, os.MkdirAll(folder, 0o755)
}

// compile builds one program and shows how far it is: packages compiled, of how many the program has.
func (b binary) compile(ctx context.Context, source, folder, label string, progress io.Writer) error {
	dir := filepath.Join(source, b.module)
	env := append(os.Environ(), "CGO_ENABLED=0", "GOFLAGS=-mod=readonly -buildvcs=false", "GOWORK=off")
	list := exec.CommandContext(ctx, "go", "list", "-deps", b.pkg)
	list.Dir, list.Env = dir, env
	listed, err := list.Output()
	if err != nil {
		return fmt.Errorf("list %s: %w%s", b.pkg, err, stderrOf(err))
	}
	total := strings.Count(string(listed), "\n")

	temporary := filepath.Join(folder, b.name+".part")
	cmd := exec.CommandContext(ctx, "go", "build", "-v", "-ldflags", b.ldflags, "-o", temporary, b.pkg)
	cmd.Dir, cmd.Env = dir, env
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) }
	cmd.WaitDelay = 10 * time.Second
	pipe, err := cmd.StderrPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return err
	}
	shown := newProgressLine(progress, label, total)
	lines := bufio.NewScanner(pipe)
	var last []string
	for lines.Scan() {
		last = append(last, lines.Text())
		last = last[max(0, len(last)-20):]
		shown.step()
	}
	shown.done()
	if err := cmd.Wait(); err != nil {
		return fmt.Errorf("compile %s: %w\n%s", b.name, err, strings.Join(last, "\n"))
	}
	return os.Rename(temporary, filepath.Join(folder, b.name))
}

func stderrOf(err error) string {
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		return "\n" + string(exit.Stderr)
	}
	return ""
}

// lock waits until no other process compiles into the folder.
func lock(ctx context.Context, path string) (unlock func(), err error) {
	file, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o644)
	if err != nil {
		return nil, err
	}
	for {
		err = syscall.Flock(int(file.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
		if err == nil {
			return func() { _ = file.Close() }, nil
		}
		select {
		case <-ctx.Done():
			_ = file.Close()
			return nil, ctx.Err()
		case <-time.After(200 * time.Millisecond):
		}
	}
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}
