package plugins

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/fairway-cni/fairway/pkg/testnet"
)

// binDir holds the built plugins.
const binDir = testnet.PluginDir

func TestMain(m *testing.M) {
	flag.Parse()
	if err := prepare(); err != nil {
		fmt.Fprintln(os.Stderr, "plugins:", err)
		os.Exit(1)
	}
	os.Exit(m.Run())
}

func prepare() error {
	if err := testnet.Isolate(); err != nil {
		return err
	}
	if err := testnet.BuildPlugins("./bridge", "./host", "./macvlan", "./none", "./host-local", "./overlay-vxlan", "./tuning", "./portmap", "./firewall", "./bandwidth", "./static", "./ptp", "./sbr"); err != nil {
		return err
	}
	return os.Symlink("none", filepath.Join(binDir, "loopback"))
}
