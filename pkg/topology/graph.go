// Package topology tells where packets can go on a host: which interfaces of containers hang on which bridges, parents and
// tunnels, and how these lead to the outside. Build is pure; pkg/snapshot has the facts and pkg/picture draws the result.
package topology

import "net/netip"

// Graph is the picture of one host.
type Graph struct {
	Host string `json:"host"`
	// Networks are those to which a node belongs, sorted by name.
	Networks []Definition `json:"networks,omitempty"`
	Nodes    []Node       `json:"nodes"`
	Edges    []Edge       `json:"edges"`
}

// Definition is what a network's definition says of it.
type Definition struct {
	Name string `json:"name"`
	// Type is the plugin's, such as bridge.
	Type    string         `json:"type"`
	Subnets []netip.Prefix `json:"subnets,omitempty"`
	// Marks are masquerade, internal, isolated and no icc.
	Marks []string `json:"marks,omitempty"`
}

// Kind is what a node is.
type Kind string

const (
	// Gateway is a next hop to everywhere.
	Gateway Kind = "gateway"
	// Peer is another host of an overlay, by the address of its VTEP.
	Peer Kind = "peer"
	// Link is an interface of the host of none of the kinds below.
	Link Kind = "link"
	// Bridge is a bridge of the host, with the addresses by which its containers reach it.
	Bridge Kind = "bridge"
	// VXLAN is a tunnel device, with the host's own blocks as addresses: containers of this host have theirs from them.
	VXLAN Kind = "vxlan"
	// Segment is what macvlans of one network share: their parent's physical network.
	Segment Kind = "segment"
	// Routed is a group of containers to which the host routes, without a bridge.
	Routed Kind = "routed"
	// Shared is the host's own namespace, in which containers of host networks are.
	Shared Kind = "shared"
	// Unused is a network that no link of the host shows yet.
	Unused Kind = "unused"
	// Container is a network namespace of a container.
	Container Kind = "container"
	// Interface is an interface inside a container.
	Interface Kind = "interface"
)

// Node is one thing of a picture.
type Node struct {
	// ID is unique, and stays the same as long as the thing is there.
	ID   string `json:"id"`
	Kind Kind   `json:"kind"`
	Name string `json:"name"`
	// Type is the kind of link that the kernel names, such as device or macvlan.
	Type string `json:"type,omitempty"`
	// Networks are the names of those that the thing belongs to.
	Networks []string       `json:"networks,omitempty"`
	Addrs    []netip.Prefix `json:"addresses,omitempty"`
	MTU      int            `json:"mtu,omitempty"` // bytes, 0: of no meaning here
	Down     bool           `json:"down,omitempty"`
	// Marks say in a word or two what is special, such as masquerade or internal.
	Marks []string `json:"marks,omitempty"`
	// Container is the ID of the node in which an interface is.
	Container string `json:"container,omitempty"`
	// HostEnd is the link of the host at the other end of an interface.
	HostEnd string `json:"hostEnd,omitempty"`
}

// EdgeKind is how two nodes hang together.
type EdgeKind string

const (
	// Default leads from a link to the gateway of its default route.
	Default EdgeKind = "default"
	// Below leads from a link to what stands on it: a VLAN, a VXLAN device, a segment.
	Below EdgeKind = "below"
	// Port leads from a bridge to a link of the host that is a port of it.
	Port EdgeKind = "port"
	// Pair joins two links of the host that are ends of one veth.
	Pair EdgeKind = "pair"
	// Attached leads from a bridge, tunnel, segment or group to an interface of a container.
	Attached EdgeKind = "attached"
	// Tunnel leads from a VXLAN device to a peer.
	Tunnel EdgeKind = "tunnel"
	// Forward leads from a bridge, tunnel or group to the link by which its packets go out.
	Forward EdgeKind = "forward"
)

// Edge is a connection between two nodes.
type Edge struct {
	From string   `json:"from"`
	To   string   `json:"to"`
	Kind EdgeKind `json:"kind"`
	// Label is what a person should know of the connection, such as masquerade, or VNI 7.
	Label string `json:"label,omitempty"`
}

// Node finds a node by its ID.
func (g Graph) Node(id string) (Node, bool) {
	for _, n := range g.Nodes {
		if n.ID == id {
			return n, true
		}
	}
	return Node{}, false
}

// Of lists the nodes of a kind.
func (g Graph) Of(kinds ...Kind) []Node {
	var nodes []Node
	for _, n := range g.Nodes {
		for _, k := range kinds {
			if n.Kind == k {
				nodes = append(nodes, n)
			}
		}
	}
	return nodes
}

// From lists where the edges of a kind lead from a node.
func (g Graph) From(id string, kind EdgeKind) []Node {
	var nodes []Node
	for _, e := range g.Edges {
		if e.From == id && e.Kind == kind {
			if n, ok := g.Node(e.To); ok {
				nodes = append(nodes, n)
			}
		}
	}
	return nodes
}

// To lists where the edges of a kind to a node come from.
func (g Graph) To(id string, kind EdgeKind) []Node {
	var nodes []Node
	for _, e := range g.Edges {
		if e.To == id && e.Kind == kind {
			if n, ok := g.Node(e.From); ok {
				nodes = append(nodes, n)
			}
		}
	}
	return nodes
}
