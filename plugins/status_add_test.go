package plugins

import (
	"testing"

	"golang.org/x/sys/unix"

	"github.com/fairway-cni/fairway/pkg/testnet"
)

// TestStatusSaysWhatAddDoes: STATUS says no exactly where an ADD of any container fails, until somebody acts on the host.
func TestStatusSaysWhatAddDoes(t *testing.T) {
	bridge := func(t *testing.T) attachment { return bridgeOn(t, testnet.NewNS(t, "c")) }
	macvlan := func(t *testing.T) attachment {
		a, _ := macvlanOn(t, testnet.NewNS(t, "c"))
		return a
	}
	overlay := everyPlugin()["overlay-vxlan"]
	onHost := func(on func(*testing.T) attachment, commands ...string) func(*testing.T) attachment {
		return func(t *testing.T) attachment {
			a := on(t)
			for _, command := range commands {
				a.host.Sh(t, "sh", "-ec", command)
			}
			return a
		}
	}
	with := func(on func(*testing.T) attachment, key string, value any) func(*testing.T) attachment {
		return func(t *testing.T) attachment { return on(t).with(key, value) }
	}
	withIPAM := func(on func(*testing.T) attachment, key string, value any) func(*testing.T) attachment {
		return func(t *testing.T) attachment { return on(t).withIPAM(key, value) }
	}
	readOnly := func(on func(*testing.T) attachment) func(*testing.T) attachment {
		return func(t *testing.T) attachment {
			dir := t.TempDir()
			if err := unix.Mount("none", dir, "tmpfs", unix.MS_RDONLY, ""); err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() {
				if err := unix.Unmount(dir, 0); err != nil {
					t.Error(err)
				}
			})
			return on(t).withIPAM("dataDir", dir)
		}
	}
	inBridge := "ip link add br9 type bridge; ip link set lan0 master br9"
	for name, on := range map[string]func(*testing.T) attachment{
		"bridge":                      bridge,
		"bridge with another address": onHost(bridge, "ip link add br0 type bridge; ip addr add 10.9.0.1/24 dev br0"),
		"bridge with another address, force": with(onHost(bridge, "ip link add br0 type bridge; ip addr add 10.9.0.1/24 dev br0"),
			"forceAddress", true),
		"bridge with another address of layer 2": with(with(onHost(bridge, "ip link add br0 type bridge; ip addr add 10.9.0.1/24 dev br0"),
			"isDefaultGateway", nil), "ipam", nil),
		"bridge that is up already":       onHost(bridge, "ip link add br0 up type bridge"),
		"bridge's name is a veth's":       onHost(bridge, "ip link add br0 type veth peer name x0"),
		"VLAN":                            with(bridge, "vlan", 5),
		"VLAN on a bridge that is there":  with(onHost(bridge, "ip link add br0 type bridge"), "vlan", 5),
		"resolvConf that is missing":      withIPAM(bridge, "resolvConf", "/nowhere/resolv.conf"),
		"directory that is read-only":     readOnly(bridge),
		"ptp":                             everyPlugin()["ptp"],
		"macvlan":                         macvlan,
		"macvlan on a bridge's port":      onHost(macvlan, inBridge),
		"macvlan with hostAccess":         with(macvlan, "hostAccess", true),
		"macvlan on a master that's gone": onHost(macvlan, "ip link del lan0"),
		"macvlan on a master that's down": onHost(macvlan, "ip link set lan0 down"),
		"macvlan beyond the master's MTU": with(macvlan, "mtu", 9000),
		"overlay":                         overlay,
		"overlay beside another's VNI":    onHost(overlay, "ip link add flannel.9 type vxlan id 4096 dstport 4789 local 192.0.2.11"),
	} {
		t.Run(name, func(t *testing.T) {
			a := on(t)
			before := a.traces(t)
			status := a.statusCall().run(t, "STATUS")
			a.wantUnchanged(t, before)
			add := a.run(t, "ADD")
			if (add.code == 0) != (status.code == 0) {
				t.Errorf("ADD: %d %s%s\nSTATUS: %d %s%s", add.code, add.stdout, add.stderr, status.code, status.stdout, status.stderr)
			}
			if status.code != 0 {
				wantError(t, status, 50, "1.1.0")
			}
		})
	}
}
