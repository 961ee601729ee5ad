package agent

import (
	"errors"
	"log/slog"
	"sync"

	"github.com/vishvananda/netlink"
	"golang.zx2c4.com/wireguard/wgctrl/wgtypes"

	"github.com/fairway-cni/fairway/pkg/agentapi"
	"github.com/fairway-cni/fairway/pkg/kernel"
	"github.com/fairway-cni/fairway/pkg/state"
	"github.com/fairway-cni/fairway/pkg/state/wireguard"
	"github.com/fairway-cni/fairway/pkg/wgtun"
)

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
