package kernel

import (
	"encoding/binary"
	"errors"
	"hash/maphash"
	"slices"

	"github.com/google/nftables"
	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

// Elements lists the elements of a set. The error wraps unix.ENOENT when there is no such set.
func (k *Kernel) Elements(set *nftables.Set) ([]Element, error) {
	return k.ElementsWhere(set, func(Element) bool { return true })
}

// ElementsWhere lists those elements of a set that are wanted: one container's among the thousands of a host, without a copy of each.
// The error is that of Elements.
func (k *Kernel) ElementsWhere(set *nftables.Set, wanted func(Element) bool) (found []Element, err error) {
	again := false
	err = k.eachElement(set, func(e Element, try int) {
		if !wanted(e) {
			return
		}
		again = again || try > 0
		e.Key, e.KeyEnd, e.Data, e.Note = slices.Clone(e.Key), slices.Clone(e.KeyEnd), slices.Clone(e.Data), slices.Clone(e.Note)
		found = append(found, e)
	})
	if again {
		found = once(found)
	}
	return found, err
}

// EachElement calls each with what Elements lists, some of it more than once. A key is good until each returns.
func (k *Kernel) EachElement(set *nftables.Set, each func(Element)) error {
	return k.eachElement(set, func(e Element, _ int) { each(e) })
}

// eachElement also tells which try has found an element.
//
// A listing of many elements comes in parts, and the kernel goes on from a count: an element that goes meanwhile makes it
// skip another one, which it does not say (there is no NLM_F_DUMP_INTR for sets). So does a table that is still growing
// after many were added: it changes their order, by which others come twice. So the listing is made again when the rules
// have changed or an element came twice, and gives what any of the tries has found: one that stays is not skipped every
// time. The nftables library neither does that nor says which error a listing got, and its decoder takes ten times as long,
// which a set with the thousand peers of an overlay network has in each ADD.
func (k *Kernel) eachElement(set *nftables.Set, each func(e Element, try int)) error {
	attributes, err := encodeElements(set, nil)
	if err != nil {
		return err
	}
	request := nftMessage(unix.NFT_MSG_GETSETELEM, unix.NLM_F_DUMP, set.Table.Family, attributes)
	const tries = 16
	seed := maphash.MakeSeed()
	var keys []uint64
	for try := range tries {
		var generations []uint16 // of the parts
		keys = keys[:0]
		d := decoder{set: set, each: func(e Element) {
			keys = append(keys, maphash.Bytes(seed, e.Key))
			each(e, try)
		}}
		if err := k.listNetfilter(request, func(part []byte) {
			generations = append(generations, generation(part))
			d.decode(part)
		}); err != nil {
			return err
		}
		unchanged, err := k.unchanged(generations)
		if err != nil || unchanged && (len(generations) < 2 || !repeats(keys)) {
			return err
		}
	}
	return nil
}

// repeats says whether a hash comes twice.
func repeats(hashes []uint64) bool {
	slices.Sort(hashes)
	for i := range hashes {
		if i > 0 && hashes[i] == hashes[i-1] {
			return true
		}
	}
	return false
}

// once is the elements without those that were listed again.
func once(elements []Element) []Element {
	seen := make(map[string]bool)
	return slices.DeleteFunc(elements, func(e Element) bool {
		again := seen[string(e.Key)]
		seen[string(e.Key)] = true
		return again
	})
}

// unchanged says whether the rules are still those of the first part: each part tells the generation that it is of, by
// its lower sixteen bits (nfnl_msg_put). A single part is made in one go.
func (k *Kernel) unchanged(parts []uint16) (bool, error) {
	if len(parts) < 2 {
		return true, nil
	}
	now, err := k.ask(nftRequest(unix.NFT_MSG_GETGEN, 0, nftables.TableFamilyUnspecified, nil))
	if err != nil {
		return false, err
	}
	for _, reply := range now {
		parts = append(parts, generation(reply))
	}
	return !slices.ContainsFunc(parts, func(g uint16) bool { return g != parts[0] }), nil
}

// generation is the resource ID of a reply.
func generation(reply []byte) uint16 { return binary.BigEndian.Uint16(reply[2:sizeofGenmsg]) }

// Element looks up one element of a set by its key. The error wraps unix.ENOENT when there is none, or no such set.
func (k *Kernel) Element(set *nftables.Set, key []byte) (Element, error) {
	found, err := k.ElementsAt([]Element{{Set: set, Key: key}})
	if err == nil && len(found) == 0 {
		err = unix.ENOENT
	}
	if err != nil {
		return Element{}, err
	}
	return found[0], nil
}

// perQuestion keeps the answers within a socket's default buffer, of which the kernel takes two pages for each.
const perQuestion = 16

// ElementsAt looks up elements by their sets and keys, in one datagram for many. Those that are not there, with or without their sets, are
// left out.
func (k *Kernel) ElementsAt(wanted []Element) (found []Element, err error) {
	s, err := k.protocol(unix.NETLINK_NETFILTER)
	if err != nil {
		return nil, err
	}
	for chunk := range slices.Chunk(wanted, perQuestion) {
		requests := make([]Message, 0, len(chunk))
		for _, e := range chunk {
			attributes, err := encodeElements(e.Set, []Element{{Key: e.Key}})
			if err != nil {
				return nil, err
			}
			requests = append(requests, messageOf(nftRequest(unix.NFT_MSG_GETSETELEM, 0, e.Set.Table.Family, attributes)))
		}
		all, err := s.ask(requests)
		if err != nil {
			return nil, err
		}
		for i, a := range all {
			if a.err != nil && !errors.Is(a.err, unix.ENOENT) {
				return nil, a.err
			}
			d := decoder{set: chunk[i].Set, each: func(e Element) { found = append(found, e) }}
			for _, reply := range a.objects {
				d.decode(reply)
			}
		}
	}
	return found, nil
}

// nftRequest is a request of the subsystem nftables that changes nothing.
func nftRequest(kind, flags int, family nftables.TableFamily, attributes []byte) *nl.NetlinkRequest {
	request := nl.NewNetlinkRequest(unix.NFNL_SUBSYS_NFTABLES<<8|kind, flags)
	request.AddData(&nl.Nfgenmsg{NfgenFamily: uint8(family), Version: unix.NFNETLINK_V0})
	request.AddRawData(attributes)
	return request
}
