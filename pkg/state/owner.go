package state

import (
	"crypto/sha256"
	"encoding/base32"
	"encoding/binary"
	"encoding/hex"
	"net"
	"strings"

	"github.com/fairway-cni/fairway/pkg/kernel"
)

// Owner identifies one attachment. Everything that belongs to it is named after it, so that it can be found again when
// its addresses, its namespace and the result of its ADD are gone.
type Owner struct {
	Network, ContainerID, IfName string
}

// Sum is a hash of the owner. No part may hold a NUL, so that different owners have different input.
func (o Owner) Sum() [sha256.Size]byte {
	return sha256.Sum256([]byte(o.Network + "\x00" + o.ContainerID + "\x00" + o.IfName))
}

// HostLink is the name of the owner's link on the host: veth and eleven characters, 55 bits of its hash. IFNAMSIZ leaves 15.
func (o Owner) HostLink() string {
	return o.linkName(hostLinkPrefix)
}

// DraftLink is the name of the owner's link in the container until it gets its own, where that takes two steps.
func (o Owner) DraftLink() string { return o.linkName("draft") }

func (o Owner) linkName(prefix string) string {
	sum := o.Sum()
	name := base32.HexEncoding.WithPadding(base32.NoPadding).EncodeToString(sum[:7])
	return prefix + strings.ToLower(name[:hostLinkLen-len(prefix)])
}

const (
	hostLinkPrefix = "veth"
	hostLinkLen    = 15
)

// MAC is the owner's stable address: locally administered, unicast, 46 bits of its hash.
func (o Owner) MAC() net.HardwareAddr {
	sum := o.Sum()
	return localMAC(sum[8:14])
}

// HostMAC is a stable address for something of this host: another host has another for the same. No part may hold a NUL.
func HostMAC(parts ...string) net.HardwareAddr {
	host, _ := kernel.ReadSmall("/etc/machine-id") // a host without one still gets a stable address
	sum := sha256.Sum256([]byte(host + "\x00" + strings.Join(parts, "\x00")))
	return localMAC(sum[:])
}

// BridgeMAC derives a bridge's address from its name and the host: two hosts may have bridges of one name on one segment.
func BridgeMAC(name string) net.HardwareAddr { return HostMAC("bridge", name) }

// localMAC makes six bytes a locally administered unicast address (IEEE 802, U/L and I/G bits).
func localMAC(b []byte) net.HardwareAddr {
	mac := net.HardwareAddr(append([]byte(nil), b[:6]...))
	mac[0] = mac[0]&^0x01 | 0x02
	return mac
}

// tagMax is the longest tag: nft limits a comment to 128 bytes with its NUL, ip an alias to 255.
const tagMax = 127

// Tag is the owner as text, for the alias of a link and the comments of nftables elements: "fairway NETWORK CONTAINER
// IFNAME". Parts that do not fit are hashed.
func (o Owner) Tag() string {
	tag := TagPrefix(o.Network) + o.ContainerID + " " + o.IfName
	if len(tag) <= tagMax {
		return tag
	}
	sum := o.Sum()
	return TagPrefix(o.Network) + hex.EncodeToString(sum[:16])
}

// Stale says of tags whether they are those of a network's owners that are not among the valid ones.
func Stale(network string, valid []Owner) func(tag string) bool {
	tags := make(map[string]bool, len(valid))
	for _, o := range valid {
		tags[o.Tag()] = true
	}
	prefix := TagPrefix(network)
	return func(tag string) bool { return strings.HasPrefix(tag, prefix) && !tags[tag] }
}

// TagPrefix begins the tags of all owners of a network, and no other's.
func TagPrefix(network string) string {
	const longest = 64
	if len(network) > longest {
		sum := sha256.Sum256([]byte(network))
		network = hex.EncodeToString(sum[:])
	}
	return "fairway " + network + " "
}

// Group is the device group of a network's links on the host. The kernel sets it in the request that makes the link, so
// that a link whose making was cut short still says to which network it belongs; an alias needs a second request.
func Group(network string) uint32 {
	sum := sha256.Sum256([]byte("network\x00" + network))
	return binary.BigEndian.Uint32(sum[:])&^(1<<31) | 1<<30 // positive, and away from the small numbers people use
}
