package e2e

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"syscall"
	"testing"

	"github.com/fairway-cni/fairway/pkg/testnet"
)

// inProcessNamespace marks the process that already runs in a process namespace of its own.
const inProcessNamespace = "FAIRWAY_E2E_PIDS"

func TestMain(m *testing.M) {
	flag.Parse()
	if err := prepare(); err != nil {
		fmt.Fprintln(os.Stderr, "e2e:", err)
		os.Exit(1)
	}
	os.Exit(m.Run())
}

func prepare() error {
	if os.Geteuid() != 0 {
		return errors.New("containerd and podman need root: run the tests by `make test`")
	}
	if os.Getenv(inProcessNamespace) == "" {
		return enterProcessNamespace()
	}
	if err := testnet.Isolate(); err != nil {
		return err
	}
	for _, dir := range []string{confDir, pluginDir, podmanDir, locksDir} {
		if err := testnet.Hide(dir); err != nil {
			return err
		}
	}
	return errors.Join(shareNamespaces(), installPlugins())
}

// enterProcessNamespace executes the tests again in a process namespace. The kernel ends every process in it with its
// first one, so that a test which is cut short leaves no shim and no container: those are nobody's children.
func enterProcessNamespace() error {
	unshare, err := exec.LookPath("unshare")
	if err != nil {
		return err
	}
	self, err := os.Executable()
	if err != nil {
		return err
	}
	args := append([]string{"unshare", "--pid", "--fork", "--kill-child", "--mount-proc", self}, os.Args[1:]...)
	return fmt.Errorf("%s: %w", unshare, syscall.Exec(unshare, args, append(os.Environ(), inProcessNamespace+"=1")))
}
