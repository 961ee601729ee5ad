package kernel

import (
	"encoding/binary"
	"fmt"
	"slices"

	"github.com/google/nftables"
	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
)

// AddElements adds elements in one transaction, each of which must be new. The error wraps unix.EEXIST when one is there,
// and unix.ENOENT when a set or chain is missing; then nothing was added.
func (k *Kernel) AddElements(elements []Element) error { return k.ReplaceElements(nil, elements) }

// DeleteElements deletes elements by their keys in one transaction. The error wraps unix.ENOENT when one is missing; then
// nothing was deleted.
func (k *Kernel) DeleteElements(elements []Element) error { return k.ReplaceElements(elements, nil) }

// ReplaceElements deletes elements and adds others in one transaction, so that no packet sees the set without either.
// The errors are those of AddElements and DeleteElements.
//
// The nftables library has no way to insist on a new element (NLM_F_EXCL), and without it the kernel ignores the new
// comment of an element that is there. It also asks for an answer to each message, which for many overruns the socket.
//
// Without elements nothing is sent: to a transaction without a message, only newer kernels give an answer.
func (k *Kernel) ReplaceElements(old, added []Element) error {
	return k.replace(batchMark(unix.NFNL_MSG_BATCH_BEGIN), old, added)
}

// ReplaceUnchanged is ReplaceElements for who has looked at a generation of the ruleset. The error wraps unix.ERESTART when it is another
// one by now; then nothing was changed.
func (k *Kernel) ReplaceUnchanged(generation uint32, old, added []Element) error {
	begin := batchMark(unix.NFNL_MSG_BATCH_BEGIN)
	begin.Data = appendAttribute(begin.Data, unix.NFNL_BATCH_GENID, binary.BigEndian.AppendUint32(nil, generation))
	return k.replace(begin, old, added)
}

// Generation is the number of the ruleset as it is: each transaction makes another one.
func (k *Kernel) Generation() (uint32, error) {
	now, err := k.ask(nftRequest(unix.NFT_MSG_GETGEN, 0, nftables.TableFamilyUnspecified, nil))
	if err != nil {
		return 0, err
	}
	for _, reply := range now {
		if number := attribute(reply[sizeofGenmsg:], unix.NFTA_GEN_ID); len(number) == 4 {
			return binary.BigEndian.Uint32(number), nil
		}
	}
	return 0, fmt.Errorf("the kernel does not say which generation its ruleset is: %w", unix.EPROTO)
}

func (k *Kernel) replace(begin netlink.Message, old, added []Element) error {
	if len(old)+len(added) == 0 {
		return nil
	}
	messages := []netlink.Message{begin}
	var err error
	if messages, err = appendElements(messages, unix.NFT_MSG_DELSETELEM, 0, keysOf(old)); err != nil {
		return err
	}
	if messages, err = appendElements(messages, unix.NFT_MSG_NEWSETELEM, netlink.Create|netlink.Excl, added); err != nil {
		return err
	}
	// Errors are reported whether asked for or not, in the order of the messages; one answer says that all is well.
	messages[len(messages)-1].Header.Flags |= netlink.Acknowledge
	messages = append(messages, batchMark(unix.NFNL_MSG_BATCH_END))
	return k.transact(messages)
}

// keysOf is the elements as a deletion names them.
func keysOf(elements []Element) []Element {
	keys := make([]Element, len(elements))
	for i, e := range elements {
		keys[i] = Element{Set: e.Set, Key: e.Key, KeyEnd: e.KeyEnd}
	}
	return keys
}

// perMessage keeps a message far below the 65535 bytes that the length of an attribute can say.
const perMessage = 100

// appendElements appends messages about elements, those of one set together.
func appendElements(messages []netlink.Message, kind netlink.HeaderType, flags netlink.HeaderFlags, elements []Element) ([]netlink.Message, error) {
	for len(elements) > 0 {
		set := elements[0].Set
		end := slices.IndexFunc(elements, func(e Element) bool { return e.Set.Name != set.Name || e.Set.Table.Family != set.Table.Family })
		if end < 0 {
			end = len(elements)
		}
		end = min(end, perMessage)
		attributes, err := encodeElements(set, elements[:end])
		if err != nil {
			return nil, err
		}
		messages = append(messages, nftMessage(kind, flags, set.Table.Family, attributes))
		elements = elements[end:]
	}
	return messages, nil
}
