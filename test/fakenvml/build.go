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

// Build compiles the library into dir and returns its path. The symbols named in without are left out, as an old driver leaves out what
// it does not know.
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
	file, library := filepath.Join(dir, "fakenvml.c"), filepath.Join(dir, "libnvidia-ml.so.1")
	if err := os.WriteFile(file, code, 0o600); err != nil {
		return "", fmt.Errorf("write the fake's source: %w", err)
	}
	symbols := filepath.Join(dir, "symbols.map")
	exports := "{ global: nvml*; local: *; };"
	if len(without) > 0 {
		exports = "{ global: nvml*; local: " + strings.Join(without, "; ") + "; };"
	}
	if err := os.WriteFile(symbols, []byte(exports), 0o600); err != nil {
		return "", fmt.Errorf("write the fake's exports: %w", err)
	}
	compile := exec.Command(cc, "-shared", "-fPIC", "-O1", "-pthread", "-fvisibility=hidden", "-DNVML_NO_UNVERSIONED_FUNC_DEFS=1", "-I", header,
		"-Wl,-soname,libnvidia-ml.so.1", "-Wl,--version-script="+symbols, "-o", library, file)
	if out, err := compile.CombinedOutput(); err != nil {
		return "", fmt.Errorf("compile the fake: %w\n%s", err, out)
	}
	return library, nil
}

// headerDirectory is where the required go-nvml keeps nvml.h.
func headerDirectory() (string, error) {
	out, err := exec.Command("go", "list", "-m", "-f", "{{.Dir}}", "github.com/NVIDIA/go-nvml").Output()
	if err != nil {
		return "", fmt.Errorf("find go-nvml: %w", err)
	}
	return filepath.Join(strings.TrimSpace(string(out)), "pkg", "nvml"), nil
}
