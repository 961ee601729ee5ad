// Package wgtun is WireGuard in this process, by wireguard-go over TUN devices, for kernels without it. A device lives as long as the
// process: what is routed to it is unreachable from then on.
//
// Only the node agent links it. It needs CAP_NET_ADMIN and /dev/net/tun.
package wgtun

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"sync"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
	"golang.zx2c4.com/wireguard/conn"
	"golang.zx2c4.com/wireguard/device"
	"golang.zx2c4.com/wireguard/tun"
	"golang.zx2c4.com/wireguard/wgctrl/wgtypes"

	"github.com/fairway-cni/fairway/pkg/kernel"
	"github.com/fairway-cni/fairway/pkg/state"
	"github.com/fairway-cni/fairway/pkg/state/wireguard"
)

// Devices are the WireGuard devices of this process. It may be used by several goroutines.
type Devices struct {
	mu  sync.Mutex
	all map[string]*running
}

var _ wireguard.Driver = (*Devices)(nil)

type running struct {
	*device.Device
	index int // of the link: one made anew by somebody else is not ours
}

// New has no device yet.
func New() *Devices { return &Devices{all: make(map[string]*running)} }

// Make makes a TUN device in the namespace of the calling thread, and WireGuard on it.
func (d *Devices) Make(_ *kernel.Kernel, attrs netlink.LinkAttrs) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if old := d.all[attrs.Name]; old != nil {
		old.Close() // its link is gone
		delete(d.all, attrs.Name)
	}
	link, err := tun.CreateTUN(attrs.Name, attrs.MTU)
	switch {
	case errors.Is(err, unix.EBUSY):
		return fmt.Errorf("ip tuntap add %s mode tun: %w: %w", attrs.Name, unix.EEXIST, err)
	case errors.Is(err, os.ErrNotExist), errors.Is(err, unix.ENODEV), errors.Is(err, unix.ENXIO):
		return fmt.Errorf("%s: WireGuard (CONFIG_WIREGUARD) and TUN (CONFIG_TUN) are %w: %w", attrs.Name, state.ErrUnsupported, err)
	case err != nil:
		return fmt.Errorf("ip tuntap add %s mode tun: %w", attrs.Name, err)
	}
	found, err := net.InterfaceByName(attrs.Name)
	if err != nil {
		return errors.Join(err, link.Close())
	}
	running := &running{device.NewDevice(newSteady(link), newOrderly(conn.NewDefaultBind()), logger(attrs.Name)), found.Index}
	// Endpoints are those that are declared, whatever address a peer's packets come from.
	running.DisableSomeRoamingForBrokenMobileSemantics()
	d.all[attrs.Name] = running
	return nil
}

// Made says whether a link is one of this process, which works.
func (d *Devices) Made(link netlink.Link) bool {
	found, err := d.find(link.Attrs().Name)
	return err == nil && found.index == link.Attrs().Index
}

// find is a device that works. One whose link was deleted closes itself. The error wraps os.ErrNotExist.
func (d *Devices) find(name string) (*running, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	found := d.all[name]
	if found == nil {
		return nil, fmt.Errorf("wireguard device %s of this process: %w", name, os.ErrNotExist)
	}
	select {
	case <-found.Wait():
		delete(d.all, name)
		return nil, fmt.Errorf("wireguard device %s of this process: %w", name, os.ErrNotExist)
	default:
		return found, nil
	}
}

// Has says whether there is a device of that name, which works.
func (d *Devices) Has(name string) bool {
	_, err := d.find(name)
	return err == nil
}

// Device reads how a device is configured.
func (d *Devices) Device(name string) (*wgtypes.Device, error) {
	found, err := d.find(name)
	if err != nil {
		return nil, err
	}
	text, err := found.IpcGet()
	if err != nil {
		return nil, err
	}
	return parse(name, text)
}

// Configure changes a device, and has it send and receive. A port that is taken is an error that wraps unix.EADDRINUSE.
func (d *Devices) Configure(name string, c wgtypes.Config) error {
	found, err := d.find(name)
	if err != nil {
		return err
	}
	if err := found.IpcSet(format(c)); err != nil {
		return err
	}
	return found.Up()
}

// Close ends all devices, and with them their links.
func (d *Devices) Close() {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, one := range d.all {
		one.Close()
	}
	clear(d.all)
}

// logger logs what is wrong; packets that cannot be sent while a peer is away are no news.
func logger(name string) *device.Logger {
	log := slog.With("device", name)
	return &device.Logger{
		Verbosef: device.DiscardLogf,
		Errorf:   func(format string, args ...any) { log.Debug("wireguard", "event", fmt.Sprintf(format, args...)) },
	}
}
