package kernel

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

// HostSocket is a socket of the host that waits for whoever comes.
type HostSocket struct {
	Local netip.AddrPort
	// Dual is true for a socket of IPv6 that takes IPv4 as well.
	Dual  bool
	Inode uint32
}

// Messages and attributes of sock_diag (linux/inet_diag.h).
const (
	sockDiagByFamily  = 20
	inetDiagSKV6Only  = 11
	inetDiagMark      = 15 // told to those who may set it
	sizeofInetDiagReq = 56
	sizeofInetDiagMsg = 72
	stateClose        = 7  // a UDP socket without a peer (net/tcp_states.h)
	stateListen       = 10 // TCP_LISTEN
)

// HoldingMark is the mark (SO_MARK) of sockets by which fairwayd holds ports of the host that are published: nobody serves there.
const HoldingMark = 0x66770050

// ListeningSockets lists the host's sockets of a protocol, TCP or UDP, that wait for whoever comes, of both families, but for those with
// HoldingMark. A kernel without sock_diag, or a protocol that it does not know, has none.
func (k *Kernel) ListeningSockets(protocol uint8) ([]HostSocket, error) {
	state := uint32(1 << stateListen)
	if protocol == unix.IPPROTO_UDP {
		state = 1 << stateClose
	}
	var found []HostSocket
	for _, family := range []uint8{unix.AF_INET, unix.AF_INET6} {
		body := make([]byte, sizeofInetDiagReq)
		body[0], body[1] = family, protocol
		binary.NativeEndian.PutUint32(body[4:], state)
		request := nl.NewNetlinkRequest(sockDiagByFamily, unix.NLM_F_DUMP)
		request.AddRawData(body)
		replies, err := k.execute(unix.NETLINK_SOCK_DIAG, request)
		if errors.Is(err, unix.ENOENT) || errors.Is(err, unix.EPROTONOSUPPORT) || errors.Is(err, unix.EINVAL) {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("ss --listening: %w", err)
		}
		for _, reply := range replies {
			if s, ok := decodeSocket(reply); ok {
				found = append(found, s)
			}
		}
	}
	return found, nil
}

// decodeSocket reads a struct inet_diag_msg. ok is false for a socket that only holds a port.
func decodeSocket(reply []byte) (s HostSocket, ok bool) {
	if len(reply) < sizeofInetDiagMsg {
		return s, false
	}
	length := 4
	if s.Dual = reply[0] == unix.AF_INET6; s.Dual {
		length = 16
	}
	addr, _ := netip.AddrFromSlice(reply[8 : 8+length])
	s.Local = netip.AddrPortFrom(addr.Unmap(), binary.BigEndian.Uint16(reply[4:]))
	s.Inode = binary.NativeEndian.Uint32(reply[68:])
	holding := false
	eachAttribute(reply[sizeofInetDiagMsg:], func(kind uint16, value []byte) {
		if kind == inetDiagSKV6Only && len(value) == 1 && value[0] != 0 {
			s.Dual = false
		}
		holding = holding || kind == inetDiagMark && len(value) == 4 && binary.NativeEndian.Uint32(value) == HoldingMark
	})
	return s, !holding
}
