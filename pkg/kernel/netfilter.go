package kernel

import (
	"errors"

	"github.com/google/nftables"
	"github.com/mdlayher/netlink"
	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

// sizeofGenmsg is the size of struct nfgenmsg, which begins each message: family, version, and a resource ID in network
// byte order.
const sizeofGenmsg = 4

// nftMessage is a message of the subsystem nftables.
func nftMessage(kind netlink.HeaderType, flags netlink.HeaderFlags, family nftables.TableFamily, attributes []byte) netlink.Message {
	return netlink.Message{
		Header: netlink.Header{Type: unix.NFNL_SUBSYS_NFTABLES<<8 | kind, Flags: netlink.Request | flags},
		Data:   append([]byte{byte(family), unix.NFNETLINK_V0, 0, 0}, attributes...),
	}
}

// batchMark begins or ends a transaction. Its resource ID is the subsystem.
func batchMark(mark netlink.HeaderType) netlink.Message {
	return netlink.Message{
		Header: netlink.Header{Type: mark, Flags: netlink.Request},
		Data:   []byte{unix.AF_UNSPEC, unix.NFNETLINK_V0, 0, unix.NFNL_SUBSYS_NFTABLES},
	}
}

// has says whether the kernel has the subsystem of a request. Without it, nfnetlink answers EINVAL to whatever it is asked
// (nfnetlink_rcv_msg); the request must have nothing in it that could be wrong.
func (k *Kernel) has(request *nl.NetlinkRequest) (bool, error) {
	_, err := k.ask(request)
	if errors.Is(err, unix.EINVAL) {
		return false, nil
	}
	return err == nil, err
}

// HasNftables says whether the kernel has nftables.
func (k *Kernel) HasNftables() (bool, error) {
	return k.has(nftRequest(unix.NFT_MSG_GETGEN, 0, nftables.TableFamilyUnspecified, nil))
}

// attribute is the value of the first attribute of a kind, or nil when there is none.
func attribute(attributes []byte, kind int) (found []byte) {
	eachAttribute(attributes, func(k uint16, value []byte) {
		if found == nil && int(k) == kind {
			found = value
		}
	})
	return found
}
