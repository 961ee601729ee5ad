package kernel

import (
	"fmt"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

// RenameUp gives a link that is down another name and raises it, by one request. The error wraps unix.EEXIST when the name
// is taken.
func (n *Namespace) RenameUp(link netlink.Link, name string) error {
	msg := nl.NewIfInfomsg(unix.AF_UNSPEC)
	msg.Index, msg.Flags, msg.Change = int32(link.Attrs().Index), unix.IFF_UP, unix.IFF_UP
	req := nl.NewNetlinkRequest(unix.RTM_NEWLINK, unix.NLM_F_ACK)
	req.AddData(msg)
	req.AddData(nl.NewRtAttr(unix.IFLA_IFNAME, nl.ZeroTerminated(name)))
	n.Forget(link.Attrs().Name)
	n.Forget(name)
	if err := n.execute(req); err != nil {
		return fmt.Errorf("ip link set %s name %s up: %w", link.Attrs().Name, name, err)
	}
	return nil
}
