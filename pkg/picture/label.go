package picture

import (
	"fmt"

	"github.com/fairway-cni/fairway/pkg/topology"
)

// labelOf is what the box of a node says in DOT, line by line.
func labelOf(n topology.Node) []string {
	title := clip(n.Name)
	if kind := kindOf(n); kind != "" {
		title += " (" + kind + ")"
	}
	lines := append([]string{title}, addresses(n)...)
	var notes []string
	for _, network := range n.Networks {
		if network != n.Name && n.Kind != topology.Peer {
			notes = append(notes, clip("network "+network))
		}
	}
	for _, mark := range n.Marks {
		notes = append(notes, clip(mark))
	}
	if n.Kind == topology.Unused {
		notes = append(notes, "not in use yet")
	}
	if n.Down {
		notes = append(notes, "down")
	}
	if n.MTU > 0 && n.Kind != topology.Interface {
		notes = append(notes, fmt.Sprintf("mtu %d", n.MTU))
	}
	return append(lines, wrap(notes, longest)...)
}

func kindOf(n topology.Node) string {
	switch n.Kind {
	case topology.Gateway, topology.Peer:
		return string(n.Kind)
	}
	return clip(n.Type)
}
