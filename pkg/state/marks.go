package state

import (
	"crypto/sha256"
	"encoding/hex"
	"strings"

	"github.com/vishvananda/netlink"
)

// BridgeGroup is the device group of the bridges that fairway made or adopted, unless they have one already. No rule depends
// on it: anybody may change it.
const BridgeGroup = 0xfa1

// VLANGroup is the device group of the VLAN interfaces that fairway made: others are not removed.
const VLANGroup = 0xfa2

// HostAccessGroup is the device group of the host's own links in macvlan networks.
const HostAccessGroup = 0xfa3

// RouteProtocol marks the routes of overlay networks (ip route … proto 250), so that those of peers gone are found.
const RouteProtocol = 250

// BridgeTag is the comment of what belongs to a bridge and not to one attachment. No network has an empty name, so it is
// no owner's tag.
func BridgeTag(bridge string) string { return "fairway-bridge " + bridge }

// OverlayPrefix begins the tags of what belongs to an overlay network and to none of its containers. No network has an
// empty name, so that it is no owner's tag.
const OverlayPrefix = "fairway-overlay "

// OverlayTag is the network as text, for the alias of its device and the comments of its nftables elements.
func OverlayTag(network string) string {
	const longest = tagMax - len(OverlayPrefix)
	if len(network) > longest {
		sum := sha256.Sum256([]byte(network))
		network = hex.EncodeToString(sum[:])
	}
	return OverlayPrefix + network
}

// IsTag says whether a text is the tag of an owner.
func IsTag(text string) bool { return strings.HasPrefix(text, "fairway ") }

// isHostLink says whether a name is one that an owner's host end may have.
func isHostLink(name string) bool {
	return len(name) == hostLinkLen && strings.HasPrefix(name, hostLinkPrefix)
}

// IsHostEnd says whether a link is the host's end of a container of a network.
func IsHostEnd(attrs *netlink.LinkAttrs, network string) bool {
	if !isHostLink(attrs.Name) || attrs.Group != Group(network) {
		return false
	}
	return attrs.Alias == "" || strings.HasPrefix(attrs.Alias, TagPrefix(network))
}
