package picture

import (
	"cmp"
	"slices"

	"github.com/fairway-cni/fairway/pkg/topology"
)

// index finds what belongs to a node without looking through the graph each time.
type index struct {
	nodes map[string]topology.Node
	from  map[string][]topology.Edge
	to    map[string][]topology.Edge
	// attached has the containers that hang on something.
	attached map[string]bool
}

func indexOf(g topology.Graph) index {
	x := index{map[string]topology.Node{}, map[string][]topology.Edge{}, map[string][]topology.Edge{}, map[string]bool{}}
	for _, n := range g.Nodes {
		x.nodes[n.ID] = n
	}
	for _, e := range g.Edges {
		x.from[e.From] = append(x.from[e.From], e)
		x.to[e.To] = append(x.to[e.To], e)
		if end := x.nodes[e.To]; e.Kind == topology.Attached {
			x.attached[cmp.Or(end.Container, end.ID)] = true
		}
	}
	return x
}

// stands says whether a link stands on another, or is a port of one.
func (x index) stands(id string) bool {
	return slices.ContainsFunc(x.to[id], func(e topology.Edge) bool { return e.Kind == topology.Below || e.Kind == topology.Port })
}

// ends are the nodes to which edges of a kind lead from a node.
func (x index) ends(id string, kind topology.EdgeKind) []topology.Node {
	var all []topology.Node
	for _, e := range x.from[id] {
		if e.Kind == kind {
			all = append(all, x.nodes[e.To])
		}
	}
	return all
}
