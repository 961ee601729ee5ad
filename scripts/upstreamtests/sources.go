package main

import (
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"regexp"
	"strings"
)

// shim is what executes a binary in place of a plugin's code.
//
//go:embed shim.go.txt
var shim string

// sources are two copies of upstream's: as they are, and with the shim.
type sources struct {
	work           string
	plain, shimmed string
}

func prepare(work string) (sources, error) {
	s := sources{work: work, plain: filepath.Join(work, "plain"), shimmed: filepath.Join(work, "shimmed")}
	out, err := exec.Command("go", "mod", "download", "-json", "github.com/containernetworking/plugins@"+version).Output()
	if err != nil {
		return s, fmt.Errorf("go mod download: %w", err)
	}
	var module struct{ Dir string }
	if err := json.Unmarshal(out, &module); err != nil {
		return s, err
	}
	for _, dir := range []string{s.plain, s.shimmed} {
		if err := copyTree(module.Dir, dir); err != nil {
			return s, err
		}
	}
	for _, p := range packages {
		for _, dir := range []string{s.plain, s.shimmed} {
			if err := withoutDummy(filepath.Join(dir, "plugins", p)); err != nil {
				return s, fmt.Errorf("%s: %w", p, err)
			}
		}
		if err := s.insert(p); err != nil {
			return s, fmt.Errorf("%s: %w", p, err)
		}
	}
	return s, nil
}

// withoutDummy lets specs use links of another kind in place of dummy ones, where the kernel has none.
func withoutDummy(dir string) error {
	if exec.Command("unshare", "--net", "ip", "link", "add", "type", "dummy").Run() == nil {
		return nil
	}
	files, err := filepath.Glob(filepath.Join(dir, "*_test.go"))
	if err != nil {
		return err
	}
	for _, file := range files {
		content, err := os.ReadFile(file)
		if err == nil {
			err = os.WriteFile(file, []byte(strings.ReplaceAll(string(content), "netlink.Dummy{", "netlink.Ifb{")), 0o644)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// copyTree copies a directory: a module, whose files are read-only in Go's cache, or plugins.
func copyTree(from, to string) error {
	return filepath.WalkDir(from, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		target := filepath.Join(to, strings.TrimPrefix(path, from))
		if d.IsDir() {
			return os.MkdirAll(target, 0o755)
		}
		content, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		return os.WriteFile(target, content, 0o755)
	})
}

// verbs are the functions of a plugin that its specs call.
var verbs = regexp.MustCompile(`(?m)^func cmd(Add|Del|Check|Status)\(`)

// suiteBinary is the plugin that a suite builds to execute it itself.
var suiteBinary = regexp.MustCompile(`gexec\.Build\("github\.com/containernetworking/plugins/plugins/[^"]*"\)`)

// insert puts the shim into a package.
func (s sources) insert(p string) error {
	dir := filepath.Join(s.shimmed, "plugins", p)
	files, err := filepath.Glob(filepath.Join(dir, "*.go"))
	if err != nil {
		return err
	}
	text := shim
	for _, file := range files {
		content, err := os.ReadFile(file)
		if err != nil {
			return err
		}
		changed := string(content)
		if strings.HasSuffix(file, "_test.go") {
			changed = suiteBinary.ReplaceAllString(changed, `os.Getenv("PLUGIN_UNDER_TEST"), error(nil)`)
			if changed != string(content) && !strings.Contains(changed, `"os"`) {
				changed = strings.Replace(changed, "import (\n", "import (\n\t\"os\"\n", 1)
			}
		} else {
			for _, verb := range verbs.FindAllStringSubmatch(changed, -1) {
				text += fmt.Sprintf("\nfunc cmd%s(args *skel.CmdArgs) error { return executeBinary(%q, args) }\n", verb[1], strings.ToUpper(verb[1]))
			}
			changed = verbs.ReplaceAllString(changed, "func upstreamCmd$1(")
		}
		if changed == string(content) {
			continue
		}
		if err := os.WriteFile(file, []byte(changed), 0o644); err != nil {
			return err
		}
	}
	return os.WriteFile(filepath.Join(dir, "shim.go"), []byte(text), 0o644)
}

// isolated runs a command in network and mount namespaces of its own, with nothing of the host's in the directories that plugins write to.
const isolated = `for dir in /run /tmp /var/lib; do mount -t tmpfs tmpfs $dir || exit 1; done; mkdir /run/netns /run/lock && ip link set lo up && exec "$@"`

// test runs the suite of a package: with upstream's own code, or with the binaries in a directory.
func (s sources) test(p, bin string) ([]spec, error) {
	dir, paths := s.plain, filepath.Join(s.work, "built")
	if bin != "" {
		dir, paths = s.shimmed, bin+":"+paths
	}
	suite := filepath.Join(s.work, strings.ReplaceAll(p, "/", "-")+".test")
	if err := s.buildSuite(dir, p, suite); err != nil {
		return nil, err
	}
	if err := s.buildOthers(); err != nil {
		return nil, err
	}
	report := filepath.Join(s.work, "report.json")
	cmd := exec.Command("unshare", "--mount", "--net", "--propagation", "private", "sh", "-c", isolated, "sh",
		suite, "-ginkgo.json-report="+report, "-ginkgo.no-color", "-ginkgo.succinct", "-test.timeout=30m")
	cmd.Dir = filepath.Join(dir, "plugins", p)
	cmd.Env = append(os.Environ(), "PATH="+paths+":"+os.Getenv("PATH"), "PLUGIN_UNDER_TEST="+filepath.Join(bin, path.Base(p)), "GOFLAGS=-mod=mod")
	out, err := cmd.CombinedOutput()
	var failed *exec.ExitError
	if err != nil && !errors.As(err, &failed) {
		return nil, err
	}
	specs, err := readReport(report)
	if err != nil {
		return nil, fmt.Errorf("%w\n%s", err, out)
	}
	return specs, os.Remove(report)
}

func (s sources) buildSuite(dir, p, suite string) error {
	cmd := exec.Command("go", "test", "-c", "-o", suite, "./plugins/"+p)
	cmd.Dir, cmd.Env = dir, append(os.Environ(), "GOFLAGS=-mod=mod", "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("go test -c: %w\n%s", err, out)
	}
	return nil
}

// buildOthers builds the plugins of upstream's that specs execute beside the one under test.
func (s sources) buildOthers() error {
	built := filepath.Join(s.work, "built")
	if _, err := os.Stat(built); err == nil {
		return nil
	}
	cmd := exec.Command("go", "build", "-o", built+"/", "./plugins/main/bridge", "./plugins/main/ptp", "./plugins/main/loopback", "./plugins/ipam/host-local",
		"./plugins/ipam/static", "./plugins/meta/firewall", "./plugins/meta/portmap", "./plugins/meta/tuning", "./plugins/meta/bandwidth")
	cmd.Dir, cmd.Env = s.plain, append(os.Environ(), "GOFLAGS=-mod=mod", "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("go build: %w\n%s", err, out)
	}
	// Specs of ptp execute these, and busybox is what make tools installs.
	busybox, err := exec.LookPath("busybox")
	if err != nil {
		return err
	}
	return errors.Join(os.Symlink(busybox, filepath.Join(built, "ping")), os.Symlink(busybox, filepath.Join(built, "ping6")))
}
