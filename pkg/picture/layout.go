package picture

import (
	"cmp"
	"slices"

	"github.com/fairway-cni/fairway/pkg/topology"
)

// The columns, from the outside to the containers.
const (
	outside = iota
	linkColumn
	networkColumn
	containerColumn
	columns
)

// sheet is a drawing that has been laid out.
type sheet struct {
	host          string
	columns       [columns][]*box
	of            map[string]*box // by the ID of a node; an interface's is its container's
	wires         []wire
	width, height float64
	frame         struct{ x, y, width, height float64 }
}

// wire is an edge as it is drawn.
type wire struct {
	from, to       *box
	fromY, toY     float64
	elbow          bool // from a link down to one that stands on it, in the same column
	class, tooltip string
}

// lay places boxes and wires. Columns are filled from the containers outwards: a box is placed beside the middle of what
// hangs on it, or further down where that place is taken, so that boxes never overlap.
func lay(g topology.Graph) *sheet {
	s := &sheet{host: clip("host " + g.Host), of: map[string]*box{}}
	s.fill(g)
	s.placeColumns()
	y := float64(margin + headHeight)
	for _, b := range s.columns[containerColumn] {
		b.y = y
		y += b.height + gap
	}
	s.beside(networkColumn, g)
	s.beside(linkColumn, g)
	s.beside(outside, g)
	s.wire(g)
	s.measure()
	return s
}

// fill makes the boxes and puts each into its column, in the order in which they will be placed.
func (s *sheet) fill(g topology.Graph) {
	links := g.Of(topology.Link)
	slices.SortStableFunc(links, func(a, b topology.Node) int {
		return cmp.Compare(len(g.From(b.ID, topology.Default)), len(g.From(a.ID, topology.Default)))
	})
	for _, n := range links {
		if len(below(g, n)) == 0 {
			s.stack(g, n, 0)
		}
	}
	for _, n := range g.Of(topology.Gateway, topology.Peer) {
		s.put(outside, boxOf(g, n))
	}
	for _, n := range g.Of(topology.Bridge, topology.VXLAN, topology.Segment, topology.Routed, topology.Shared, topology.Unused) {
		s.put(networkColumn, boxOf(g, n))
		for _, end := range g.From(n.ID, topology.Attached) {
			s.container(g, end)
		}
	}
	for _, n := range g.Of(topology.Container, topology.Interface) {
		s.container(g, n)
	}
}

// stack puts a link into its column, and below it those that stand on it.
func (s *sheet) stack(g topology.Graph, n topology.Node, depth int) {
	if s.of[n.ID] != nil {
		return
	}
	b := boxOf(g, n)
	b.depth = depth
	s.put(linkColumn, b)
	for _, kind := range []topology.EdgeKind{topology.Below, topology.Pair} {
		for _, upper := range g.From(n.ID, kind) {
			if upper.Kind == topology.Link {
				s.stack(g, upper, depth+1)
			}
		}
	}
}

// below are the links that a link stands on, or whose other end it is.
func below(g topology.Graph, n topology.Node) []topology.Node {
	return append(g.To(n.ID, topology.Below), g.To(n.ID, topology.Pair)...)
}

// container puts a container into its column, at its first interface.
func (s *sheet) container(g topology.Graph, n topology.Node) {
	id := n.ID
	if n.Kind == topology.Interface {
		id = n.Container
	}
	if s.of[id] == nil {
		c, ok := g.Node(id)
		if !ok {
			return
		}
		s.put(containerColumn, boxOf(g, c))
	}
	s.of[n.ID] = s.of[id]
}

func (s *sheet) put(column int, b *box) {
	s.columns[column] = append(s.columns[column], b)
	s.of[b.node.ID] = b
}

// placeColumns gives the boxes of a column one width, and columns that hold something a place beside each other.
func (s *sheet) placeColumns() {
	x := float64(margin)
	for i, boxes := range s.columns {
		widest := 0.0
		for _, b := range boxes {
			widest = max(widest, b.width+float64(b.depth)*indent)
		}
		for _, b := range boxes {
			b.x = x + float64(b.depth)*indent
			b.width = widest - float64(b.depth)*indent
		}
		if widest > 0 {
			s.width = x + widest + margin
			x += widest + columnGap
		}
		if i == outside {
			s.frame.x = max(margin, x-margin)
			x = s.frame.x + margin
		}
	}
}

// beside places the boxes of a column, in their order, beside the middle of what is wired to them further in.
func (s *sheet) beside(column int, g topology.Graph) {
	free := float64(margin + headHeight)
	for _, b := range s.columns[column] {
		b.y = free
		if middle, ok := s.middle(b, column, g); ok && b.depth == 0 {
			b.y = max(free, middle-b.height/2)
		}
		free = b.y + b.height + gap
	}
}

// middle is that of the anchors in the columns further in.
func (s *sheet) middle(b *box, column int, g topology.Graph) (float64, bool) {
	top, bottom, found := 0.0, 0.0, false
	for _, e := range g.Edges {
		other := ""
		switch b.node.ID {
		case e.From:
			other = e.To
		case e.To:
			other = e.From
		default:
			continue
		}
		o := s.of[other]
		if o == nil || !slices.ContainsFunc(s.columns[column+1:], func(inner []*box) bool { return slices.Contains(inner, o) }) {
			continue
		}
		y := o.anchor(other)
		if !found {
			top, bottom, found = y, y, true
		}
		top, bottom = min(top, y), max(bottom, y)
	}
	// What hangs on many containers stays near the first, where it is seen without scrolling.
	return min((top+bottom)/2, top+farthest), found
}

// wire draws the edges. What a VXLAN device sends to a peer leaves by the link below it, so the wire is that one's.
func (s *sheet) wire(g topology.Graph) {
	for _, e := range g.Edges {
		from, to := e.From, e.To
		if e.Kind == topology.Tunnel {
			for _, under := range g.To(from, topology.Below) {
				from = under.ID
			}
		}
		a, b := s.of[from], s.of[to]
		if a == nil || b == nil {
			continue
		}
		w := wire{from: a, to: b, fromY: a.anchor(from), toY: b.anchor(to), class: string(e.Kind), tooltip: e.Label}
		if e.Label == topology.Masquerade {
			w.class = topology.Masquerade
		}
		switch {
		case slices.Contains(s.columns[linkColumn], a) && slices.Contains(s.columns[linkColumn], b):
			w.elbow = true
		case a.x > b.x:
			w.from, w.to, w.fromY, w.toY = b, a, w.toY, w.fromY
		}
		s.wires = append(s.wires, w)
	}
}

// measure draws the frame around all that is on the host.
func (s *sheet) measure() {
	bottom := float64(margin + headHeight)
	for _, boxes := range s.columns {
		for _, b := range boxes {
			bottom = max(bottom, b.y+b.height)
		}
	}
	s.width = max(s.width, legendWidth)
	s.frame.y, s.frame.width, s.frame.height = margin, s.width-s.frame.x-margin/2, bottom-margin+gap
	s.height = s.frame.y + s.frame.height + legend
}
