package topology

import (
	"net/netip"

	"github.com/fairway-cni/fairway/pkg/snapshot"
	"github.com/fairway-cni/fairway/pkg/state/ports"
)

// Facts are what a picture is made of.
type Facts struct {
	Host        snapshot.Host
	Networks    []Network
	Attachments []Attachment
	// Masqueraded are the addresses to which the host's nftables give the host's own on the way out, as far as fairway did it.
	Masqueraded []netip.Addr
}

// Network is what a network's definition says.
type Network struct {
	Name string
	// Type is the plugin's, such as bridge or overlay-vxlan.
	Type string
	// Link is the bridge, the parent or the VXLAN device on the host. Empty: the type has none, or the host's default one.
	Link string
	// Subnets are those of the definition.
	Subnets []netip.Prefix
	// Defined: the network is in a file, rather than predefined.
	Defined bool
	// Marks are masquerade, internal, isolated, encrypted and no icc, as configured.
	Marks []string
}

// Attachment is an interface of a container on a network, as a runtime has recorded it.
type Attachment struct {
	Network string
	// ID is the container's, Name what people call it.
	ID, Name string
	IfName   string
	// Netns is the path of the container's namespace.
	Netns string
	// Unrecorded: the kernel alone tells of it.
	Unrecorded bool
	// Tag is the alias of what belongs to the attachment on the host.
	Tag string
	// Ports are the published ones.
	Ports []ports.Port
}

// Foreign is the label of a way out for which rules of others decide, as Docker's do for docker0.
const Foreign = "as rules of others say"

// Marks of networks and their links.
const (
	Masquerade = "masquerade"
	Internal   = "internal"
	Isolated   = "isolated"
	Encrypted  = "encrypted"
	NoICC      = "no icc"
)
