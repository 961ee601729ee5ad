package wgtun_test

import (
	"testing"
	"time"

	"github.com/vishvananda/netlink"

	"github.com/fairway-cni/fairway/pkg/testnet"
	"github.com/fairway-cni/fairway/pkg/wgtun"
)

// TestDeviceIsUpWhenConfigured: what becomes of its link opens no socket, at a port that nobody has asked for.
func TestDeviceIsUpWhenConfigured(t *testing.T) {
	host := testnet.NewHost(t)
	devices := wgtun.New()
	t.Cleanup(devices.Close)
	attrs := netlink.NewLinkAttrs()
	attrs.Name, attrs.MTU = "wg0", 1440
	if err := host.Do(func() error { return devices.Make(nil, attrs) }); err != nil {
		t.Fatal(err)
	}
	host.Sh(t, "sh", "-c", "ip link set wg0 up && ip link set wg0 down && ip link set wg0 up mtu 1400")
	time.Sleep(200 * time.Millisecond) // nothing tells that WireGuard has heard of it
	if d, err := devices.Device("wg0"); err != nil || d.ListenPort != 0 {
		t.Errorf("a device that was not configured listens: %+v, %v", d, err)
	}
}
