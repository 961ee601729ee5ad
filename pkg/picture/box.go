package picture

import (
	"fmt"
	"slices"
	"unicode/utf8"

	"github.com/fairway-cni/fairway/pkg/topology"
)

// Sizes of the drawing in pixels. Text is of one width for all characters: 0.6 em in most fonts, and a little is added.
const (
	charWidth   = 7.4 // of text of 12 px
	lineHeight  = 17
	titleHeight = 24
	padding     = 12
	gap         = 16 // between boxes below each other
	indent      = 18 // of a link that stands on another
	columnGap   = 90
	margin      = 28
	headHeight  = 40  // of the host's frame
	farthest    = 260 // of a box from the first of what hangs on it
	legend      = 44
	legendWidth = 600
	longest     = 52 // characters of a line
)

// box is a node as it is drawn.
type box struct {
	node   topology.Node
	title  string
	corner string // at the right of the title
	lines  []line
	class  string
	depth  int // of a link that stands on another

	x, y, width, height float64
}

// line is a text in a box.
type line struct {
	name  string // before the text, of an interface
	in    int    // characters before the text
	text  string
	faint bool
	node  string // ID of the interface that wires to this line lead to
}

// boxOf gives a box the size that its text needs.
func boxOf(g topology.Graph, n topology.Node) *box {
	b := &box{node: n, title: clip(n.Name), corner: n.Type, class: string(n.Kind)}
	if n.Down {
		b.class += " down"
	}
	if n.Kind == topology.Container {
		b.interfaces(g)
		b.lonely(g)
	} else {
		b.describe()
	}
	if n.Kind == topology.Gateway || n.Kind == topology.Peer {
		b.corner = string(n.Kind)
	}
	b.corner = clip(b.corner)
	widest := utf8.RuneCountInString(b.title) + 3 + utf8.RuneCountInString(b.corner)
	for _, l := range b.lines {
		widest = max(widest, l.in+utf8.RuneCountInString(l.text))
	}
	b.width = float64(widest)*charWidth + 2*padding
	b.height = titleHeight + float64(len(b.lines))*lineHeight + padding
	return b
}

// describe writes what a link, a gateway or a peer is like.
func (b *box) describe() {
	for _, a := range b.node.Addrs {
		b.lines = append(b.lines, line{text: clip(a.String())})
	}
	var notes []string
	for _, network := range b.node.Networks {
		if network != b.node.Name && b.node.Kind != topology.Peer {
			notes = append(notes, "network "+network)
		}
	}
	notes = append(notes, b.node.Marks...)
	if b.node.Kind == topology.Unused {
		notes = append(notes, "not in use yet")
	}
	if b.node.Down {
		notes = append(notes, "down")
	}
	if b.node.MTU > 0 {
		notes = append(notes, fmt.Sprintf("mtu %d", b.node.MTU))
	}
	for _, text := range wrap(notes) {
		b.lines = append(b.lines, line{text: text, faint: true})
	}
}

// interfaces writes those of a container, each with its addresses below each other.
func (b *box) interfaces(g topology.Graph) {
	for _, n := range g.Nodes {
		if n.Container != b.node.ID {
			continue
		}
		first, name := len(b.lines), clip(n.Name)
		in := utf8.RuneCountInString(name) + 2
		for _, a := range n.Addrs {
			b.lines = append(b.lines, line{in: in, text: clip(a.String())})
		}
		if len(n.Addrs) == 0 {
			b.lines = append(b.lines, line{in: in})
		}
		b.lines[first].name, b.lines[first].node = name, n.ID
		notes := slices.Clone(n.Marks)
		if n.Down {
			notes = append(notes, "down")
		}
		for _, text := range wrap(append(notes, n.Networks...)) {
			b.lines = append(b.lines, line{in: in, text: text, faint: true})
		}
	}
}

// lonely says why a container has no interface.
func (b *box) lonely(g topology.Graph) {
	switch {
	case len(b.lines) > 0:
	case len(g.To(b.node.ID, topology.Attached)) > 0:
		b.lines = []line{{text: "the host's network", faint: true}}
	default:
		b.lines = []line{{text: "no network", faint: true}}
	}
}

// wrap joins notes to lines that are not too long.
func wrap(notes []string) []string {
	const separator = " · "
	var lines []string
	for _, note := range notes {
		note = clip(note)
		last := len(lines) - 1
		if last >= 0 && utf8.RuneCountInString(lines[last]+separator+note) <= longest {
			lines[last] += separator + note
		} else {
			lines = append(lines, note)
		}
	}
	return lines
}

// clip leaves out the middle of a long text: names begin alike, and addresses end in what matters.
func clip(text string) string {
	runes := []rune(Style{}.printable(text))
	if len(runes) <= longest {
		return string(runes)
	}
	const half = (longest - 1) / 2
	return string(runes[:longest-1-half]) + "…" + string(runes[len(runes)-half:])
}

// anchor is the height at which wires to a node of the box arrive: its line, or the middle of the title.
func (b *box) anchor(id string) float64 {
	for i, l := range b.lines {
		if l.node == id {
			return b.y + titleHeight + (float64(i)+0.5)*lineHeight
		}
	}
	return b.y + titleHeight/2 + 2
}
