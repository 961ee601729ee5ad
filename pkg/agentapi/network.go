package agentapi

import (
	"maps"
	"net/netip"
	"slices"
	"time"
)

// Network is the definition of an overlay network, the same on every host.
type Network struct {
	// Name as CNI has it: a letter or digit, then letters, digits, '_', '.', '-'.
	Name string `json:"name"`
	// Subnets is one of IPv4, one of IPv6, or one of each.
	Subnets []Subnet `json:"subnets"`
	// VNI is from 1 to 16777215. With 0, Put chooses one that no network has.
	VNI uint32 `json:"vni,omitempty"`
	// MTU of the containers' links in bytes, 0 for the underlay's less what VXLAN needs.
	MTU int `json:"mtu,omitempty"`
	// Internal networks have no way to the outside.
	Internal bool `json:"internal,omitempty"`
	// IPMasq hides the containers behind their host's address, except from each other.
	IPMasq bool `json:"ipMasq,omitempty"`
	// WithoutNames: containers do not find each other by name. HostGateway: they find their host as host.docker.internal.
	WithoutNames bool `json:"withoutNames,omitempty"`
	HostGateway  bool `json:"hostGateway,omitempty"`
	// Encrypted networks go between hosts through WireGuard, and in no other way.
	Encrypted bool `json:"encrypted,omitempty"`
	// WireguardPort is the UDP port of that on each host. With 0, Put chooses one that no network has.
	WireguardPort uint16 `json:"wireguardPort,omitempty"`
	// Options and Labels are kept for who asks; the agent does not read them.
	Options map[string]string `json:"options,omitempty"`
	Labels  map[string]string `json:"labels,omitempty"`
	// Requires are features that a host has to know to be on the network. A host that does not know one keeps off it.
	Requires []string `json:"requires,omitempty"`
	// Created is set by Put.
	Created time.Time `json:"created,omitzero"`
}

// Same says whether two definitions are one.
func (n Network) Same(other Network) bool {
	return n.Name == other.Name && n.VNI == other.VNI && n.MTU == other.MTU && n.Internal == other.Internal && n.IPMasq == other.IPMasq &&
		n.Encrypted == other.Encrypted && n.WireguardPort == other.WireguardPort &&
		n.WithoutNames == other.WithoutNames && n.HostGateway == other.HostGateway &&
		slices.Equal(n.Subnets, other.Subnets) && maps.Equal(n.Options, other.Options) && maps.Equal(n.Labels, other.Labels) &&
		slices.Equal(n.Requires, other.Requires) && n.Created.Equal(other.Created)
}

// Subnet is a network's addresses of one family. It has no gateway: each host is that of its containers, by an address of
// its own.
type Subnet struct {
	// Prefix has no host bits.
	Prefix netip.Prefix `json:"prefix"`
	// BlockLength is the prefix length of the blocks that hosts own. With 0, Put chooses: 26 or more of IPv4, 16 bits
	// longer than the subnet of IPv6.
	BlockLength int `json:"blockLength,omitempty"`
}

// Peer is a host of a network.
type Peer struct {
	// Node is the host's name, as fairwayd was given it.
	Node string `json:"node"`
	// VTEP is the host's address on the underlay; zero while the host has not said it.
	VTEP netip.Addr `json:"vtep,omitzero"`
	// Blocks are the parts of the subnets that the host owns.
	Blocks []netip.Prefix `json:"blocks"`
	// Pins are addresses outside its blocks that containers of the host have.
	Pins []netip.Addr `json:"pins,omitempty"`
	// PublicKey is the host's for encrypted networks, in base64. Empty: it has none, and is not reached in these.
	PublicKey string `json:"publicKey,omitempty"`
	// Self says that the host is the one that was asked.
	Self bool `json:"self,omitempty"`
	// InUse says that the host has containers on the network.
	InUse bool `json:"inUse,omitempty"`
}

// Pin is an address for one attachment, wherever in the network's subnets it lies.
type Pin struct {
	Address     netip.Addr `json:"address"`
	ContainerID string     `json:"containerID"`
	IfName      string     `json:"ifName"`
}

// Health is how the agent fares.
type Health struct {
	// Node is the host's name.
	Node string `json:"node"`
	// Version of fairwayd.
	Version string `json:"version"`
	// Underlay is the address that peers send to; zero while there is none.
	Underlay netip.Addr `json:"underlay,omitzero"`
	// Healthy says that there are no problems.
	Healthy bool `json:"healthy"`
	// Problems are sentences that say what to change.
	Problems []string `json:"problems,omitempty"`
	// Events are what happened of note since the agent was started, such as that etcd was restored: the last some.
	Events []string `json:"events,omitempty"`
	// Confirmed is when the host's heartbeat was in etcd last; zero for not since the agent was started.
	Confirmed time.Time `json:"confirmed,omitzero"`
	// Etcd is the state of the connection to etcd.
	Etcd EtcdHealth `json:"etcd"`
	// Encryption is what encrypts networks on this host: "kernel", or "userspace", which is fairwayd itself. Empty: none was needed yet.
	Encryption string `json:"encryption,omitempty"`
	// Rotation is there while this host replaces its key for encrypted networks.
	Rotation *Rotation `json:"rotation,omitempty"`
	// Unanswered are sentences on hosts of encrypted networks that do not answer what is sent to them. They are no problems of this host's.
	Unanswered []string `json:"unanswered,omitempty"`
	// Networks is their number, Member that of those which the host is a member of.
	Networks int `json:"networks"`
	Member   int `json:"member"`
}

// Rotation is how far a host is that replaces its key.
type Rotation struct {
	// PublicKey is the new one's.
	PublicKey string `json:"publicKey"`
	// Returning says that packets have left the first device, which has the new key now, and go back to it.
	Returning bool `json:"returning,omitempty"`
	// Since is when this step was begun.
	Since time.Time `json:"since"`
	// Waiting are the hosts that have not followed it.
	Waiting []string `json:"waiting,omitempty"`
}

// EtcdHealth is the state of the connection to etcd.
type EtcdHealth struct {
	Endpoints []string `json:"endpoints"`
	// Connected says that the agent follows etcd's changes now.
	Connected bool `json:"connected"`
	// Revision is the last that the agent has seen; 0 for none since it was started.
	Revision int64 `json:"revision,omitempty"`
	// Since is when Connected became what it is.
	Since time.Time `json:"since"`
}
