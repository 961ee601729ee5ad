package topology

import (
	"cmp"
	"net/netip"
	"slices"

	"github.com/fairway-cni/fairway/pkg/identifier"
	"github.com/fairway-cni/fairway/pkg/overlay"
	"github.com/fairway-cni/fairway/pkg/snapshot"
	"github.com/fairway-cni/fairway/pkg/state"
)

// Build makes the picture. The same facts in another order give the same picture.
func Build(f Facts) Graph {
	b := builder{facts: f, host: f.Host.Namespace, at: map[string]int{}, joined: map[Edge]bool{}, ends: map[int]end{}}
	b.facts.Networks = withTunnels(f.Networks, b.host.Links)
	b.graph.Host = f.Host.Hostname
	b.containers()
	b.links()
	b.stacks()
	b.attach()
	b.routes()
	b.peers()
	b.shared()
	b.unused()
	b.definitions()
	b.sort()
	return b.graph
}

// withTunnels gives encrypted overlays their devices by the kernel: the file of one that a node agent attends to has no VNI.
func withTunnels(networks []Network, links []snapshot.Link) []Network {
	networks = slices.Clone(networks)
	for i, n := range networks {
		if n.Type != "overlay-vxlan" || !slices.Contains(n.Marks, Encrypted) {
			continue
		}
		for _, l := range links {
			if l.Alias == state.OverlayTag(n.Name) && overlay.IsTunnel(l.Name) {
				networks[i].Link = l.Name
			}
		}
	}
	return networks
}

// builder collects nodes, each once.
type builder struct {
	facts  Facts
	host   snapshot.Namespace
	graph  Graph
	at     map[string]int // position of a node by its ID
	joined map[Edge]bool
	ends   map[int]end       // by the index of the link on the host
	names  map[string]string // of containers, by ID, while sorting
}

// end is an interface of a container and the network it is of.
type end struct {
	id      string // of its node
	network string // empty: unknown
}

func (b *builder) add(n Node) string {
	if _, ok := b.at[n.ID]; !ok {
		b.at[n.ID] = len(b.graph.Nodes)
		b.graph.Nodes = append(b.graph.Nodes, n)
	}
	return n.ID
}

// node is for changing a node that was added. It is invalid after the next add.
func (b *builder) node(id string) *Node { return &b.graph.Nodes[b.at[id]] }

func (b *builder) join(from, to string, kind EdgeKind, label string) {
	e := Edge{From: from, To: to, Kind: kind, Label: label}
	if !b.joined[e] {
		b.joined[e] = true
		b.graph.Edges = append(b.graph.Edges, e)
	}
}

func linkID(name string) string { return "link/" + name }

// sort puts nodes and edges into an order that does not depend on that of the facts. Edges to what is not drawn go.
func (b *builder) sort() {
	b.graph.Edges = slices.DeleteFunc(b.graph.Edges, func(e Edge) bool {
		_, from := b.at[e.From]
		_, to := b.at[e.To]
		return !from || !to
	})
	b.names = make(map[string]string)
	for _, n := range b.graph.Of(Container) {
		b.names[n.ID] = n.Name
	}
	slices.SortFunc(b.graph.Nodes, func(x, y Node) int {
		return cmp.Or(cmp.Compare(rank(x.Kind), rank(y.Kind)), identifier.CompareNatural(b.sortName(x), b.sortName(y)), identifier.CompareNatural(x.Name, y.Name), identifier.CompareNatural(x.ID, y.ID))
	})
	position := make(map[string]int)
	for i, n := range b.graph.Nodes {
		position[n.ID] = i
	}
	slices.SortFunc(b.graph.Edges, func(x, y Edge) int {
		return cmp.Or(cmp.Compare(position[x.From], position[y.From]), cmp.Compare(position[x.To], position[y.To]), cmp.Compare(x.Kind, y.Kind))
	})
}

// sortName is the name by which a person looks for a node: an interface is looked for by its container's, and a link by its network's.
func (b *builder) sortName(n Node) string {
	switch {
	case n.Kind == Interface:
		return b.names[n.Container]
	case len(n.Networks) > 0:
		return n.Networks[0]
	}
	return n.Name
}

// definitions adds what is known of the networks that nodes belong to.
func (b *builder) definitions() {
	used := make(map[string]bool)
	for _, n := range b.graph.Nodes {
		for _, network := range n.Networks {
			used[network] = true
		}
	}
	for _, n := range b.facts.Networks {
		if used[n.Name] {
			b.graph.Networks = append(b.graph.Networks, Definition{Name: n.Name, Type: n.Type, Subnets: n.Subnets, Marks: n.Marks})
		}
	}
	slices.SortFunc(b.graph.Networks, func(x, y Definition) int { return identifier.CompareNatural(x.Name, y.Name) })
}

// rank is how far a kind is from the outside.
func rank(k Kind) int {
	return slices.Index([]Kind{Gateway, Peer, Link, Bridge, VXLAN, Segment, Routed, Shared, Unused, Container, Interface}, k)
}

// mark adds a mark once.
func (n *Node) mark(marks ...string) {
	for _, m := range marks {
		if !slices.Contains(n.Marks, m) {
			n.Marks = append(n.Marks, m)
		}
	}
}

// belong adds a network once.
func (n *Node) belong(network string) {
	if network != "" && !slices.Contains(n.Networks, network) {
		n.Networks = append(n.Networks, network)
		slices.Sort(n.Networks)
	}
}

// covers says whether a packet from one of the addresses' subnets would be masqueraded.
func (b *builder) covers(prefixes []netip.Prefix) bool {
	return slices.ContainsFunc(b.facts.Masqueraded, func(a netip.Addr) bool {
		return slices.ContainsFunc(prefixes, func(p netip.Prefix) bool { return p.Contains(a) })
	})
}
