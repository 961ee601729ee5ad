package bridging

import (
	"errors"
	"fmt"

	"golang.org/x/sys/unix"

	"github.com/fairway-cni/fairway/pkg/kernel"
	"github.com/fairway-cni/fairway/pkg/state"
)

// VLANGateway is the host's interface in one VLAN of a bridge, for the VLAN's gateway address: a veth whose other end is
// a port of the bridge.
type VLANGateway struct {
	Bridge string
	VLAN   uint16
	// KeepDefault keeps the port in the bridge's default VLAN as well.
	KeepDefault bool
}

// Link is the interface's name, as upstream has it: BRIDGE.VLAN.
func (g VLANGateway) Link() string { return fmt.Sprintf("%s.%d", g.Bridge, g.VLAN) }

// port is the name of the bridge's port: a hash, as the link's name may leave no room.
func (g VLANGateway) port() string {
	return state.Owner{ContainerID: g.Bridge, IfName: g.Link()}.HostLink()
}

func (g VLANGateway) vlans() PortVLANs {
	return PortVLANs{Port: g.port(), Native: g.VLAN, KeepDefault: g.KeepDefault}
}

func (g VLANGateway) String() string {
	return fmt.Sprintf("ip link add %s type veth peer name %s && ip link set %s up master %s && %s",
		g.port(), g.Link(), g.port(), g.Bridge, g.vlans())
}

// Ensure makes the pair unless it is there. The VLANs of one that is there are put right.
func (g VLANGateway) Ensure(k *kernel.Kernel) (bool, error) {
	err := k.AddVeth(kernel.VethPair{HostName: g.port(), HostGroup: state.BridgeGroup, ContainerName: g.Link(), MTU: k.PathMTU()})
	if errors.Is(err, unix.EEXIST) {
		state.IgnoreRouters(k, g.Link())
		return false, g.vlans().settle(k)
	}
	if err != nil {
		return false, err
	}
	state.IgnoreRouters(k, g.Link()) // before a container can reach it
	state.SkipDetection(k, g.Link())
	err = state.RaisePort(k, g.port(), g.Bridge, state.BridgeTag(g.Bridge))
	if err == nil {
		_, err = g.vlans().Ensure(k)
	}
	if err != nil {
		return false, errors.Join(err, state.RemoveLink(k.Host, g.port())) // nobody uses it yet
	}
	return true, nil
}

// Verify looks at both ends.
func (g VLANGateway) Verify(k *kernel.Kernel) error {
	_, err := state.VerifyLink(k.Host, state.Host, g.Link())
	return errors.Join(err, g.vlans().Verify(k), state.VerifyIgnoresRouters(k, g.Link()))
}

// Remove deletes the pair, unless containers are on the bridge, which others may have joined meanwhile.
func (g VLANGateway) Remove(k *kernel.Kernel) error {
	return k.TakeBack(func() error {
		used, err := inUse(k, g.Bridge)
		if used || err != nil {
			return err
		}
		return state.RemoveLink(k.Host, g.port())
	})
}
