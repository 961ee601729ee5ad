package kernel

import (
	"encoding/binary"

	"github.com/google/nftables"
	"github.com/google/nftables/userdata"
	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
)

// AddTypeofSets adds a table and sets to it whose keys are, by nft, those of expressions: "udp dport . @th,96,24". The
// nftables library knows sets of named types alone, and what nft cannot type it prints and does not read back.
func (k *Kernel) AddTypeofSets(table *nftables.Table, sets []TypeofSet) error {
	if len(sets) == 0 {
		return nil
	}
	encoder := netlink.NewAttributeEncoder()
	encoder.String(unix.NFTA_TABLE_NAME, table.Name)
	name, err := encoder.Encode()
	if err != nil {
		return err
	}
	messages := []netlink.Message{
		batchMark(unix.NFNL_MSG_BATCH_BEGIN),
		nftMessage(unix.NFT_MSG_NEWTABLE, netlink.Create, table.Family, name),
	}
	for i, s := range sets {
		attributes, err := s.encode(uint32(i + 1))
		if err != nil {
			return err
		}
		messages = append(messages, nftMessage(unix.NFT_MSG_NEWSET, netlink.Create, table.Family, attributes))
	}
	messages[len(messages)-1].Header.Flags |= netlink.Acknowledge
	return k.transact(append(messages, batchMark(unix.NFNL_MSG_BATCH_END)))
}

// TypeofSet is a set with a concatenation of expressions as its key.
type TypeofSet struct {
	*nftables.Set
	Key []PayloadOf
}

// PayloadOf is a part of a packet, as nft notes it in the user data of a set (nftables, payload_expr_build_udata): the field
// of a protocol by their numbers, or with Raw bits of the transport header.
type PayloadOf struct {
	Protocol, Field uint32
	Raw             bool
	Offset, Length  uint32 // bits
}

// The fields that sets are made of: enum proto_desc_id of nftables, and the place in the protocol's template.
var (
	UDPDestinationPort = PayloadOf{Protocol: 6, Field: 2}
	IPSource           = PayloadOf{Protocol: 12, Field: 11}
	IP6Source          = PayloadOf{Protocol: 13, Field: 8}
)

// Kinds of nftables' expressions, and the base of the transport header.
const (
	exprPayload   = 7
	exprConcat    = 13
	baseTransport = 3
)

func (s TypeofSet) encode(id uint32) ([]byte, error) {
	encoder := netlink.NewAttributeEncoder()
	encoder.ByteOrder = binary.BigEndian
	encoder.String(unix.NFTA_SET_TABLE, s.Table.Name)
	encoder.String(unix.NFTA_SET_NAME, s.Name)
	encoder.Uint32(unix.NFTA_SET_FLAGS, 0)
	encoder.Uint32(unix.NFTA_SET_KEY_TYPE, s.KeyType.GetNFTMagic())
	encoder.Uint32(unix.NFTA_SET_KEY_LEN, s.KeyType.Bytes)
	encoder.Uint32(unix.NFTA_SET_ID, id)
	var parts []byte
	for i, part := range s.Key {
		parts = append(parts, tlv(byte(i), part.encode())...)
	}
	typeof := append(number(0, exprConcat), tlv(1, parts)...)
	data := append(number(byte(userdata.NFTNL_UDATA_SET_KEYBYTEORDER), 0), tlv(byte(userdata.NFTNL_UDATA_SET_KEY_TYPEOF), typeof)...)
	if s.Comment != "" {
		data = userdata.AppendString(data, userdata.NFTNL_UDATA_SET_COMMENT, s.Comment)
	}
	encoder.Bytes(unix.NFTA_SET_USERDATA, data)
	return encoder.Encode()
}

func (p PayloadOf) encode() []byte {
	field := append(number(0, p.Protocol), number(1, p.Field)...)
	if p.Raw {
		field = append(field, number(2, baseTransport)...)
		field = append(append(field, number(3, p.Offset)...), number(4, p.Length)...)
	}
	return append(number(0, exprPayload), tlv(1, field)...)
}

// tlv is a type, a length and a value, as user data has it; number is a value of four bytes, in the host's order.
func tlv(kind byte, value []byte) []byte {
	return append([]byte{kind, byte(len(value))}, value...)
}

func number(kind byte, value uint32) []byte {
	return tlv(kind, binary.NativeEndian.AppendUint32(nil, value))
}
