package picture

import (
	"fmt"
	"slices"
	"strings"

	"github.com/fairway-cni/fairway/pkg/topology"
)

// row is a line of the tree.
type row struct {
	node  topology.Node
	name  string
	what  string // kind of link, or the interface's name
	addrs []string
	notes []string
	above []bool // of each level above, whether more follows there
	last  bool   // of its siblings
	ink   int    // number of the network's colour, 0: none
}

// tree is what is left to be drawn.
type tree struct {
	graph topology.Graph
	index index
	all   bool
	rows  []row
	drawn map[string]bool
	inks  int // colours given to networks so far
}

// branch is a node below another, with what the edge says.
type branch struct {
	node  topology.Node
	label string
	mtu   int // of the other, which need not be said again
}

// treeOf lists the graph from the uplinks down. What hangs on two things stands below both.
func treeOf(g topology.Graph, all bool) []row {
	t := tree{graph: g, index: indexOf(g), all: all, drawn: map[string]bool{}}
	t.draw(t.roots(), nil)
	return t.rows
}

// roots are what stands on nothing else, uplinks first, and the containers that hang on nothing.
func (t *tree) roots() []branch {
	var uplinks, others, unused, rest []branch
	for _, n := range t.graph.Nodes {
		b := branch{node: n}
		switch n.Kind {
		case topology.Gateway, topology.Peer, topology.Interface:
		case topology.Container:
			if t.loose(n) {
				rest = append(rest, b)
			}
		default:
			switch {
			case t.index.stands(n.ID):
			case n.Kind == topology.Unused:
				unused = append(unused, b)
			case slices.Contains(n.Marks, "uplink"):
				uplinks = append(uplinks, b)
			default:
				others = append(others, b)
			}
		}
	}
	return slices.Concat(uplinks, others, t.fold(unused, "unused", " not in use yet"), rest)
}

// fold is of many only the first, and how many more there are.
func (t *tree) fold(some []branch, id, what string) []branch {
	if t.all || len(some) <= folded {
		return some
	}
	more := topology.Node{ID: id + "/more", Kind: topology.Unused, Name: fmt.Sprintf("and %d more%s", len(some)-folded+1, what)}
	return append(some[:folded-1:folded-1], branch{node: more})
}

// loose says whether a container is reached by none of what the host has.
func (t *tree) loose(c topology.Node) bool {
	return !t.index.attached[c.ID]
}

func (t *tree) draw(branches []branch, above []bool) {
	for i, b := range branches {
		last := i == len(branches)-1
		t.rows = append(t.rows, t.row(b, above, last))
		if t.drawn[b.node.ID] {
			continue // a link that is below two others, as a port with a VLAN
		}
		t.drawn[b.node.ID] = true
		t.draw(t.below(b.node), append(slices.Clone(above), !last))
	}
}

// below lists what hangs on a node: what stands on it, its ports, its peers, and the containers; of many only the first.
func (t *tree) below(n topology.Node) []branch {
	var all []branch
	for _, kind := range []topology.EdgeKind{topology.Below, topology.Port, topology.Tunnel, topology.Attached} {
		var some []branch
		for _, e := range t.index.from[n.ID] {
			if to, ok := t.index.nodes[e.To]; ok && e.Kind == kind {
				some = append(some, branch{to, e.Label, n.MTU})
			}
		}
		all = append(all, t.fold(some, n.ID+"/"+string(kind), "")...)
	}
	return all
}

func (t *tree) row(b branch, above []bool, last bool) row {
	n := b.node
	r := row{node: n, name: n.Name, what: n.Type, addrs: addresses(n), above: above, last: last}
	switch n.Kind {
	case topology.Interface:
		r.name, r.what = t.index.nodes[n.Container].Name, n.Name
	case topology.Container:
		r.what = "container"
	case topology.Peer:
		r.name, r.what = n.Name, "peer"
	case topology.Bridge, topology.VXLAN, topology.Segment, topology.Routed, topology.Shared:
		if len(n.Networks) > 0 {
			r.name = strings.Join(n.Networks, ", ")
		}
		t.inks++
		r.ink = t.inks
	}
	r.notes = t.notes(b)
	return r
}

// notes are everything about a node that has no column.
func (t *tree) notes(b branch) []string {
	n := b.node
	notes := t.networkNote(n)
	for _, mark := range n.Marks {
		if mark != "uplink" {
			notes = append(notes, mark)
		}
	}
	for _, e := range t.index.from[n.ID] {
		if e.Kind == topology.Default || e.Kind == topology.Pair {
			notes = append(notes, edgeNote(e, t.index.nodes[e.To]))
		}
	}
	if b.label != "" && n.Kind != topology.Peer {
		notes = append(notes, b.label)
	}
	if n.Down {
		notes = append(notes, "down")
	}
	if n.MTU != 0 && n.MTU != b.mtu {
		notes = append(notes, fmt.Sprintf("mtu %d", n.MTU))
	}
	return notes
}

// networkNote names the link of what is called by its network, and says why something hangs on nothing.
func (t *tree) networkNote(n topology.Node) []string {
	switch n.Kind {
	case topology.Unused:
		if len(n.Networks) > 0 {
			return []string{"not in use yet"}
		}
	case topology.Container:
		if t.loose(n) {
			return []string{"no network"}
		}
	case topology.Bridge, topology.VXLAN:
		if len(n.Networks) > 0 {
			return []string{n.Name}
		}
	}
	return nil
}

func edgeNote(e topology.Edge, to topology.Node) string {
	if e.Kind == topology.Pair {
		return "other end " + to.Name
	}
	if to.Name == "on the link" {
		return e.Label + " route"
	}
	return strings.Replace(e.Label, "default", "default via "+to.Name, 1)
}

func addresses(n topology.Node) []string {
	var texts []string
	for _, a := range n.Addrs {
		texts = append(texts, a.String())
	}
	return texts
}
