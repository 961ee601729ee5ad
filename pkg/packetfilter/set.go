package packetfilter

import (
	"bytes"
	"encoding/binary"
	"slices"

	"github.com/google/nftables"
	"github.com/google/nftables/expr"
	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
)

// set is what a lookup looks in.
type set struct {
	keyLength int
	interval  bool
	fields    []int // lengths of the parts of a concatenation with intervals. Empty: of one part
	// opaque: how the key is divided is not known.
	opaque   bool
	elements []element
}

type element struct {
	key, last []byte // last: that of an interval of a concatenation, part by part. Nil: none
	end       bool   // the interval of the element before ends in front of this key
	value     []byte
}

func newSet(s *nftables.Set, found []nftables.SetElement) *set {
	// The library does not always tell the type of a key.
	own := &set{interval: s.Interval, opaque: s.Concatenation && s.Interval && s.KeyType.Bytes == 0}
	if s.Concatenation && s.KeyType.Bytes > 0 {
		for _, part := range nftables.ConcatSetTypeElements(s.KeyType) {
			own.fields = append(own.fields, int(part.Bytes+3)/4*4)
		}
	}
	for _, e := range found {
		own.keyLength = len(e.Key)
		own.elements = append(own.elements, element{key: e.Key, last: e.KeyEnd, end: e.IntervalEnd, value: e.Val})
	}
	slices.SortStableFunc(own.elements, func(a, b element) int {
		if order := bytes.Compare(a.key, b.key); order != 0 {
			return order
		}
		switch { // where one interval ends and the next begins
		case a.end && !b.end:
			return -1
		case b.end && !a.end:
			return 1
		}
		return 0
	})
	return own
}

// verdictIn reads what the element of a map of verdicts leads to: the library gives its attributes as they are.
func verdictIn(attributes []byte) *expr.Verdict {
	v := &expr.Verdict{}
	list, err := netlink.NewAttributeDecoder(attributes)
	if err != nil {
		return v
	}
	list.ByteOrder = binary.BigEndian
	for list.Next() {
		switch list.Type() {
		case unix.NFTA_VERDICT_CODE:
			v.Kind = expr.VerdictKind(int32(list.Uint32()))
		case unix.NFTA_VERDICT_CHAIN:
			v.Chain = list.String()
		}
	}
	return v
}

// find gives the element that a key is, or lies in.
func (s *set) find(key []byte) (found element, in bool) {
	for _, e := range s.elements {
		switch {
		case e.last != nil:
			if s.between(e, key) {
				return e, true
			}
		case s.interval && bytes.Compare(e.key, key) <= 0:
			found, in = e, !e.end
		case !s.interval && bytes.Equal(e.key, key):
			return e, true
		}
	}
	return found, in
}

// between compares each part of a concatenation by itself.
func (s *set) between(e element, key []byte) bool {
	at := 0
	fields := s.fields
	if len(fields) == 0 {
		fields = []int{len(key)}
	}
	for _, length := range fields {
		to := at + length
		if to > len(key) || to > len(e.key) || to > len(e.last) {
			return false
		}
		if bytes.Compare(e.key[at:to], key[at:to]) > 0 || bytes.Compare(key[at:to], e.last[at:to]) > 0 {
			return false
		}
		at = to
	}
	return true
}
