package kernel

import (
	"errors"
	"fmt"

	"github.com/google/nftables"
	"github.com/google/nftables/userdata"
	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
)

// Element is an entry of an nftables set, or of a map of verdicts.
type Element struct {
	Set *nftables.Set
	Key []byte
	// Jump is the chain that the entry of a map leads to.
	Jump    string
	Comment string
}

// AddElements adds elements in one transaction, each of which must be new. The error wraps unix.EEXIST when one is there,
// and unix.ENOENT when a set or chain is missing; then nothing was added.
//
// The nftables library has no way to insist on a new element (NLM_F_EXCL), and without it the kernel ignores the new
// comment of an element that is there.
func (k *Kernel) AddElements(elements []Element) error {
	conn, err := k.dialNetfilter()
	if err != nil {
		return err
	}
	messages := []netlink.Message{batchMark(unix.NFNL_MSG_BATCH_BEGIN)}
	for _, e := range elements {
		data, err := e.encode()
		if err != nil {
			return err
		}
		messages = append(messages, netlink.Message{
			Header: netlink.Header{
				Type:  unix.NFNL_SUBSYS_NFTABLES<<8 | unix.NFT_MSG_NEWSETELEM,
				Flags: netlink.Request | netlink.Create | netlink.Excl,
			},
			Data: append([]byte{byte(e.Set.Table.Family), unix.NFNETLINK_V0, 0, 0}, data...),
		})
	}
	// Errors are reported whether asked for or not, in the order of the messages; one answer says that all is well.
	messages[len(messages)-1].Header.Flags |= netlink.Acknowledge
	messages = append(messages, batchMark(unix.NFNL_MSG_BATCH_END))
	if _, err = conn.SendMessages(messages); err == nil {
		_, err = conn.Receive()
	}
	if err != nil {
		k.closeNetfilter() // further errors may wait in the socket
	}
	return err
}

// dialNetfilter opens the socket for elements on first use. It stays open to the end: closing one after a deletion waits
// for an RCU grace period, which by then has passed while the link was taken down.
func (k *Kernel) dialNetfilter() (*netlink.Conn, error) {
	if k.netfilter == nil {
		conn, err := netlink.Dial(unix.NETLINK_NETFILTER, nil)
		if err != nil {
			return nil, fmt.Errorf("nfnetlink socket of the host: %w", err)
		}
		k.netfilter = conn
	}
	return k.netfilter, nil
}

func (k *Kernel) closeNetfilter() {
	if k.netfilter != nil {
		_ = k.netfilter.Close() // nothing is buffered in the socket
		k.netfilter = nil
	}
}

// batchMark begins or ends a transaction. Its resource ID is the subsystem, in network byte order (struct nfgenmsg).
func batchMark(mark netlink.HeaderType) netlink.Message {
	return netlink.Message{
		Header: netlink.Header{Type: mark, Flags: netlink.Request},
		Data:   []byte{unix.AF_UNSPEC, unix.NFNETLINK_V0, 0, unix.NFNL_SUBSYS_NFTABLES},
	}
}

// Elements lists the elements of a set; their Jump is left out. The error wraps unix.ENOENT when there is no such set.
//
// The nftables library's own listing hides which error it got, and cannot be told that another process changed the rules
// meanwhile (EINTR): then the listing begins again.
func (k *Kernel) Elements(set *nftables.Set) ([]Element, error) {
	conn, err := k.dialNetfilter()
	if err != nil {
		return nil, err
	}
	encoder := netlink.NewAttributeEncoder()
	encoder.String(unix.NFTA_SET_ELEM_LIST_TABLE, set.Table.Name)
	encoder.String(unix.NFTA_SET_ELEM_LIST_SET, set.Name)
	data, err := encoder.Encode()
	if err != nil {
		return nil, err
	}
	request := netlink.Message{
		Header: netlink.Header{
			Type:  unix.NFNL_SUBSYS_NFTABLES<<8 | unix.NFT_MSG_GETSETELEM,
			Flags: netlink.Request | netlink.Dump,
		},
		Data: append([]byte{byte(set.Table.Family), unix.NFNETLINK_V0, 0, 0}, data...),
	}
	const tries = 32
	var replies []netlink.Message
	for range tries {
		if replies, err = conn.Execute(request); !errors.Is(err, unix.EINTR) {
			break
		}
	}
	if err != nil {
		k.closeNetfilter()
		return nil, err
	}
	return decodeElements(set, replies)
}

func decodeElements(set *nftables.Set, replies []netlink.Message) ([]Element, error) {
	const header = 4 // struct nfgenmsg
	var elements []Element
	for _, reply := range replies {
		decoder, err := netlink.NewAttributeDecoder(reply.Data[header:])
		if err != nil {
			return nil, err
		}
		for decoder.Next() {
			if decoder.Type() != unix.NFTA_SET_ELEM_LIST_ELEMENTS {
				continue
			}
			decoder.Nested(func(list *netlink.AttributeDecoder) error {
				for list.Next() {
					e := Element{Set: set}
					list.Nested(e.decode)
					elements = append(elements, e)
				}
				return nil
			})
		}
		if err := decoder.Err(); err != nil {
			return nil, err
		}
	}
	return elements, nil
}

func (e *Element) decode(element *netlink.AttributeDecoder) error {
	for element.Next() {
		switch element.Type() {
		case unix.NFTA_SET_ELEM_KEY:
			element.Nested(func(key *netlink.AttributeDecoder) error {
				for key.Next() {
					e.Key = key.Bytes()
				}
				return nil
			})
		case unix.NFTA_SET_ELEM_USERDATA:
			e.Comment, _ = userdata.GetString(element.Bytes(), userdata.NFTNL_UDATA_SET_ELEM_COMMENT)
		}
	}
	return nil
}

// encode writes the attributes of NFT_MSG_NEWSETELEM (linux/netfilter/nf_tables.h, enum nft_set_elem_list_attributes).
func (e Element) encode() ([]byte, error) {
	encoder := netlink.NewAttributeEncoder()
	encoder.String(unix.NFTA_SET_ELEM_LIST_TABLE, e.Set.Table.Name)
	encoder.String(unix.NFTA_SET_ELEM_LIST_SET, e.Set.Name)
	encoder.Nested(unix.NFTA_SET_ELEM_LIST_ELEMENTS, func(list *netlink.AttributeEncoder) error {
		list.Nested(unix.NFTA_LIST_ELEM, e.encodeElement)
		return nil
	})
	return encoder.Encode()
}

func (e Element) encodeElement(element *netlink.AttributeEncoder) error {
	element.Nested(unix.NFTA_SET_ELEM_KEY, func(key *netlink.AttributeEncoder) error {
		key.Bytes(unix.NFTA_DATA_VALUE, e.Key)
		return nil
	})
	if e.Jump != "" {
		element.Nested(unix.NFTA_SET_ELEM_DATA, func(data *netlink.AttributeEncoder) error {
			data.Nested(unix.NFTA_DATA_VERDICT, e.encodeJump)
			return nil
		})
	}
	element.Bytes(unix.NFTA_SET_ELEM_USERDATA, userdata.AppendString(nil, userdata.NFTNL_UDATA_SET_ELEM_COMMENT, e.Comment))
	return nil
}

func (e Element) encodeJump(verdict *netlink.AttributeEncoder) error {
	jump := int32(unix.NFT_JUMP)
	verdict.Bytes(unix.NFTA_VERDICT_CODE, []byte{byte(jump >> 24), byte(jump >> 16), byte(jump >> 8), byte(jump)})
	verdict.String(unix.NFTA_VERDICT_CHAIN, e.Jump)
	return nil
}
