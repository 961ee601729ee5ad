package bridging

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/fairway-cni/fairway/pkg/kernel"
	"github.com/fairway-cni/fairway/pkg/state"
)

// PortVLANs is the VLANs of a bridge port.
type PortVLANs struct {
	state.Attribute
	Port string
	// Native is the VLAN of untagged frames, 0 for the bridge's default.
	Native uint16
	// Tagged are the VLANs of a trunk.
	Tagged []uint16
	// KeepDefault keeps the VLANs that the port got from the bridge's default.
	KeepDefault bool
}

func (p PortVLANs) String() string {
	var lines []string
	if !p.KeepDefault {
		lines = append(lines, "bridge vlan del dev "+p.Port+" vid 1")
	}
	if p.Native != 0 {
		lines = append(lines, fmt.Sprintf("bridge vlan add dev %s vid %d pvid untagged", p.Port, p.Native))
	}
	for _, vid := range p.Tagged {
		lines = append(lines, fmt.Sprintf("bridge vlan add dev %s vid %d", p.Port, vid))
	}
	return strings.Join(lines, " && ")
}

// Ensure brings the port into its VLANs.
func (p PortVLANs) Ensure(k *kernel.Kernel) (bool, error) {
	link, err := k.Host.Link(p.Port)
	if err != nil {
		return false, err
	}
	if !p.KeepDefault {
		if err := p.dropOthers(k, link); err != nil {
			return false, err
		}
	}
	for _, vid := range p.all() {
		native := vid == p.Native
		if err := k.Host.BridgeVlanAdd(link, vid, native, native); err != nil {
			return false, fmt.Errorf("bridge vlan add dev %s vid %d: %w", p.Port, vid, vlanError(err))
		}
	}
	return true, nil
}

// settle brings a port that is in use into its VLANs, and out of others.
func (p PortVLANs) settle(k *kernel.Kernel) error {
	link, err := k.Host.Link(p.Port)
	if err != nil {
		return err
	}
	have, err := portVLANs(k, link)
	if err != nil {
		return err
	}
	for _, vid := range p.all() {
		native := vid == p.Native
		if is, ok := have[vid]; ok && is == native {
			continue
		}
		if err := k.Host.BridgeVlanAdd(link, vid, native, native); err != nil {
			return fmt.Errorf("bridge vlan add dev %s vid %d: %w", p.Port, vid, vlanError(err))
		}
	}
	if _, in := have[defaultVLAN]; p.KeepDefault && !in {
		if err := k.Host.BridgeVlanAdd(link, defaultVLAN, false, true); err != nil {
			return fmt.Errorf("bridge vlan add dev %s vid %d untagged: %w", p.Port, defaultVLAN, vlanError(err))
		}
	}
	for vid := range have {
		if slices.Contains(p.all(), vid) || p.KeepDefault && vid == defaultVLAN {
			continue
		}
		if err := k.Host.BridgeVlanDel(link, vid); err != nil {
			return fmt.Errorf("bridge vlan del dev %s vid %d: %w", p.Port, vid, vlanError(err))
		}
	}
	return nil
}

func (p PortVLANs) all() []uint16 {
	if p.Native == 0 {
		return p.Tagged
	}
	return append([]uint16{p.Native}, p.Tagged...)
}

func (p PortVLANs) dropOthers(k *kernel.Kernel, link netlink.Link) error {
	have, err := portVLANs(k, link)
	if err != nil {
		return err
	}
	for vid := range have {
		if err := k.Host.BridgeVlanDel(link, vid); err != nil {
			return fmt.Errorf("bridge vlan del dev %s vid %d: %w", p.Port, vid, vlanError(err))
		}
	}
	return nil
}

// portVLANs maps the VLANs of a port to whether the VLAN is the native one.
func portVLANs(k *kernel.Kernel, link netlink.Link) (map[uint16]bool, error) {
	list, err := kernel.Retry(k.Host.BridgeVlanList)
	if err != nil {
		return nil, fmt.Errorf("bridge vlan show dev %s: %w", link.Attrs().Name, vlanError(err))
	}
	have := make(map[uint16]bool)
	for _, info := range list[int32(link.Attrs().Index)] {
		have[info.Vid] = info.PortVID()
	}
	return have, nil
}

// vlanError names the feature when the kernel lacks it.
func vlanError(err error) error {
	if errors.Is(err, unix.EOPNOTSUPP) {
		return fmt.Errorf("keys vlan and vlanTrunk need bridge VLAN filtering (CONFIG_BRIDGE_VLAN_FILTERING), %w: remove them, or use a kernel that has it", state.ErrUnsupported)
	}
	return err
}

// Verify looks for every VLAN.
func (p PortVLANs) Verify(k *kernel.Kernel) error {
	link, err := k.Host.Link(p.Port)
	if err != nil {
		return state.IgnoreNotFound(err) // the link's own Verify says so
	}
	have, err := portVLANs(k, link)
	if err != nil {
		return err
	}
	var errs []error
	for _, vid := range p.all() {
		if native, ok := have[vid]; !ok || native != (vid == p.Native) {
			errs = append(errs, state.Driftf("port %s is not in VLAN %d as declared", p.Port, vid))
		}
	}
	return errors.Join(errs...)
}
