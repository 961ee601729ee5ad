package picture

import (
	"cmp"
	"slices"

	"github.com/fairway-cni/fairway/pkg/topology"
)

// chipsOf are the containers that hang on a node, by network.
func chipsOf(x index, n topology.Node) map[string][]chip {
	chips := make(map[string][]chip)
	for _, e := range x.from[n.ID] {
		if e.Kind != topology.Attached {
			continue
		}
		end := x.nodes[e.To]
		network := ""
		for _, name := range end.Networks {
			if slices.Contains(n.Networks, name) {
				network = name
			}
		}
		if n.Kind == topology.Shared {
			network = slices.MinFunc(append(slices.Clone(n.Networks), ""), func(a, b string) int { return -cmp.Compare(a, b) })
		}
		chips[network] = append(chips[network], chipOf(x, end, e.Label))
	}
	return chips
}

// chipOf describes an interface of a container, or a container that is in the host's namespace.
func chipOf(x index, end topology.Node, label string) chip {
	if end.Kind == topology.Container {
		return chip{container: end.ID, name: clip(end.Name)}
	}
	c := chip{container: end.Container, name: clip(x.nodes[end.Container].Name), down: end.Down, lines: addresses(end)}
	if end.Name != "eth0" {
		c.faint = append(c.faint, clip(end.Name))
	}
	for _, mark := range end.Marks {
		if mark != "default route" { // which nearly all have
			c.faint = append(c.faint, clip(mark))
		}
	}
	if label != "" {
		c.faint = append(c.faint, clip(label))
	}
	if end.Down {
		c.faint = append(c.faint, "down")
	}
	return c
}

// peersOf are the other hosts behind a tunnel.
func peersOf(x index, n topology.Node) []peer {
	var peers []peer
	for _, to := range x.ends(n.ID, topology.Tunnel) {
		peers = append(peers, peer{name: clip(to.Name), blocks: addresses(to)})
	}
	return peers
}
