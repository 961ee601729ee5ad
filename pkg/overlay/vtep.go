package overlay

import (
	"crypto/sha256"
	"encoding/binary"
	"net"
	"net/netip"
	"strconv"
	"strings"
)

// LinkPrefix begins the names of the hosts' VXLAN devices.
const LinkPrefix = "fwvx"

// LinkName is the name of a host's VXLAN device: fwvx and the VNI, at most twelve bytes.
func LinkName(vni uint32) string { return LinkPrefix + strconv.FormatUint(uint64(vni), 10) }

// TunnelPrefix begins the names of the hosts' WireGuard devices.
const TunnelPrefix = "fwwg"

// TunnelName is the name of a host's WireGuard device: fwwg and the VNI, at most twelve bytes.
func TunnelName(vni uint32) string { return TunnelPrefix + strconv.FormatUint(uint64(vni), 10) }

// IsTunnel says whether a link has the name of a WireGuard device that is no spare one.
func IsTunnel(link string) bool {
	vni, ok := strings.CutPrefix(link, TunnelPrefix)
	_, err := strconv.ParseUint(vni, 10, 32)
	return ok && err == nil
}

// SpareTunnelName is the name of the second one that a host has while a key is being replaced.
func SpareTunnelName(vni uint32) string {
	return TunnelPrefix + "s" + strconv.FormatUint(uint64(vni), 10)
}

// Device is the name of a host's device of the network.
func (n Network) Device() string {
	if n.Encrypted {
		return TunnelName(n.VNI)
	}
	return LinkName(n.VNI)
}

// Overhead is the bytes that the way between hosts takes from the underlay's MTU: that of VXLAN, or of an encrypted network the outer
// IP header, UDP, and WireGuard's header and authentication tag (its paper, 5.4.6: 16 and 16 bytes).
func (n Network) Overhead(vtep netip.Addr) int {
	switch {
	case !n.Encrypted:
		return Overhead(vtep)
	case vtep.Unmap().Is4():
		return 20 + 8 + 16 + 16
	}
	return 40 + 8 + 16 + 16
}

// VTEPMAC is the address of a host's VXLAN device, locally administered and unicast. It follows from VNI and VTEP, so
// that all hosts know it without being told, and a device made anew has the same.
func VTEPMAC(vni uint32, vtep netip.Addr) net.HardwareAddr {
	var buffer [64]byte
	input := binary.BigEndian.AppendUint32(append(buffer[:0], "fairway vtep\x00"...), vni)
	address := vtep.Unmap().As16()
	if vtep.Unmap().Is4() {
		input = append(input, address[12:]...)
	} else {
		input = append(input, address[:]...)
	}
	sum := sha256.Sum256(input)
	mac := net.HardwareAddr(append([]byte(nil), sum[:6]...))
	mac[0] = mac[0]&^0x01 | 0x02 // IEEE 802: U/L and I/G bits
	return mac
}

// Overhead is the bytes that VXLAN takes from the underlay's MTU: the outer IP header, UDP, VXLAN and the inner Ethernet
// header (RFC 7348, 5).
func Overhead(vtep netip.Addr) int {
	if vtep.Unmap().Is4() {
		return 20 + 8 + 8 + 14
	}
	return 40 + 8 + 8 + 14
}

// Gateway is the address of a block's owner within the block: the first. Peers route the block through it, and the
// owner's containers everything.
func Gateway(block netip.Prefix) netip.Addr { return block.Masked().Addr() }
