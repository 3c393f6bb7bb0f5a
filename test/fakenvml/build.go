package fakenvml

import (
	"embed"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

//go:embed lib/fakenvml.c
var source embed.FS

// ErrNoCompiler says that this machine has none. CI's has one.
var ErrNoCompiler = errors.New("no C compiler here (cc): the fake of libnvidia-ml cannot be built")

// Build compiles the library into dir and returns its path. The symbols named in without are left out, as an old driver leaves out what it
// does not know. Libraries built into one dir are compiled once and linked each.
func Build(dir string, without ...string) (string, error) {
	cc := os.Getenv("CC")
	if cc == "" {
		cc = "cc"
	}
	if _, err := exec.LookPath(cc); err != nil {
		return "", ErrNoCompiler
	}
	header, err := headerDirectory()
	if err != nil {
		return "", err
	}
	code, err := source.ReadFile("lib/fakenvml.c")
	if err != nil {
		return "", fmt.Errorf("read the fake's source: %w", err)
	}
	file, object := filepath.Join(dir, "fakenvml.c"), filepath.Join(dir, "fakenvml.o")
	if _, err := os.Stat(object); err != nil {
		if err := os.WriteFile(file, code, 0o600); err != nil {
			return "", fmt.Errorf("write the fake's source: %w", err)
		}
		if err := run(cc, "-c", "-fPIC", "-O1", "-pthread", "-DNVML_NO_UNVERSIONED_FUNC_DEFS=1", "-I", header, "-o", object, file); err != nil {
			return "", err
		}
	}
	library := filepath.Join(dir, "libnvidia-ml.so.1")
	exports := "{ global: nvml*; local: *; };"
	if len(without) > 0 {
		exports = "{ global: nvml*; local: " + strings.Join(without, "; ") + "; };"
		library = filepath.Join(dir, "without-"+without[0]+".so")
	}
	symbols := library + ".map"
	if err := os.WriteFile(symbols, []byte(exports), 0o600); err != nil {
		return "", fmt.Errorf("write the fake's exports: %w", err)
	}
	return library, run(cc, "-shared", "-pthread", "-Wl,-soname,libnvidia-ml.so.1", "-Wl,--version-script="+symbols, "-o", library, object)
}

func run(name string, args ...string) error {
	if out, err := exec.Command(name, args...).CombinedOutput(); err != nil {
		return fmt.Errorf("build the fake: %w\n%s", err, out)
	}
	return nil
}

// headerDirectory is where the required go-nvml keeps nvml.h.
func headerDirectory() (string, error) {
	out, err := exec.Command("go", "list", "-m", "-f", "{{.Dir}}", "github.com/NVIDIA/go-nvml").Output()
	if err != nil {
		return "", fmt.Errorf("find go-nvml: %w", err)
	}
	return filepath.Join(strings.TrimSpace(string(out)), "pkg", "nvml"), nil
}
