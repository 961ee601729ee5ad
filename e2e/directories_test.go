package e2e

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// The directories that runtimes use unless told otherwise. Some cannot be told.
const (
	confDir     = "/etc/cni/net.d"
	pluginDir   = "/opt/cni/bin"
	cniStateDir = "/var/lib/cni"
	leaseDir    = "/var/lib/cni/networks"
	podmanDir   = "/var/lib/containers" // podman keeps a cache there, wherever its storage is
	locksDir    = "/dev/shm"            // and the locks of its containers
	netnsDir    = "/run/netns"
)

// hide puts an empty directory in the place of dir, in the mount namespace of the tests. A directory that the machine does
// not have is not made there, but on an overlay of its nearest parent.
func hide(dir string) error {
	parent, err := nearest(dir)
	if err != nil {
		return err
	}
	if parent != dir {
		if err := overlay(parent); err != nil {
			return err
		}
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	if err := unix.Mount("tmpfs", dir, "tmpfs", 0, "mode=0755"); err != nil {
		return fmt.Errorf("mount -t tmpfs tmpfs %s: %w", dir, err)
	}
	return nil
}

// nearest is dir itself or the first parent that exists.
func nearest(dir string) (string, error) {
	for ; ; dir = filepath.Dir(dir) {
		_, err := os.Stat(dir)
		if !errors.Is(err, os.ErrNotExist) {
			return dir, err
		}
	}
}

// overlay makes writes to dir go to the tmpfs on /run.
func overlay(dir string) error {
	scratch, err := os.MkdirTemp("/run", "overlay")
	if err != nil {
		return err
	}
	upper, work := filepath.Join(scratch, "upper"), filepath.Join(scratch, "work")
	if err := errors.Join(os.Mkdir(upper, 0o755), os.Mkdir(work, 0o755)); err != nil {
		return err
	}
	options := fmt.Sprintf("lowerdir=%s,upperdir=%s,workdir=%s", dir, upper, work)
	if err := unix.Mount("overlay", dir, "overlay", 0, options); err != nil {
		return fmt.Errorf("mount -t overlay -o %s overlay %s: %w", options, dir, err)
	}
	return nil
}

// shareNamespaces makes the directory of namespaces a shared mount, as the first runtime would do (ip-netns(8) too). It would
// take the namespaces that are there along, and those could not be removed while its mount lies above them.
func shareNamespaces() error {
	if err := unix.Mount(netnsDir, netnsDir, "", unix.MS_BIND, ""); err != nil {
		return fmt.Errorf("mount --bind %s %s: %w", netnsDir, netnsDir, err)
	}
	if err := unix.Mount("", netnsDir, "", unix.MS_SHARED, ""); err != nil {
		return fmt.Errorf("mount --make-shared %s: %w", netnsDir, err)
	}
	return nil
}

// installPlugins fills the plugin directory as `make install` does, and adds those of upstream that the tests chain.
func installPlugins() error {
	root, err := moduleRoot()
	if err != nil {
		return err
	}
	links := map[string]string{
		"bridge": "bin/bridge", "host": "bin/host", "macvlan": "bin/macvlan", "none": "bin/none", "loopback": "bin/none",
		"host-local": "bin/host-local",
		"portmap":    ".tools/portmap", "firewall": ".tools/firewall", "tuning": ".tools/tuning",
	}
	for name, target := range links {
		target = filepath.Join(root, target)
		if _, err := os.Stat(target); err != nil {
			return fmt.Errorf("run `make build` and `scripts/install-test-tools` first: %w", err)
		}
		if err := os.Symlink(target, filepath.Join(pluginDir, name)); err != nil {
			return err
		}
	}
	return nil
}

// moduleRoot is the directory of go.mod, above the working directory.
func moduleRoot() (string, error) {
	dir, err := os.Getwd()
	if err != nil {
		return "", err
	}
	for start := dir; ; dir = filepath.Dir(dir) {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			return dir, nil
		}
		if dir == "/" {
			return "", fmt.Errorf("no go.mod above %s", start)
		}
	}
}
