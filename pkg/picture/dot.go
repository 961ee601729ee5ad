package picture

import (
	"fmt"
	"io"
	"strings"

	"github.com/fairway-cni/fairway/pkg/topology"
)

// DOT writes the graph in the language of Graphviz: containers are clusters of their interfaces.
func DOT(w io.Writer, g topology.Graph) error {
	var out strings.Builder
	fmt.Fprintf(&out, "digraph %s {\n", quote("host "+g.Host))
	out.WriteString("\trankdir=LR;\n\tnode [shape=box, style=rounded, fontname=monospace, fontsize=10];\n\tedge [fontname=monospace, fontsize=9];\n")
	for _, n := range g.Nodes {
		switch n.Kind {
		case topology.Interface:
		case topology.Container:
			writeCluster(&out, g, n)
		default:
			fmt.Fprintf(&out, "\t%s [label=%s%s];\n", quote(n.ID), quote(strings.Join(labelOf(n), "\n")), shape(n))
		}
	}
	for _, e := range g.Edges {
		fmt.Fprintf(&out, "\t%s -> %s [%s];\n", quote(e.From), quote(e.To), edgeAttributes(e))
	}
	out.WriteString("}\n")
	_, err := io.WriteString(w, out.String())
	return err
}

func writeCluster(out *strings.Builder, g topology.Graph, c topology.Node) {
	fmt.Fprintf(out, "\tsubgraph %s {\n\t\tlabel=%s;\n", quote("cluster "+c.ID), quote(c.Name))
	empty := true
	for _, n := range g.Nodes {
		if n.Container == c.ID {
			fmt.Fprintf(out, "\t\t%s [label=%s];\n", quote(n.ID), quote(strings.Join(labelOf(n), "\n")))
			empty = false
		}
	}
	if empty {
		fmt.Fprintf(out, "\t\t%s [label=\"\", shape=point];\n", quote(c.ID))
	}
	out.WriteString("\t}\n")
}

func shape(n topology.Node) string {
	switch {
	case n.Kind == topology.Gateway, n.Kind == topology.Peer:
		return ", shape=ellipse"
	case n.Kind == topology.Unused, n.Down:
		return ", style=\"rounded,dashed\""
	}
	return ""
}

func edgeAttributes(e topology.Edge) string {
	attributes := []string{"label=" + quote(e.Label)}
	switch e.Kind {
	case topology.Tunnel:
		attributes = append(attributes, "style=dashed")
	case topology.Forward:
		attributes = append(attributes, "style=dotted", "constraint=false")
	case topology.Below, topology.Port, topology.Pair, topology.Attached:
		attributes = append(attributes, "dir=none")
	}
	return strings.Join(attributes, ", ")
}

// quote makes a text a quoted ID of DOT. Lines are ended so that they stand at the left.
func quote(text string) string {
	lines := strings.Split(text, "\n")
	for i, l := range lines {
		lines[i] = strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(Style{}.printable(l))
	}
	if len(lines) == 1 {
		return `"` + lines[0] + `"`
	}
	return `"` + strings.Join(lines, `\l`) + `\l"`
}
