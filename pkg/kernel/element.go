package kernel

import (
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
	if e.Jump != "" {
		element.Nested(unix.NFTA_SET_ELEM_DATA, func(data *netlink.AttributeEncoder) error {
			data.Nested(unix.NFTA_DATA_VERDICT, e.encodeJump)
			return nil
		})
	}
	if e.Comment != "" {
		element.Bytes(unix.NFTA_SET_ELEM_USERDATA, userdata.AppendString(nil, userdata.NFTNL_UDATA_SET_ELEM_COMMENT, e.Comment))
	}
	return nil
}

func (e Element) encodeJump(verdict *netlink.AttributeEncoder) error {
	jump := int32(unix.NFT_JUMP)
	verdict.Bytes(unix.NFTA_VERDICT_CODE, []byte{byte(jump >> 24), byte(jump >> 16), byte(jump >> 8), byte(jump)})
	verdict.String(unix.NFTA_VERDICT_CHAIN, e.Jump)
	return nil
}

// decodeAll reads the elements that replies are about.
func decodeAll(set *nftables.Set, replies [][]byte) ([]Element, error) {
	var elements []Element
	for _, reply := range replies {
		decoder, err := netlink.NewAttributeDecoder(reply[sizeofGenmsg:])
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
		case unix.NFTA_SET_ELEM_DATA:
			element.Nested(e.decodeData)
		case unix.NFTA_SET_ELEM_USERDATA:
			e.Comment, _ = userdata.GetString(element.Bytes(), userdata.NFTNL_UDATA_SET_ELEM_COMMENT)
		}
	}
	return nil
}

func (e *Element) decodeData(data *netlink.AttributeDecoder) error {
	for data.Next() {
		if data.Type() != unix.NFTA_DATA_VERDICT {
			continue
		}
		data.Nested(func(verdict *netlink.AttributeDecoder) error {
			for verdict.Next() {
				if verdict.Type() == unix.NFTA_VERDICT_CHAIN {
					e.Jump = verdict.String()
				}
			}
			return nil
		})
	}
	return nil
}
