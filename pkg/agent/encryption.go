package agent

import (
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"path/filepath"
	"sync"

	"github.com/vishvananda/netlink"
	"golang.zx2c4.com/wireguard/wgctrl/wgtypes"

	"github.com/fairway-cni/fairway/pkg/agentapi"
	"github.com/fairway-cni/fairway/pkg/kernel"
	"github.com/fairway-cni/fairway/pkg/overlay"
	"github.com/fairway-cni/fairway/pkg/state"
	"github.com/fairway-cni/fairway/pkg/state/wireguard"
	"github.com/fairway-cni/fairway/pkg/wgkey"
	"github.com/fairway-cni/fairway/pkg/wgtun"
)

// keyring is this host's key for encrypted networks. It is made with the first of these that the host is a member of, and lies in the
// state directory, which survives a reboot. It may be used by several goroutines.
type keyring struct {
	mu   sync.Mutex
	file string
	key  *wgkey.Private // nil: not read yet
}

func newKeyring(stateDir string) *keyring {
	return &keyring{file: filepath.Join(stateDir, "wireguard.key")}
}

var errNoKey = errors.New("this host has no key for encrypted networks")

// private is the key, if there is one. The error wraps errNoKey when there is none.
func (r *keyring) private() (wgkey.Private, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.read()
}

func (r *keyring) read() (wgkey.Private, error) {
	if r.key != nil {
		return *r.key, nil
	}
	key, err := wgkey.Read(r.file)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return key, errNoKey
	case err != nil:
		return key, fmt.Errorf("key of this host: %w: remove the file, and the next start of fairwayd makes another", err)
	}
	r.key = &key
	return key, nil
}

// public is the public key, zero without one.
func (r *keyring) public() overlay.Key {
	key, err := r.private()
	if err != nil {
		return overlay.Key{}
	}
	return key.Public()
}

// ensure makes the key unless there is one, and says whether it did.
func (r *keyring) ensure() (made bool, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if _, err := r.read(); !errors.Is(err, errNoKey) {
		return false, err
	}
	key, err := wgkey.Create(r.file)
	if err != nil {
		return false, fmt.Errorf("key of this host: %w", err)
	}
	r.key = &key
	slog.Info("made the key of this host for encrypted networks", "public", key.Public())
	return true, nil
}

// mayEncrypt says whether this host can be on an encrypted network: who writes the registry says whose keys are believed, so that it
// has to be protected, and the host has to have a key.
func (a *Agent) mayEncrypt(n agentapi.Network) error {
	if !n.Encrypted {
		return nil
	}
	if err := a.trusts(); err != nil {
		return err
	}
	made, err := a.keys.ensure()
	if made {
		a.askRemote()
	}
	return err
}

// trusts says whether the registry is one that may say whose keys are believed.
func (a *Agent) trusts() error {
	if a.config.InsecureRegistry || a.config.TLS != nil && a.config.TLS.Mutual() {
		return nil
	}
	return errors.New("it is encrypted, and who can write to etcd decides whose keys are believed: " +
		"reach etcd by https with --etcd-cert and --etcd-key, or say --insecure-registry where nobody else can reach etcd")
}

// devices are the kernel's WireGuard, or this process's where the kernel has none.
type devices struct {
	kernel wireguard.Kernel
	own    *wgtun.Devices
	mu     sync.Mutex
	kind   string // of agentapi.Health
}

var _ wireguard.Driver = (*devices)(nil)

func newDevices() *devices { return &devices{own: wgtun.New()} }

const (
	byKernel = "kernel"
	byItself = "userspace"
)

// Make tries the kernel first.
func (d *devices) Make(k *kernel.Kernel, attrs netlink.LinkAttrs) error {
	err := d.kernel.Make(k, attrs)
	if !errors.Is(err, state.ErrUnsupported) {
		if err == nil {
			d.uses(byKernel)
		}
		return err
	}
	own := d.own.Make(k, attrs)
	if own == nil && d.uses(byItself) {
		slog.Warn("the kernel has no WireGuard: fairwayd encrypts by itself, which is slower, and while it does not run, encrypted networks have no way to other hosts",
			"error", err)
	}
	return own
}

func (d *devices) uses(kind string) (news bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	news, d.kind = d.kind != kind, kind
	return news
}

func (d *devices) used() string {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.kind
}

// Made says whether a link is the kernel's, or one of this process. Those of a process that has ended went with it.
func (d *devices) Made(link netlink.Link) bool {
	if d.kernel.Made(link) {
		d.uses(byKernel)
		return true
	}
	return d.own.Made(link)
}

func (d *devices) of(name string) wireguard.Driver {
	if d.own.Has(name) {
		return d.own
	}
	return d.kernel
}

func (d *devices) Device(name string) (*wgtypes.Device, error) { return d.of(name).Device(name) }
func (d *devices) Configure(name string, c wgtypes.Config) error {
	return d.of(name).Configure(name, c)
}
