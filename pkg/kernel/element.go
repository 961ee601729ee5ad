package kernel

import (
	"bytes"

	"github.com/google/nftables"
	"github.com/google/nftables/userdata"
	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
)

// Element is an entry of an nftables set, or of a map.
type Element struct {
	Set *nftables.Set
	Key []byte
	// KeyEnd is the last key of an interval that Key begins, in a set of intervals. Nil: none.
	KeyEnd []byte
	// Data is what the entry of a map of values leads to; Jump is the chain that the entry of a map of verdicts does.
	Data    []byte
	Jump    string
	Comment string
	// Note is for fairway alone: it lies beside the comment, and nft passes over it. Both are NoteRoom at most. Nil: none.
	Note []byte
}

// NoteRoom is how many bytes a note and a comment may have together: 256 (NFT_USERDATA_MAXLEN) without what they begin and end with.
const NoteRoom = 256 - 5

// noteType is the type of a note in user data. nft knows 0 and 1 (libnftnl/udata.h).
const noteType userdata.Type = 0x66

// nftaSetElemKeyEnd is NFTA_SET_ELEM_KEY_END (linux/netfilter/nf_tables.h), which x/sys does not name.
const nftaSetElemKeyEnd = 10

// encodeElements writes the attributes of a message about elements of one set (linux/netfilter/nf_tables.h, enum
// nft_set_elem_list_attributes). Without elements it is about all of them.
func encodeElements(set *nftables.Set, elements []Element) ([]byte, error) {
	encoder := netlink.NewAttributeEncoder()
	encoder.String(unix.NFTA_SET_ELEM_LIST_TABLE, set.Table.Name)
	encoder.String(unix.NFTA_SET_ELEM_LIST_SET, set.Name)
	if len(elements) > 0 {
		encoder.Nested(unix.NFTA_SET_ELEM_LIST_ELEMENTS, func(list *netlink.AttributeEncoder) error {
			for _, e := range elements {
				list.Nested(unix.NFTA_LIST_ELEM, e.encode)
			}
			return nil
		})
	}
	return encoder.Encode()
}

func (e Element) encode(element *netlink.AttributeEncoder) error {
	element.Nested(unix.NFTA_SET_ELEM_KEY, func(key *netlink.AttributeEncoder) error {
		key.Bytes(unix.NFTA_DATA_VALUE, e.Key)
		return nil
	})
	if e.KeyEnd != nil {
		element.Nested(nftaSetElemKeyEnd, func(key *netlink.AttributeEncoder) error {
			key.Bytes(unix.NFTA_DATA_VALUE, e.KeyEnd)
			return nil
		})
	}
	if e.Data != nil {
		element.Nested(unix.NFTA_SET_ELEM_DATA, func(data *netlink.AttributeEncoder) error {
			data.Bytes(unix.NFTA_DATA_VALUE, e.Data)
			return nil
		})
	}
	if e.Jump != "" {
		element.Nested(unix.NFTA_SET_ELEM_DATA, func(data *netlink.AttributeEncoder) error {
			data.Nested(unix.NFTA_DATA_VERDICT, e.encodeJump)
			return nil
		})
	}
	if data := e.userdata(); len(data) > 0 {
		element.Bytes(unix.NFTA_SET_ELEM_USERDATA, data)
	}
	return nil
}

func (e Element) userdata() (data []byte) {
	if e.Comment != "" {
		data = userdata.AppendString(data, userdata.NFTNL_UDATA_SET_ELEM_COMMENT, e.Comment)
	}
	if e.Note != nil {
		data = userdata.Append(data, noteType, e.Note)
	}
	return data
}

func (e Element) encodeJump(verdict *netlink.AttributeEncoder) error {
	jump := int32(unix.NFT_JUMP)
	verdict.Bytes(unix.NFTA_VERDICT_CODE, []byte{byte(jump >> 24), byte(jump >> 16), byte(jump >> 8), byte(jump)})
	verdict.String(unix.NFTA_VERDICT_CHAIN, e.Jump)
	return nil
}

// decoder reads the elements that replies are about. Their keys and the like are parts of these.
type decoder struct {
	set  *nftables.Set
	each func(Element)
	// comment is that of the last element: many in a row have the same, which is copied once.
	comment string
}

func (d *decoder) decode(reply []byte) {
	eachAttribute(reply[sizeofGenmsg:], func(kind uint16, list []byte) {
		if kind == unix.NFTA_SET_ELEM_LIST_ELEMENTS {
			eachAttribute(list, func(_ uint16, attributes []byte) { d.element(attributes) })
		}
	})
}

func (d *decoder) element(attributes []byte) {
	e := Element{Set: d.set}
	eachAttribute(attributes, func(kind uint16, value []byte) {
		switch kind {
		case unix.NFTA_SET_ELEM_KEY:
			eachAttribute(value, func(_ uint16, key []byte) { e.Key = key })
		case nftaSetElemKeyEnd:
			eachAttribute(value, func(_ uint16, key []byte) { e.KeyEnd = key })
		case unix.NFTA_SET_ELEM_DATA:
			e.decodeData(value)
		case unix.NFTA_SET_ELEM_USERDATA:
			comment := bytes.TrimRight(userdata.Get(value, userdata.NFTNL_UDATA_SET_ELEM_COMMENT), "\x00")
			if d.comment != string(comment) {
				d.comment = string(comment)
			}
			e.Comment = d.comment
			e.Note = userdata.Get(value, noteType)
		}
	})
	d.each(e)
}

func (e *Element) decodeData(data []byte) {
	eachAttribute(data, func(kind uint16, verdict []byte) {
		if kind == unix.NFTA_DATA_VALUE {
			e.Data = verdict
		}
		if kind != unix.NFTA_DATA_VERDICT {
			return
		}
		eachAttribute(verdict, func(kind uint16, chain []byte) {
			if kind == unix.NFTA_VERDICT_CHAIN {
				e.Jump = string(bytes.TrimRight(chain, "\x00"))
			}
		})
	})
}
