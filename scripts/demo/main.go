// Command demo shows what the plugins do: a machine, an outside and containers, all in namespaces that the program makes for
// itself, so that nothing is touched on the machine it runs on and nothing is left there.
package main

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"github.com/fairway-cni/fairway/pkg/testnet"
)

func main() {
	plugins := flag.String("plugins", "bin", "`directory` of the built plugins")
	flag.Parse()
	if err := run(*plugins); err != nil {
		fmt.Fprintln(os.Stderr, "demo:", err)
		os.Exit(1)
	}
}

func run(plugins string) (err error) {
	if plugins, err = requirements(plugins); err != nil {
		return err
	}
	if err := testnet.Isolate(); err != nil {
		if os.Geteuid() != 0 {
			return fmt.Errorf("ordinary users may not make namespaces here, so run the demo as root: %w", err)
		}
		return err
	}
	begin := time.Now()
	p := newPage(os.Stdout)
	s, err := openStage(p, plugins)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.cluster.close()) }()
	for _, section := range sections() {
		if err := section.play(s); err != nil {
			return err
		}
	}
	p.closing("Nothing is left: the namespaces go with this program. %.1f s.", time.Since(begin).Seconds())
	return nil
}

// requirements gives the absolute directory of the plugins, or says in one sentence what is missing.
func requirements(plugins string) (absolute string, err error) {
	for _, section := range sections() {
		if _, err := os.Stat(filepath.Join(plugins, section.mode)); errors.Is(err, os.ErrNotExist) {
			return "", fmt.Errorf("%s/%s is not built: make build", plugins, section.mode)
		}
	}
	// An ordinary user's path does not lead to these directories on Debian.
	if err := os.Setenv("PATH", os.Getenv("PATH")+":/usr/sbin:/sbin"); err != nil {
		return "", err
	}
	for _, needs := range []struct{ program, debian string }{
		{"ip", "iproute2"}, {"nsenter", "util-linux"}, {"busybox", "busybox-static"}, {"etcd", "etcd-server"},
	} {
		if _, err := exec.LookPath(needs.program); err != nil {
			return "", fmt.Errorf("%s is not installed: apt-get install %s", needs.program, needs.debian)
		}
	}
	if plugins, err = filepath.Abs(plugins); err != nil {
		return "", err
	}
	// What is typed has to find them, and `fairway` is one of them.
	return plugins, errors.Join(os.Setenv("CNI_PATH", plugins), os.Setenv("PATH", plugins+":"+os.Getenv("PATH")))
}
