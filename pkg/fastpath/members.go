package fastpath

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"strings"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/fairway-cni/fairway/pkg/kernel"
	"github.com/fairway-cni/fairway/pkg/overlay"
	"github.com/fairway-cni/fairway/pkg/state"
	"github.com/fairway-cni/fairway/pkg/state/ports"
	"github.com/fairway-cni/fairway/pkg/state/ruleset"
)

// candidate is a link that packets may be carried from and to.
type candidate struct {
	netlink.Link
	memberOf
}

// candidates are the devices of overlay networks, and the host's ends of their containers, by index. Left out is what others have to see on
// its way: of containers that have published ports, whose answers are translated back, and of links with a queueing discipline or filters.
func candidates(k *kernel.Kernel) (map[uint32]candidate, error) {
	links, err := kernel.Dump(k.Host.LinkList)
	if err != nil {
		return nil, fmt.Errorf("ip link show: %w", err)
	}
	networks := map[uint32]uint32{} // VNI, by device group
	for _, link := range links {
		if vni, is := networkOf(link); is {
			networks[link.Attrs().Group] = vni
		}
	}
	if len(networks) == 0 {
		return nil, nil
	}
	published, err := ports.ByOwner(k)
	if err != nil {
		return nil, err
	}
	queues, err := queues(k)
	if err != nil {
		return nil, err
	}
	found := map[uint32]candidate{}
	for _, link := range links {
		attrs := link.Attrs()
		network, is := networks[attrs.Group]
		_, device := networkOf(link)
		container := link.Type() == "veth" && state.IsTag(attrs.Alias) && published[attrs.Alias] == nil
		if !is || !device && !container || attrs.Flags&net.FlagUp == 0 || queues[attrs.Index] == shaped {
			continue
		}
		if queues[attrs.Index] == filtered {
			others, err := filtersOfOthers(link)
			if errors.Is(err, unix.ENODEV) || others {
				continue // gone meanwhile, or theirs
			}
			if err != nil {
				return nil, err
			}
		}
		m := memberOf{Network: network}
		if device {
			m.Device = 1
		}
		found[uint32(attrs.Index)] = candidate{link, m}
	}
	return found, nil
}

// networkOf is the VNI of an overlay network's device that is complete.
func networkOf(link netlink.Link) (vni uint32, is bool) {
	d, is := link.(*netlink.Vxlan)
	if !is || !strings.HasPrefix(d.Alias, state.OverlayPrefix) || d.Attrs().Group != state.Group(strings.TrimPrefix(d.Alias, state.OverlayPrefix)) {
		return 0, false
	}
	return uint32(d.VxlanId), true
}

// What a link has of queueing disciplines: nothing, a place for filters, or something by which others limit or shape what passes.
const (
	filtered = iota + 1
	shaped
)

func queues(k *kernel.Kernel) (map[int]int, error) {
	all, err := kernel.Dump(func() ([]netlink.Qdisc, error) { return k.Host.QdiscList(nil) })
	if err != nil {
		return nil, fmt.Errorf("tc qdisc show: %w", err)
	}
	found := map[int]int{}
	for _, q := range all {
		at := q.Attrs().LinkIndex
		switch q.Type() {
		case "noqueue":
		case "clsact":
			found[at] = max(found[at], filtered)
		default:
			found[at] = shaped
		}
	}
	return found, nil
}

// tunnels are the UDP ports of VXLAN, as they are on the wire.
func tunnels(k *kernel.Kernel) (map[uint32]bool, error) {
	numbers, err := ruleset.TunnelPorts(k)
	found := map[uint32]bool{}
	for _, port := range append(numbers, overlay.DefaultPort) {
		found[uint32(binary.NativeEndian.Uint16(binary.BigEndian.AppendUint16(nil, port)))] = true
	}
	return found, err
}
