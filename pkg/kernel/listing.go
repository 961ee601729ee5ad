package kernel

import (
	"encoding/binary"
	"slices"

	"github.com/google/nftables"
	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

// Elements lists the elements of a set. The error wraps unix.ENOENT when there is no such set.
//
// A listing of many elements comes in parts, and the kernel goes on from a count: an element that goes meanwhile makes it
// skip another one, which it does not say (there is no NLM_F_DUMP_INTR for sets). So the listing is made again when the
// rules have changed, and holds what any of the tries has found: an element that stays is not skipped every time. The
// nftables library neither does that nor says which error a listing got.
func (k *Kernel) Elements(set *nftables.Set) ([]Element, error) {
	attributes, err := encodeElements(set, nil)
	if err != nil {
		return nil, err
	}
	const tries = 16
	var found []Element
	for range tries {
		parts, err := k.ask(nftRequest(unix.NFT_MSG_GETSETELEM, unix.NLM_F_DUMP, set.Table.Family, attributes))
		if err != nil {
			return nil, err
		}
		some, err := decodeAll(set, parts)
		if err != nil {
			return nil, err
		}
		unchanged, err := k.unchanged(parts)
		if unchanged || err != nil {
			return some, err
		}
		found = merge(found, some)
	}
	return found, nil
}

// merge appends the elements that are not among those found.
func merge(found, others []Element) []Element {
	keys := make(map[string]bool)
	for _, e := range found {
		keys[string(e.Key)] = true
	}
	for _, e := range others {
		if !keys[string(e.Key)] {
			found = append(found, e)
		}
	}
	return found
}

// unchanged says whether the rules are still those of the first part: each part tells the generation that it is of, by
// its lower sixteen bits (nfnl_msg_put). A single part is made in one go.
func (k *Kernel) unchanged(parts [][]byte) (bool, error) {
	if len(parts) < 2 {
		return true, nil
	}
	now, err := k.ask(nftRequest(unix.NFT_MSG_GETGEN, 0, nftables.TableFamilyUnspecified, nil))
	if err != nil {
		return false, err
	}
	changed := func(part []byte) bool { return generation(part) != generation(parts[0]) }
	return !slices.ContainsFunc(append(parts, now...), changed), nil
}

// generation is the resource ID of a reply.
func generation(reply []byte) uint16 { return binary.BigEndian.Uint16(reply[2:sizeofGenmsg]) }

// Element looks up one element of a set by its key. The error wraps unix.ENOENT when there is none, or no such set.
func (k *Kernel) Element(set *nftables.Set, key []byte) (Element, error) {
	attributes, err := encodeElements(set, []Element{{Set: set, Key: key}})
	if err != nil {
		return Element{}, err
	}
	replies, err := k.ask(nftRequest(unix.NFT_MSG_GETSETELEM, 0, set.Table.Family, attributes))
	if err != nil {
		return Element{}, err
	}
	found, err := decodeAll(set, replies)
	if err == nil && len(found) == 0 {
		err = unix.ENOENT
	}
	if err != nil {
		return Element{}, err
	}
	return found[0], nil
}

// nftRequest is a request of the subsystem nftables that changes nothing.
func nftRequest(kind, flags int, family nftables.TableFamily, attributes []byte) *nl.NetlinkRequest {
	request := nl.NewNetlinkRequest(unix.NFNL_SUBSYS_NFTABLES<<8|kind, flags)
	request.AddData(&nl.Nfgenmsg{NfgenFamily: uint8(family), Version: unix.NFNETLINK_V0})
	request.AddRawData(attributes)
	return request
}

// ask sends a request of netfilter and receives its replies. The library reads with a large buffer, by which the kernel sizes
// the parts of a listing.
func (k *Kernel) ask(request *nl.NetlinkRequest) ([][]byte, error) {
	return k.execute(unix.NETLINK_NETFILTER, request)
}
