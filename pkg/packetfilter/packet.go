package packetfilter

import (
	"encoding/binary"
	"net/netip"

	"github.com/google/nftables/binaryutil"
	"golang.org/x/sys/unix"
)

// Packet is one of a TCP connection.
type Packet struct {
	// In and Out are the links that it comes and goes by. A zero Link: none, as for what the host itself gets.
	In, Out Link
	// Bridge has the ports In and Out. Empty: the packet is not looked at as a frame.
	Bridge string

	Source, Destination         netip.Addr
	SourcePort, DestinationPort uint16
	// Answer: it is of a connection that the other side has begun.
	Answer bool
	// ToHost: the destination is an address of the host.
	ToHost bool
}

// Link is what rules tell links by.
type Link struct {
	Name  string
	Index int
	Group uint32
	Kind  string
}

// Reply is what comes back for the packet by the way it went.
func (p Packet) Reply() Packet {
	p.In, p.Out = p.Out, p.In
	p.Source, p.Destination = p.Destination, p.Source
	p.SourcePort, p.DestinationPort = p.DestinationPort, p.SourcePort
	p.Answer = true
	return p
}

// networkHeader is the header as it is sent; what depends on the packet's length or on chance is unknown.
func (p Packet) networkHeader() []cell {
	if p.Source.Is4() {
		header := known([]byte{0x45, 0, 0, 60, 0, 0, 0x40, 0, 63, unix.IPPROTO_TCP, 0, 0}) // RFC 791, 3.1
		forget(header, 2, 6)
		forget(header, 8, 9)
		forget(header, 10, 12)
		return append(append(header, tagged(p.Source.AsSlice())...), known(p.Destination.AsSlice())...)
	}
	header := known([]byte{0x60, 0, 0, 0, 0, 40, unix.IPPROTO_TCP, 63}) // RFC 8200, 3
	forget(header, 1, 6)
	forget(header, 7, 8)
	return append(append(header, tagged(p.Source.AsSlice())...), known(p.Destination.AsSlice())...)
}

// transportHeader is that of TCP: the first packet of a connection, or one of an answer.
func (p Packet) transportHeader() []cell {
	const size = 20 // RFC 9293, 3.1
	header := make([]byte, size)
	binary.BigEndian.PutUint16(header, p.SourcePort)
	binary.BigEndian.PutUint16(header[2:], p.DestinationPort)
	const syn, ack = 0x02, 0x10
	header[12], header[13] = 5<<4, syn
	if p.Answer {
		header[13] = syn | ack
	}
	cells := known(header)
	forget(cells, 4, 12)
	forget(cells, 14, 18)
	return cells
}

// etherType is the protocol in network byte order.
func (p Packet) etherType() []byte {
	if p.Source.Is4() {
		return []byte{0x08, 0x00}
	}
	return []byte{0x86, 0xdd}
}

// Bits of a connection's state and status (linux/netfilter/nf_conntrack_common.h), as rules compare them.
const (
	stateEstablished = 1 << 1
	stateNew         = 1 << 3

	statusSeenReply = 1 << 1
	statusAssured   = 1 << 2
	statusConfirmed = 1 << 3
)

func (p Packet) state() uint32 {
	if p.Answer {
		return stateEstablished
	}
	return stateNew
}

func (p Packet) status() uint32 {
	if p.Answer {
		return statusSeenReply | statusAssured | statusConfirmed
	}
	return 0
}

// cell is one byte, if it is known. It is of the source when it tells whom a packet comes from.
type cell struct {
	value  byte
	known  bool
	source bool
}

func known(data []byte) []cell {
	cells := make([]cell, len(data))
	for i, b := range data {
		cells[i] = cell{value: b, known: true}
	}
	return cells
}

// tagged is known, of the source.
func tagged(data []byte) []cell {
	cells := known(data)
	for i := range cells {
		cells[i].source = true
	}
	return cells
}

func forget(cells []cell, from, to int) {
	for i := from; i < to; i++ {
		cells[i] = cell{}
	}
}

func unknown(length int) []cell { return make([]cell, length) }

func native(value uint32) []byte { return binaryutil.NativeEndian.PutUint32(value) }

// nameOf is a link's name as rules compare it.
func nameOf(name string) []byte {
	padded := make([]byte, unix.IFNAMSIZ)
	copy(padded, name)
	return padded
}

// arpType is that of Ethernet (linux/if_arp.h), in the host's byte order.
func arpType(l Link) []byte {
	if l.Name == "" {
		return make([]byte, 2)
	}
	return binaryutil.NativeEndian.PutUint16(unix.ARPHRD_ETHER)
}

// bytesOf gives the values of cells, unless one is unknown; source says whether one is of the source.
func bytesOf(cells []cell) (data []byte, ok, source bool) {
	data, ok = make([]byte, len(cells)), true
	for i, c := range cells {
		data[i], ok, source = c.value, ok && c.known, source || c.source
	}
	return data, ok, source
}

// Outside4 and Outside6 stand for the rest of the world: public addresses, as lists of private and special ones are often dropped.
var (
	Outside4 = netip.AddrFrom4([4]byte{1, 1, 1, 1})
	Outside6 = netip.MustParseAddr("2606:4700:4700::1111")
)

// Outside is that of a family.
func Outside(of netip.Addr) netip.Addr {
	if of.Is4() {
		return Outside4
	}
	return Outside6
}
