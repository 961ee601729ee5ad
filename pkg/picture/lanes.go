package picture

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/fairway-cni/fairway/pkg/topology"
)

// page is the graph as a person reads it: the ways out of the host, and one lane for each network with its containers.
// SVG and HTML draw the same page.
type page struct {
	host   string
	ways   []way
	lanes  []lane
	unused []string // networks without any link yet, one line each
	others []string // links that neither lead out nor carry a network
}

// way is a link of the host by which packets leave it.
type way struct {
	id, name string
	lines    []string // gateways, addresses, what is special
	down     bool
}

// lane is one network on this host, or a link that carries containers of no known network.
type lane struct {
	name   string // the network's, as people call it
	kind   string // driver and link: "bridge br-1234"
	addrs  []string
	badges []string // what packets may do, in a few words each
	exits  []exit
	chips  []chip
	peers  []peer // other hosts of an overlay
}

// exit leads from a lane to a way, by its position in the page.
type exit struct {
	way   int
	class string // of the line: masquerade, routed, foreign, segment, tunnel
}

// chip is a container in a lane.
type chip struct {
	container string // ID of the node, the same in each lane
	name      string
	lines     []string
	faint     []string
	also      []int // lanes in which the container is, too
	down      bool
}

// peer is another host in an overlay.
type peer struct {
	name   string
	blocks []string
}

// folded is how many containers or peers a picture shows in one lane; of more, the last place tells how many there are.
const folded = 15

// pageOf arranges a graph.
func pageOf(g topology.Graph) page {
	x := indexOf(g)
	p := page{host: clip("host " + g.Host)}
	for _, n := range g.Of(topology.Link, topology.Bridge) {
		if slices.Contains(n.Marks, "uplink") {
			p.ways = append(p.ways, wayOf(x, n))
		}
	}
	p.addLanes(g, x)
	p.addLoose(g, x)
	p.addRest(g, x)
	p.crossReference()
	return p
}

// wayOf describes an uplink.
func wayOf(x index, n topology.Node) way {
	w := way{id: n.ID, name: n.Name, down: n.Down}
	for _, e := range x.from[n.ID] {
		if e.Kind == topology.Default {
			w.lines = append(w.lines, clip(strings.Replace(e.Label, "default", "default via "+x.nodes[e.To].Name, 1)))
		}
	}
	w.lines = append(w.lines, addresses(n)...)
	if n.MTU > 0 {
		w.lines = append(w.lines, fmt.Sprintf("mtu %d", n.MTU))
	}
	return w
}

// addLanes makes the lanes of what carries containers: one for each network, as VLANs of one bridge are.
func (p *page) addLanes(g topology.Graph, x index) {
	definitions := make(map[string]topology.Definition)
	for _, d := range g.Networks {
		definitions[d.Name] = d
	}
	for _, n := range g.Of(topology.Bridge, topology.VXLAN, topology.Segment, topology.Routed, topology.Shared) {
		names := n.Networks
		chips := chipsOf(x, n)
		if len(names) == 0 || len(chips[""]) > 0 {
			names = append(slices.Clone(names), "")
		}
		for _, name := range names {
			if name == "" && len(chips[""]) == 0 && slices.Contains(n.Marks, "uplink") {
				continue
			}
			l := laneOf(n, definitions[name])
			l.chips = chips[name]
			l.exits = p.exitsOf(x, n)
			if n.Kind == topology.VXLAN {
				l.peers = peersOf(x, n)
			}
			p.lanes = append(p.lanes, l)
		}
	}
	slices.SortStableFunc(p.lanes, func(a, b lane) int { return cmp.Compare(a.rank(), b.rank()) })
}

// rank sorts lanes with containers first, and networks before links that belong to none.
func (l lane) rank() int {
	rank := 0
	if len(l.chips) == 0 {
		rank++
	}
	if l.name == "" {
		rank += 2
	}
	return rank
}

