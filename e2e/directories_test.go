package e2e

import (
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// The directories that runtimes use unless told otherwise. Some cannot be told.
const (
	confDir   = "/etc/cni/net.d"
	pluginDir = "/opt/cni/bin"
	leaseDir  = "/var/lib/cni/networks"
	podmanDir = "/var/lib/containers" // podman keeps a cache there, wherever its storage is
	locksDir  = "/dev/shm"            // and the locks of its containers
	netnsDir  = "/run/netns"
)

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

// installPlugins fills the plugin directory as `make install` does, and adds upstream's dhcp.
func installPlugins() error {
	root, err := moduleRoot()
	if err != nil {
		return err
	}
	links := map[string]string{
		"bridge": "bin/bridge", "host": "bin/host", "macvlan": "bin/macvlan", "none": "bin/none", "loopback": "bin/none",
		"host-local": "bin/host-local", "overlay-vxlan": "bin/overlay-vxlan",
		"portmap": "bin/portmap", "firewall": "bin/firewall", "tuning": "bin/tuning", "bandwidth": "bin/bandwidth", "static": "bin/static",
		"dhcp": ".tools/dhcp",
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
