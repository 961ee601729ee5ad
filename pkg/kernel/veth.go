package kernel

import (
	"fmt"
	"net"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

// VethPair describes both ends of a veth.
type VethPair struct {
	HostName string
	// HostGroup is the group of the host end (ip link … group), 0 for the default one.
	HostGroup uint32
	// In is the namespace of the other end, nil for the host's own.
	In            *Namespace
	ContainerName string
	ContainerMAC  net.HardwareAddr
	// ContainerDown leaves the container's end down.
	ContainerDown bool
	// MTU of both ends in bytes, 0 for the kernel's default of 1500.
	MTU int
}

// AddVeth makes a veth with both ends placed, named and addressed by one request; the container's end is up, the host's
// is not. The error wraps unix.EEXIST when either name is taken.
//
// The container's end is the request's own link, because the kernel refuses to raise a veth whose peer is not there yet
// and makes the peer first (veth_newlink). One queue each is enough for a device without a lock on its transmit path,
// and spares an RCU grace period when the kernel sets the number of queues. It is asked for from inside the container:
// before Linux 6.15 the name of a request's own link must be free in the namespace of the socket (rtnl_newlink).
func (k *Kernel) AddVeth(pair VethPair) error {
	k.Host.links.forget(k.Host, pair.HostName)
	if pair.In != nil {
		pair.In.links.forget(pair.In, pair.ContainerName)
	}
	err := k.addVeth(pair)
	if err != nil {
		return fmt.Errorf("ip link add %s type veth peer name %s: %w", pair.HostName, pair.ContainerName, err)
	}
	return nil
}

func (k *Kernel) addVeth(pair VethPair) error {
	if pair.In == nil {
		return k.Host.execute(pair.request())
	}
	host, done, err := k.own()
	if err != nil {
		return err
	}
	defer done()
	return pair.In.execute(pair.request(nl.NewRtAttr(unix.IFLA_NET_NS_FD, nl.Uint32Attr(uint32(host)))))
}

// request makes the pair; place is what puts the host's end in another namespace than that of the socket.
func (pair VethPair) request(place ...*nl.RtAttr) *nl.NetlinkRequest {
	link := nl.NewIfInfomsg(unix.AF_UNSPEC)
	if !pair.ContainerDown {
		link.Flags, link.Change = unix.IFF_UP, unix.IFF_UP
	}
	req := nl.NewNetlinkRequest(unix.RTM_NEWLINK, unix.NLM_F_CREATE|unix.NLM_F_EXCL|unix.NLM_F_ACK)
	req.AddData(link)
	req.AddData(nl.NewRtAttr(unix.IFLA_IFNAME, nl.ZeroTerminated(pair.ContainerName)))
	if pair.ContainerMAC != nil {
		req.AddData(nl.NewRtAttr(unix.IFLA_ADDRESS, pair.ContainerMAC))
	}
	req.AddData(nl.NewRtAttr(unix.IFLA_NUM_TX_QUEUES, nl.Uint32Attr(1)))
	req.AddData(nl.NewRtAttr(unix.IFLA_NUM_RX_QUEUES, nl.Uint32Attr(1)))
	if pair.MTU > 0 {
		req.AddData(nl.NewRtAttr(unix.IFLA_MTU, nl.Uint32Attr(uint32(pair.MTU))))
	}

	info := nl.NewRtAttr(unix.IFLA_LINKINFO, nil)
	info.AddRtAttr(nl.IFLA_INFO_KIND, nl.NonZeroTerminated("veth"))
	peer := info.AddRtAttr(nl.IFLA_INFO_DATA, nil).AddRtAttr(nl.VETH_INFO_PEER, nil)
	nl.NewIfInfomsgChild(peer, unix.AF_UNSPEC)
	peer.AddRtAttr(unix.IFLA_IFNAME, nl.ZeroTerminated(pair.HostName))
	peer.AddRtAttr(unix.IFLA_GROUP, nl.Uint32Attr(pair.HostGroup))
	peer.AddRtAttr(unix.IFLA_NUM_TX_QUEUES, nl.Uint32Attr(1))
	peer.AddRtAttr(unix.IFLA_NUM_RX_QUEUES, nl.Uint32Attr(1))
	if pair.MTU > 0 {
		peer.AddRtAttr(unix.IFLA_MTU, nl.Uint32Attr(uint32(pair.MTU)))
	}
	for _, attribute := range place {
		peer.AddChild(attribute)
	}
	req.AddData(info)
	return req
}
