package plugins

import (
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/fairway-cni/fairway/pkg/testnet"
)

// binDir holds the built plugins. It lies on the tmpfs that testnet.Isolate mounts, and goes with it.
const binDir = "/run/fairway-plugins"

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
	if err := os.Mkdir(binDir, 0o755); err != nil {
		return err
	}
	build := exec.Command("go", "build", "-o", binDir+"/", "./bridge", "./host", "./macvlan", "./none", "./host-local", "./overlay-vxlan")
	build.Env = append(build.Environ(), "CGO_ENABLED=0")
	build.Stderr = os.Stderr
	if err := build.Run(); err != nil {
		return fmt.Errorf("go build: %w", err)
	}
	return os.Symlink("none", filepath.Join(binDir, "loopback"))
}
