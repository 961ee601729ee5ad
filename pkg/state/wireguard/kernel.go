package wireguard

import (
	"errors"
	"fmt"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
	"golang.zx2c4.com/wireguard/wgctrl"
	"golang.zx2c4.com/wireguard/wgctrl/wgtypes"

	"github.com/fairway-cni/fairway/pkg/kernel"
	"github.com/fairway-cni/fairway/pkg/state"
)

// Kernel is the kernel's WireGuard (CONFIG_WIREGUARD, Linux 5.6).
type Kernel struct{}

// Make makes a device, which loads the module.
func (Kernel) Make(k *kernel.Kernel, attrs netlink.LinkAttrs) error {
	err := k.Host.LinkAdd(&netlink.Wireguard{LinkAttrs: attrs})
	if errors.Is(err, unix.EOPNOTSUPP) {
		return fmt.Errorf("%s: WireGuard (CONFIG_WIREGUARD) is %w: without it, fairwayd alone can encrypt networks: %w", attrs.Name, state.ErrUnsupported, err)
	}
	if err != nil {
		return fmt.Errorf("ip link add %s type wireguard: %w", attrs.Name, err)
	}
	return nil
}

func (Kernel) Made(link netlink.Link) bool { return link.Type() == "wireguard" }

// Device opens a client each time: it finds the kernel's family only after a device was made.
func (Kernel) Device(name string) (d *wgtypes.Device, err error) {
	err = with(func(c *wgctrl.Client) error {
		d, err = c.Device(name)
		return err
	})
	return d, err
}

func (Kernel) Configure(name string, config wgtypes.Config) error {
	return with(func(c *wgctrl.Client) error { return c.ConfigureDevice(name, config) })
}

func with(f func(*wgctrl.Client) error) error {
	client, err := wgctrl.New()
	if err != nil {
		return fmt.Errorf("generic netlink: %w", err)
	}
	return errors.Join(f(client), client.Close())
}
