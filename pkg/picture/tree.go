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
}

// tree is what is left to be drawn.
type tree struct {
	graph topology.Graph
	rows  []row
	drawn map[string]bool
}

// branch is a node below another, with what the edge says.
type branch struct {
	node  topology.Node
	label string
	mtu   int // of the other, which need not be said again
}

// treeOf lists the graph from the uplinks down. What hangs on two things stands below both.
func treeOf(g topology.Graph) []row {
	t := tree{graph: g, drawn: map[string]bool{}}
	t.draw(t.roots(), nil)
	return t.rows
}

// roots are what stands on nothing else, uplinks first, and the containers that hang on nothing.
func (t *tree) roots() []branch {
	var uplinks, others, rest []branch
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
			case len(t.graph.To(n.ID, topology.Below)) > 0 || len(t.graph.To(n.ID, topology.Port)) > 0:
			case slices.Contains(n.Marks, "uplink"):
				uplinks = append(uplinks, b)
			default:
				others = append(others, b)
			}
		}
	}
	return append(append(uplinks, others...), rest...)
}

// loose says whether a container is reached by none of what the host has.
func (t *tree) loose(c topology.Node) bool {
	for _, n := range t.graph.Nodes {
		if n.Container == c.ID && len(t.graph.To(n.ID, topology.Attached)) > 0 {
			return false
		}
	}
	return len(t.graph.To(c.ID, topology.Attached)) == 0
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

// below lists what hangs on a node: what stands on it, its ports, its peers, and the containers.
func (t *tree) below(n topology.Node) []branch {
	var all []branch
	for _, kind := range []topology.EdgeKind{topology.Below, topology.Port, topology.Tunnel, topology.Attached} {
		for _, e := range t.graph.Edges {
			if e.From != n.ID || e.Kind != kind {
				continue
			}
			if to, ok := t.graph.Node(e.To); ok {
				all = append(all, branch{to, e.Label, n.MTU})
			}
		}
	}
	return all
}

func (t *tree) row(b branch, above []bool, last bool) row {
	n := b.node
	r := row{node: n, name: n.Name, what: n.Type, addrs: addresses(n), above: above, last: last}
	switch n.Kind {
	case topology.Interface:
		container, _ := t.graph.Node(n.Container) // an interface without one has no name
		r.name, r.what = container.Name, n.Name
	case topology.Container:
		r.what = "container"
	case topology.Peer:
		r.name, r.what = n.Name, "peer"
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
	for _, e := range t.graph.Edges {
		if e.From == n.ID && (e.Kind == topology.Default || e.Kind == topology.Pair) {
			to, _ := t.graph.Node(e.To)
			notes = append(notes, edgeNote(e, to))
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
	if n.HostEnd != "" {
		notes = append(notes, n.HostEnd)
	}
	return notes
}

// networkNote names the networks of what is not named after its own.
func (t *tree) networkNote(n topology.Node) []string {
	switch n.Kind {
	case topology.Interface, topology.Peer:
		return nil // what it hangs on says it
	case topology.Unused:
		return []string{"not in use yet"}
	case topology.Container:
		if t.loose(n) {
			return []string{"no network"}
		}
	}
	var notes []string
	for _, network := range n.Networks {
		if network != n.Name {
			notes = append(notes, "network "+network)
		}
	}
	return notes
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
