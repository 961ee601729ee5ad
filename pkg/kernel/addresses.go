package kernel

import (
	"encoding/binary"
	"fmt"
	"net/netip"

	"golang.org/x/sys/unix"
)

// AddressEntry is an address of a link of the host, with the length of its subnet.
type AddressEntry struct {
	Link   int
	Prefix netip.Prefix
	// Passing says that it is not there to stay: temporary, deprecated, tentative or found to be another host's (RFC 8981,
	// RFC 4862).
	Passing bool
}

// Addresses lists the addresses of a link of the host, of both families; an index of 0 lists those of all links. The
// kernel selects them (Linux 4.20), so that a host's many containers cost nothing.
func (k *Kernel) Addresses(link int) (entries []AddressEntry, err error) {
	for _, family := range []uint8{unix.AF_INET, unix.AF_INET6} {
		request := addressHeader(AddressEntry{Link: link}, family, 0)
		some, err := Dump(func() (some []AddressEntry, err error) {
			err = k.List(unix.RTM_GETADDR, request, func(body []byte) error {
				if e, ok := decodeAddress(body); ok && (link == 0 || e.Link == link) {
					some = append(some, e)
				}
				return nil
			})
			return some, err
		})
		if err != nil {
			return nil, fmt.Errorf("ip addr show: %w", err)
		}
		entries = append(entries, some...)
	}
	return entries, nil
}

// EachAddress calls each with the addresses of all links, of both families. The error wraps ErrInterrupted when some may be missing.
func (n *Namespace) EachAddress(each func(AddressEntry)) error {
	err := n.list(unix.RTM_GETADDR, addressHeader(AddressEntry{}, unix.AF_UNSPEC, 0), func(body []byte) error {
		if e, ok := decodeAddress(body); ok {
			each(e)
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("ip addr show: %w", err)
	}
	return nil
}

// Add is the request that adds the address, usable at once. It fails with EEXIST when it is there.
func (a AddressEntry) Add() Message {
	return Message{Kind: unix.RTM_NEWADDR, Flags: unix.NLM_F_CREATE | unix.NLM_F_EXCL, Body: a.encode()}
}

// AddAfterDetection is the request that adds the address, which is usable when no other host has been found to have it
// (RFC 4862, 5.4).
func (a AddressEntry) AddAfterDetection() Message {
	add := a.Add()
	add.Body[2] = 0
	return add
}

// Delete is the request that deletes the address.
func (a AddressEntry) Delete() Message { return Message{Kind: unix.RTM_DELADDR, Body: a.encode()} }

// addressHeader is a struct ifaddrmsg.
func addressHeader(a AddressEntry, family, flags uint8) []byte {
	header := []byte{family, 0, flags, unix.RT_SCOPE_UNIVERSE}
	if a.Prefix.IsValid() {
		header[1] = uint8(a.Prefix.Bits())
	}
	return binary.NativeEndian.AppendUint32(header, uint32(a.Link))
}

func (a AddressEntry) encode() []byte {
	addr := a.Prefix.Addr()
	body := addressHeader(a, familyOf(addr), unix.IFA_F_NODAD)
	if addr.Is4() {
		body[2] = 0
	}
	body = appendAttribute(body, unix.IFA_LOCAL, addr.AsSlice())
	body = appendAttribute(body, unix.IFA_ADDRESS, addr.AsSlice())
	if addr.Is4() && a.Prefix.Bits() < 31 { // RFC 3021
		body = appendAttribute(body, unix.IFA_BROADCAST, a.broadcast())
	}
	return body
}

// broadcast is the last address of the subnet, in IPv4.
func (a AddressEntry) broadcast() []byte {
	last := a.Prefix.Addr().As4()
	hosts := ^uint32(0) >> a.Prefix.Bits()
	binary.BigEndian.PutUint32(last[:], binary.BigEndian.Uint32(last[:])|hosts)
	return last[:]
}

// Execute sends a request that changes something to the namespace, and receives its answer. For what changes a link there are
// methods.
func (n *Namespace) Execute(request Message) error {
	request.Flags |= unix.NLM_F_ACK
	_, err := n.ask(request)
	return err
}

// decodeAddress reads an address. That of a link with a peer is the local one.
func decodeAddress(body []byte) (e AddressEntry, ok bool) {
	if len(body) < unix.SizeofIfAddrmsg {
		return AddressEntry{}, false
	}
	var addr, local netip.Addr
	flags := uint32(body[2])
	eachAttribute(body[unix.SizeofIfAddrmsg:], func(kind uint16, value []byte) {
		switch kind {
		case unix.IFA_ADDRESS:
			addr, _ = netip.AddrFromSlice(value)
		case unix.IFA_LOCAL:
			local, _ = netip.AddrFromSlice(value)
		case unix.IFA_FLAGS:
			if len(value) == 4 {
				flags = binary.NativeEndian.Uint32(value)
			}
		}
	})
	if local.IsValid() {
		addr = local
	}
	passing := uint32(unix.IFA_F_DEPRECATED | unix.IFA_F_TENTATIVE | unix.IFA_F_DADFAILED)
	if body[0] == unix.AF_INET6 {
		passing |= unix.IFA_F_TEMPORARY // of IPv4, the flag says that the address is not the subnet's first
	}
	e = AddressEntry{
		Link: int(binary.NativeEndian.Uint32(body[4:])), Prefix: netip.PrefixFrom(addr, int(body[1])), Passing: flags&passing != 0,
	}
	return e, e.Prefix.IsValid()
}
