package kernel

import (
	"fmt"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

// RaisePort raises a link of the host, makes it a port of a bridge and gives it an alias (ip link … alias) by one
// request. A master of 0 leaves it without a bridge.
func (k *Kernel) RaisePort(name string, master int, alias string) error {
	link := nl.NewIfInfomsg(unix.AF_UNSPEC)
	link.Flags, link.Change = unix.IFF_UP, unix.IFF_UP
	req := nl.NewNetlinkRequest(unix.RTM_NEWLINK, unix.NLM_F_ACK)
	req.AddData(link)
	req.AddData(nl.NewRtAttr(unix.IFLA_IFNAME, nl.ZeroTerminated(name)))
	req.AddData(nl.NewRtAttr(unix.IFLA_IFALIAS, []byte(alias)))
	if master != 0 {
		req.AddData(nl.NewRtAttr(unix.IFLA_MASTER, nl.Uint32Attr(uint32(master))))
	}
	k.Host.links.forget(k.Host, name)
	if err := k.Host.execute(req); err != nil {
		return fmt.Errorf("ip link set %s up: %w", name, err)
	}
	return nil
}

// PortFlags is what a port of a bridge does with frames (ip-link(8), "bridge_slave").
type PortFlags struct{ Hairpin, Isolated bool }

// PortFlags reads the flags of a port of the host by its index. A link that is no port has none set. The netlink library
// would list the ports of all bridges for it, and may miss one that way while others change.
func (k *Kernel) PortFlags(index int) (flags PortFlags, err error) {
	link := nl.NewIfInfomsg(unix.AF_UNSPEC)
	link.Index = int32(index)
	req := nl.NewNetlinkRequest(unix.RTM_GETLINK, 0)
	req.AddData(link)
	replies, err := k.Host.ask(messageOf(req))
	if err != nil {
		return flags, err
	}
	for _, reply := range replies {
		data := attribute(attribute(reply[unix.SizeofIfInfomsg:], unix.IFLA_LINKINFO), nl.IFLA_INFO_SLAVE_DATA)
		eachAttribute(data, func(kind uint16, value []byte) {
			switch kind {
			case nl.IFLA_BRPORT_MODE:
				flags.Hairpin = value[0] != 0
			case nl.IFLA_BRPORT_ISOLATED:
				flags.Isolated = value[0] != 0
			}
		})
	}
	return flags, nil
}
