package testnet

import (
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// ownDirs are the directories that each host has for itself; they outlive its boots. Its /run is empty after each.
var ownDirs = []string{"/etc/cni", "/etc/fairway", "/opt/cni/bin", "/var/lib/cni", "/var/lib/etcd", "/var/lib/fairway"}

const bootIDFile = "/proc/sys/kernel/random/boot_id"

// furnish gives the mount and UTS namespaces that the calling thread is in to a host.
func (h *Host) furnish() error {
	if err := name(h.Name); err != nil {
		return err
	}
	// Not all mount points are there, and the machine is to have none for this.
	for _, dir := range []string{"/etc", "/opt", "/var/lib"} {
		if err := overlay(dir, filepath.Join(h.dir, "overlay", dir)); err != nil {
			return err
		}
	}
	for _, dir := range ownDirs {
		source := filepath.Join(h.dir, "own", dir)
		if dir == "/opt/cni/bin" && h.hosts.config.Plugins != "" {
			source = h.hosts.config.Plugins
		}
		if err := h.bindDir(source, dir); err != nil {
			return err
		}
	}
	if err := h.Home.show(h.dir); err != nil {
		return err
	}
	// The last: what the mounts before it come from may lie below /run.
	if err := Hide("/run"); err != nil {
		return err
	}
	return os.Mkdir(netnsDir, 0o755)
}

// furnishUnderlay does the same for the underlay, where etcd runs.
func (h *Hosts) furnishUnderlay() error {
	dir := filepath.Join(h.config.Dir, "underlay")
	if err := errors.Join(name("underlay"), h.under.show(dir), os.Mkdir(h.etcdDir(), 0o700)); err != nil {
		return err
	}
	// A ramfs takes memory for what is written alone. On a tmpfs, etcd would have 128 MiB reserved for each member
	// (fallocate(2)), of a /run that may not have more.
	if err := unix.Mount("ramfs", h.etcdDir(), "ramfs", 0, "mode=0700"); err != nil {
		return fmt.Errorf("mount -t ramfs ramfs %s: %w", h.etcdDir(), err)
	}
	return nil
}

// name gives a name to the namespaces that the calling thread is in, and keeps their mounts from the machine.
func name(hostname string) error {
	if err := unix.Sethostname([]byte(hostname)); err != nil {
		return fmt.Errorf("hostname %s: %w", hostname, err)
	}
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return fmt.Errorf("mount --make-rprivate /: %w", err)
	}
	return nil
}

func (h *Host) bindDir(source, dir string) error {
	for _, d := range []string{source, dir} {
		if err := os.MkdirAll(d, 0o755); err != nil {
			return err
		}
	}
	return bind(source, dir)
}

func bind(source, target string) error {
	if err := unix.Mount(source, target, "", unix.MS_BIND, ""); err != nil {
		return fmt.Errorf("mount --bind %s %s: %w", source, target, err)
	}
	return nil
}

// show puts the boot ID in the machine's place, in the mount namespace that the calling thread is in. The directory is for
// a file.
func (h home) show(dir string) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	file := filepath.Join(dir, "boot_id")
	if err := os.WriteFile(file, []byte(h.Boot+"\n"), 0o444); err != nil {
		return err
	}
	return bind(file, bootIDFile)
}

// newUUID is random (RFC 9562, 5.4).
func newUUID() string {
	var b [16]byte
	_, _ = rand.Read(b[:]) // it never fails (crypto/rand)
	b[6], b[8] = b[6]&0x0f|0x40, b[8]&0x3f|0x80
	return fmt.Sprintf("%x-%x-%x-%x-%x", b[:4], b[4:6], b[6:8], b[8:10], b[10:])
}
