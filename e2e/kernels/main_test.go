package kernels

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/fairway-cni/fairway/pkg/testnet"
)

// Where runtimes look for networks and plugins.
const (
	confDir   = "/etc/cni/net.d"
	pluginDir = "/opt/cni/bin"
)

// binDir is what `make build` has built.
var binDir string

func TestMain(m *testing.M) {
	flag.Parse()
	if err := prepare(); err != nil {
		fmt.Fprintln(os.Stderr, "kernels:", err)
		os.Exit(1)
	}
	os.Exit(m.Run())
}

func prepare() (err error) {
	if err := testnet.Isolate(); err != nil {
		return err
	}
	if binDir, err = filepath.Abs("../../bin"); err != nil {
		return err
	}
	for _, dir := range []string{confDir, pluginDir} {
		if err := testnet.Hide(dir); err != nil {
			return err
		}
	}
	for _, plugin := range []string{"bridge", "host", "macvlan", "none", "overlay-vxlan", "host-local"} {
		built := filepath.Join(binDir, plugin)
		if _, err := os.Stat(built); err != nil {
			return fmt.Errorf("run `make build` first: %w", err)
		}
		if err := os.Symlink(built, filepath.Join(pluginDir, plugin)); err != nil {
			return err
		}
	}
	return nil
}