// laneOf describes a network by its node and its definition, which is zero for a link without a network.
func laneOf(n topology.Node, d topology.Definition) lane {
	l := lane{name: clip(d.Name), kind: n.Type, addrs: addresses(n)}
	switch n.Kind {
	case topology.VXLAN:
		l.kind = "overlay " + n.Name
	case topology.Segment:
		l.kind = n.Type + " on " + strings.SplitN(strings.TrimPrefix(n.ID, "segment/"), "/", 2)[0]
	case topology.Bridge:
		l.kind = "bridge " + n.Name
	case topology.Shared:
		l.kind = "the host's own namespace"
	}
	l.kind = clip(l.kind)
	for _, s := range d.Subnets {
		if text := s.String(); n.Kind == topology.VXLAN && !slices.Contains(l.addrs, text) {
			l.addrs = append([]string{text + " of all hosts"}, l.addrs...)
		}
	}
	for _, mark := range n.Marks {
		l.badges = append(l.badges, badge(mark))
	}
	if n.Down {
		l.badges = append(l.badges, "down")
	}
	if n.MTU > 0 {
		l.badges = append(l.badges, fmt.Sprintf("mtu %d", n.MTU))
	}
	return l
}

// badge says in words what a mark means for packets.
func badge(mark string) string {
	switch mark {
	case topology.Internal:
		return "internal: no way out or in"
	case topology.Isolated:
		return "isolated from other networks"
	case topology.NoICC:
		return "containers cannot reach each other"
	}
	return clip(mark)
}

// exitsOf are the ways by which a lane's packets leave, those of a tunnel and of a segment by the link below.
func (p *page) exitsOf(x index, n topology.Node) []exit {
	var exits []exit
	for i, w := range p.ways {
		for _, e := range x.from[n.ID] {
			if e.Kind == topology.Forward && e.To == w.id {
				class := e.Label
				if class == topology.Foreign {
					class = "foreign"
				}
				exits = append(exits, exit{i, class})
			}
		}
		if p.standsOn(x, n.ID, w.id) {
			class := "segment"
			if n.Kind == topology.VXLAN {
				class = "tunnel"
			}
			exits = append(exits, exit{i, class})
		}
	}
	return exits
}

// standsOn says whether a node stands on a link, maybe with a VLAN between.
func (p *page) standsOn(x index, id, link string) bool {
	const highest = 8 // of a stack, should links stand on each other in a circle
	for range highest {
		below := ""
		for _, e := range x.to[id] {
			if e.Kind == topology.Below {
				below = e.From
			}
		}
		if below == link {
			return true
		}
		if id = below; id == "" {
			return false
		}
	}
	return false
}

// addLoose makes a lane of the containers that hang on nothing.
func (p *page) addLoose(g topology.Graph, x index) {
	l := lane{kind: "no network", badges: []string{"reached by nothing of this host"}}
	for _, n := range g.Of(topology.Container) {
		if !x.attached[n.ID] {
			l.chips = append(l.chips, chip{container: n.ID, name: clip(n.Name)})
		}
	}
	if len(l.chips) > 0 {
		p.lanes = append(p.lanes, l)
	}
}

// addRest lists what is neither a way out nor a lane.
func (p *page) addRest(g topology.Graph, x index) {
	for _, n := range g.Of(topology.Unused) {
		text := strings.Join(append([]string{n.Name, n.Type}, addresses(n)...), "  ")
		p.unused = append(p.unused, clip(text))
	}
	for _, n := range g.Of(topology.Link) {
		if slices.Contains(n.Marks, "uplink") {
			continue
		}
		text := n.Name + "  " + n.Type
		if n.Down {
			text += "  down"
		}
		for _, e := range x.to[n.ID] {
			if e.Kind == topology.Below || e.Kind == topology.Port {
				text += "  on " + x.nodes[e.From].Name
			}
		}
		p.others = append(p.others, clip(strings.Join(append([]string{text}, addresses(n)...), "  ")))
	}
}

// crossReference tells each chip in which other lanes its container is.
func (p *page) crossReference() {
	lanes := make(map[string][]int)
	for i, l := range p.lanes {
		for _, c := range l.chips {
			if !slices.Contains(lanes[c.container], i) {
				lanes[c.container] = append(lanes[c.container], i)
			}
		}
	}
	for i := range p.lanes {
		for j := range p.lanes[i].chips {
			c := &p.lanes[i].chips[j]
			for _, other := range lanes[c.container] {
				if other != i {
					c.also = append(c.also, other)
				}
			}
		}
	}
}

// title is what the lane is called: the network, or the link when it belongs to none.
func (l lane) title() string { return cmp.Or(l.name, l.kind) }

// subtitle is what stands small beside the title.
func (l lane) subtitle() string {
	if l.name == "" {
		return ""
	}
	return l.kind
}
